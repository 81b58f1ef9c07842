"""Weights files as other programs write them, with thin networks."""

import os

import torch


def convolution(name, into, out, side=3, bias=False):
    tensors = {f"{name}.weight": torch.randn(out, into, side, side) / (into * side * side) ** 0.5}
    if bias:
        tensors[f"{name}.bias"] = torch.randn(out) / 10
    return tensors


def normalization(name, width):
    return {
        f"{name}.weight": torch.rand(width) + 0.5,
        f"{name}.bias": torch.randn(width) / 10,
        f"{name}.running_mean": torch.randn(width) / 10,
        f"{name}.running_var": torch.rand(width) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def double(name, into, out, bias=False):
    return {
        **convolution(f"{name}.0", into, out, bias=bias),
        **normalization(f"{name}.1", out),
        **convolution(f"{name}.3", out, out, bias=bias),
        **normalization(f"{name}.4", out),
    }


def transposed(name, into, out):
    return {f"{name}.weight": torch.randn(into, out, 2, 2) / (4 * into) ** 0.5, f"{name}.bias": torch.randn(out) / 10}


def milesial(width=4, depth=2, channels=1, classes=2, seed=0):
    """State of milesial's Pytorch-UNet with transposed convolutions."""
    torch.manual_seed(seed)
    widths = [width * 2**level for level in range(depth + 1)]
    state = double("inc.double_conv", channels, width)
    for level in range(1, depth + 1):
        state |= double(f"down{level}.maxpool_conv.1.double_conv", widths[level - 1], widths[level])
    for step, level in enumerate(reversed(range(depth)), 1):
        state |= transposed(f"up{step}.up", widths[level + 1], widths[level])
        state |= double(f"up{step}.conv.double_conv", widths[level + 1], widths[level])
    return state | convolution("outc.conv", width, classes, 1, bias=True)


def three_ways(width=4, depth=2, classes=2, seed=0):
    """State of the BatchNorm U-Net whose file does not say how encoder and decoder meet."""
    torch.manual_seed(seed)
    widths = [width * 2**level for level in range(depth + 1)]
    state = double("inc.conv", 1, width, bias=True)
    for level in range(1, depth + 1):
        state |= double(f"down{level}.maxpool_conv.1.conv", widths[level - 1], widths[level], bias=True)
    for step, level in enumerate(reversed(range(depth)), 1):
        state |= transposed(f"up{step}.up", widths[level + 1], widths[level])
        state |= double(f"up{step}.conv.conv", widths[level + 1], widths[level], bias=True)
    return state | convolution("outc", width, classes, 1, bias=True)


class Trap:
    """Makes a folder when a pickle of it is loaded the careless way."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)
