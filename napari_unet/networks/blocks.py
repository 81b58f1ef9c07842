"""What U-Nets are made of, in 2D and 3D."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.options import UNetOptions

CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}


def make_activation(options: UNetOptions) -> nn.Module:
    """Build the activation function."""
    match options.activation:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(options.slope, inplace=True)
        case "elu":
            return nn.ELU(inplace=True)
        case "gelu":
            return nn.GELU()
        case "silu":
            return nn.SiLU(inplace=True)
        case _:
            assert_never(options.activation)


def make_norm(channels: int, options: UNetOptions) -> nn.Module:
    """Build the normalization layer; an identity for "none"."""
    match options.norm:
        case "batch":
            return BATCH_NORM[options.dims](channels)
        case "instance":
            return INSTANCE_NORM[options.dims](channels, affine=True)
        case "group":
            return nn.GroupNorm(options.groups, channels)
        case "none":
            return nn.Identity()
        case _:
            assert_never(options.norm)


def make_down(channels: int, options: UNetOptions) -> nn.Module:
    """Build what halves the resolution."""
    match options.down:
        case "max":
            return MAX_POOL[options.dims](2)
        case "average":
            return AVERAGE_POOL[options.dims](2)
        case "conv":
            return CONV[options.dims](channels, channels, kernel_size=2, stride=2)
        case _:
            assert_never(options.down)


class ConvBlock(nn.Sequential):
    """Convolution, normalization, activation; `options.convs` times."""

    def __init__(self, in_channels: int, out_channels: int, options: UNetOptions) -> None:
        layers: list[nn.Module] = []
        for i in range(options.convs):
            layers += [
                CONV[options.dims](
                    in_channels if i == 0 else out_channels,
                    out_channels,
                    kernel_size=options.kernel,
                    padding=options.kernel // 2,
                    bias=options.norm != "batch",
                ),
                make_norm(out_channels, options),
                make_activation(options),
            ]
        super().__init__(*layers)


class Up(nn.Module):
    """Double the resolution, ending with `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, options: UNetOptions) -> None:
        super().__init__()
        self.mode = {
            "nearest": "nearest",
            "linear": "bilinear" if options.dims == 2 else "trilinear",
        }.get(options.up)
        if options.up == "transpose":
            self.conv: nn.Module = TRANSPOSED[options.dims](in_channels, out_channels, kernel_size=2, stride=2)
        else:
            self.conv = CONV[options.dims](in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in, *size) to (N, out, *2 size)."""
        # A 1-pixel convolution commutes with interpolation and is cheaper before it.
        x = self.conv(x)
        return x if self.mode is None else F.interpolate(x, scale_factor=2, mode=self.mode)


class DecoderLevel(nn.Module):
    """Up-sample, join the encoder's features, convolve."""

    def __init__(self, in_channels: int, out_channels: int, options: UNetOptions) -> None:
        super().__init__()
        self.skip = options.skip
        self.up = Up(in_channels, out_channels, options)
        joined = 2 * out_channels if options.skip == "concat" else out_channels
        self.block = ConvBlock(joined, out_channels, options)
        self.dropout = DROPOUT[options.dims](options.dropout) if options.dropout else nn.Identity()

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From (N, in, *size) and the skip (N, out, *2 size) to (N, out, *2 size)."""
        x = self.up(x)
        if self.skip == "concat":
            x = torch.cat([features, x], dim=1)
        elif self.skip == "add":
            x = x + features
        out: Tensor = self.dropout(self.block(x))
        return out


def pad_to_multiple(x: Tensor, multiple: int, minimum: int) -> Tensor:
    """Repeat the last pixels of (N, C, *size) at the far ends until each side fits.

    Padding only at the far end keeps the sampling grid where it is, whatever the size.
    """
    pads: list[int] = []
    for size in reversed(x.shape[2:]):
        wanted = max(minimum, -(-size // multiple) * multiple)
        pads += [0, wanted - size]
    return F.pad(x, pads, mode="replicate") if any(pads) else x
