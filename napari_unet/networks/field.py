"""How far a network sees, measured by gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from napari_unet.networks.blocks import AVERAGE_POOL
from napari_unet.networks.options import LOCAL_NORMS, UNetOptions
from napari_unet.networks.unet import UNet

MAX_SIDE = 4096
_LINEARIZED = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU,
    nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm,
    nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What an aligned window of the output depends on.

    Attributes
    ----------
    stride : int
        Windows start at multiples of it.
    radius : int
        Pixels beyond the window on each side that influence it.
    local : bool
        False if a layer looks at its whole input, so that no radius makes tiles exact.
    """

    stride: int
    radius: int
    local: bool

    @property
    def halo(self) -> int:
        """The radius, rounded up to a multiple of the stride."""
        return -(-self.radius // self.stride) * self.stride


def receptive_field(network: UNet) -> ReceptiveField:
    """Measure the receptive field of a network.

    Every layer is replaced by a linear one with positive weights that depends on the same pixels,
    so that no dependence can hide behind an inactive unit; then a gradient says which input
    pixels an output window depends on. All axes of our networks are alike, so one is measured, and
    the number of channels changes nothing, so a network with one a level is.
    """
    return _measure(network.options)


@lru_cache(maxsize=64)
def _measure(options: UNetOptions) -> ReceptiveField:
    thin = {"widths": (1,) * (options.depth + 1), "norm": "none", "dropout": 0.0}
    probe = UNet(1, 1, options.model_copy(update=thin))
    stride, local = probe.stride, options.norm in LOCAL_NORMS
    _linearize(probe).double().eval()
    side = 16 * stride
    while side <= MAX_SIDE:
        radius = _radius(probe, stride, options.dims, side)
        if radius is not None:
            return ReceptiveField(stride, radius, local)
        side *= 2
    return ReceptiveField(stride, MAX_SIDE // 2, local=False)


def _radius(probe: nn.Module, stride: int, dims: int, side: int) -> int | None:
    """Radius along the last axis, or None if it reaches the ends of an input of this side."""
    image = torch.zeros((1, 1, *(stride,) * (dims - 1), side), dtype=torch.float64, requires_grad=True)
    start = side // 2 // stride * stride
    window: Tensor = probe(image)[..., start : start + stride]
    (gradient,) = torch.autograd.grad(window.sum(), image)
    seen = torch.nonzero(gradient.abs().flatten(0, -2).sum(0)).flatten()
    first, last = int(seen.min()), int(seen.max())
    if first == 0 or last == side - 1:
        return None
    radius: int = max(start - first, last - (start + stride - 1), 0)
    return radius


def _linearize(module: nn.Module) -> nn.Module:
    """Replace what is not linear, and make all weights positive."""
    for name, child in module.named_children():
        if isinstance(child, _LINEARIZED):
            setattr(module, name, nn.Identity())
        elif isinstance(child, (nn.MaxPool2d, nn.MaxPool3d)):
            setattr(module, name, AVERAGE_POOL[2 if isinstance(child, nn.MaxPool2d) else 3](2))
        else:
            _linearize(child)
    for parameter in module.parameters(recurse=False):
        nn.init.constant_(parameter, 1 / max(1, parameter[0].numel()))
    return module
