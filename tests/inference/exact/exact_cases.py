"""Thin networks of every variant, and windows of images; for the tests beside this file."""

import random

import torch
from torch import nn

from napari_unet.inference.exact.intervals import Interval
from napari_unet.networks.registry import build_network

MONAI = {"channels": (4, 6, 8), "strides": (2, 2), "num_res_units": 1, "norm": "batch"}
SMALL = {"width": 4, "depth": 3}
TWICE = {"width": 4, "depth": 2}
TURNS = {**TWICE, "recurrences": 1}
# Every variant that sees a neighbourhood only, thin.
VARIANT_CASES = {
    "unet": {"width": 4}, "unet-small": SMALL, "unet-3d": {"width": 3, "depth": 2}, "unet-valid": TWICE,
    "unet-plain": SMALL, "unet-batchnorm": SMALL, "unet-batchnorm-crop": TWICE,
    "unet-batchnorm-pad": TWICE, "unet-bilinear": SMALL, "unet-keras": SMALL, "unet-strided": SMALL,
    "unet-slim": SMALL, "unet-slim-3x": SMALL, "unet++": SMALL, "unet++-deep": SMALL, "attention-unet": SMALL,
    "r2-unet": TURNS, "attention-r2-unet": TURNS,
    "residual-unet": SMALL, "residual-unet-3d": {"width": 3, "depth": 2}, "unet3+": SMALL,
    "convnext-unet": TWICE, "convnext-unet-3d": {"width": 3, "depth": 1, "kernel": 3},
    "monai-unet": {"arguments": MONAI}, "encoder-unet": SMALL, "encoder-unet++": SMALL, "resnet18-unet": SMALL,
    "resnet34-unet": SMALL, "resnet50-unet": SMALL, "vgg16-unet": SMALL, "mobilenet-v2-unet": {"width": 8, "depth": 3},
    "densenet121-unet": SMALL, "resnet34-unet++": SMALL,
}  # fmt: skip
# Those that see the whole image at once.
GLOBAL_CASES = {
    "unet-torch-em": SMALL, "unet-3dunet": {"width": 8, "depth": 2}, "unet-nnunet": SMALL,
    "residual-unet-3dunet": {"width": 8, "depth": 2}, "residual-unet-nnunet": {},
    "monai-basic-unet": {}, "monai-basic-unet++": {}, "monai-attention-unet": {}, "monai-dynunet": {},
    "efficientnet-b0-unet": {"width": 8, "depth": 3}, "efficientnet-b0-unet++": {"width": 8, "depth": 3},
}  # fmt: skip
# What other people's files ask for.
OPTION_CASES = {
    "corners kept, padded": ("unet", {**SMALL, "up": "linear", "align_corners": True, "fit": "pad"}),
    "corners kept, resized": ("unet", {**SMALL, "up": "linear", "align_corners": True, "fit": "resize"}),
    "centred transposed": ("unet", {**SMALL, "up": "transpose3", "fit": "resize"}),
    "transposed as in Keras": ("unet", {**SMALL, "up": "transpose3", "fit": "cut", "pool_ceil": True}),
    "even kernel": ("unet", {**SMALL, "up": "nearest", "up_kernel": 2, "down": "average"}),
    "average over odd sides": ("unet", {**SMALL, "down": "average", "pool_ceil": True, "fit": "cut", "skip": "add"}),
    "normalized before": ("unet", {**SMALL, "order": "nca", "down": "strided", "activation": "elu"}),
    "uneven volume": ("unet-3d", {"width": 3, "depth": 2, "factors": ((1, 2, 2), (2, 2, 2)),
                                  "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3))}),
    "corners kept in a volume": ("unet-3d", {"width": 3, "depth": 1, "up": "linear", "align_corners": True}),
    "attention in a volume": ("attention-unet", {"width": 3, "depth": 1, "dims": 3}),
    "UNet 3+ with corners": ("unet3+", {"width": 4, "depth": 2, "align_corners": True}),
    "one level": ("unet", {"width": 4, "depth": 0}),
}  # fmt: skip
CASES = {name: (name, options) for name, options in VARIANT_CASES.items()} | OPTION_CASES


def make_network(variant, options, dtype=torch.float64):
    """Build a network whose normalization does something."""
    torch.manual_seed(0)
    network = build_network(variant, in_channels=2, out_channels=3, **options).to(dtype).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
    return network


def make_image(network, size=(61, 46), dtype=torch.float64):
    """Random pixels on an odd number of rows."""
    sides = (18, 21, 15) if network.dims == 3 and len(size) == 2 else size
    return torch.randn((1, 2, *sides), dtype=dtype, generator=torch.Generator().manual_seed(1))


def at(x, window):
    """Slice (..., *size)."""
    return x[(..., *(slice(*interval) for interval in window))]


def some_windows(size, seed, count=4):
    """Draw windows, among them ones at the corners."""
    rng = random.Random(seed)
    for i in range(count):
        window = []
        for n in size:
            start, stop = sorted(rng.sample(range(n + 1), 2)) if n > 1 else (0, 1)
            window.append(Interval(0 if i == 0 else start, n if i == 1 else stop))
        yield tuple(window)


class Reader:
    """Hands out an image and remembers what was asked for."""

    def __init__(self, image):
        self.image, self.windows = image, []

    def __call__(self, window):
        self.windows.append(window)
        return at(self.image, window)
