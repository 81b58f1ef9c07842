"""What U-Nets are made of, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.errors import ModelError
from napari_unet.networks.base import cut
from napari_unet.networks.options.base import BlockOptions
from napari_unet.networks.options.unet import UNetOptions

# Any: kernels, strides and paddings are tuples of as many sides as there are dimensions.
CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def make_activation(options: BlockOptions) -> nn.Module:
    """Build the activation function; an identity for "none"."""
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
        case "none":
            return nn.Identity()
        case _:
            assert_never(options.activation)


def make_norm(channels: int, options: BlockOptions) -> nn.Module:
    """Build the normalization layer; an identity for "none".

    Raises
    ------
    ModelError
        If the groups of "group" do not divide the channels.
    """
    match options.norm:
        case "batch":
            return BATCH_NORM[options.dims](channels, eps=options.eps)
        case "instance":
            return INSTANCE_NORM[options.dims](channels, eps=options.eps, affine=options.affine)
        case "group":
            few = channels if options.own_groups else 1
            groups = options.groups if channels >= options.groups else few
            if channels % groups:
                raise ModelError(
                    f"{channels} channels cannot be normalized in {groups} groups. Choose other groups or other widths."
                )
            return nn.GroupNorm(groups, channels, eps=options.eps)
        case "none":
            return nn.Identity()
        case _:
            assert_never(options.norm)


class Unit(nn.Sequential):
    """A convolution with what belongs to it, in the order of `options.order`.

    Parameters
    ----------
    in_channels, out_channels : int
    options : BlockOptions
    kernel : sequence of int, optional
        One side an axis; `options.kernel` by default.
    stride : sequence of int or int
    dropout : float
        Probability of the letter d.
    order : str, optional
        Instead of that of the options.
    """

    def __init__(  # mirrors a convolution
        self,
        in_channels: int,
        out_channels: int,
        options: BlockOptions,
        kernel: Sequence[int] | None = None,
        stride: Sequence[int] | int = 1,
        dropout: float = 0.0,
        order: str | None = None,
    ) -> None:
        super().__init__()
        sides = tuple(kernel or (options.kernel,) * options.dims)
        channels = in_channels
        for letter in order or options.order:
            if letter == "c":
                padding = tuple(0 if _is_valid(options) else side // 2 for side in sides)
                steps = (stride,) * options.dims if isinstance(stride, int) else tuple(stride)
                conv = CONV[options.dims]
                self.add_module("conv", conv(in_channels, out_channels, sides, steps, padding, bias=options.conv_bias))
                channels = out_channels
            elif letter == "n" and options.norm != "none":
                self.add_module("norm", make_norm(channels, options))
            elif letter == "a":
                self.add_module("act", make_activation(options))
            elif letter == "d":
                self.add_module("dropout", nn.Dropout(dropout))


def _is_valid(options: BlockOptions) -> bool:
    return isinstance(options, UNetOptions) and options.padding == "valid"


class ConvBlock(nn.Sequential):
    """Units one after another.

    Parameters
    ----------
    in_channels : int
    widths : sequence of int
        Channels after each unit.
    options : BlockOptions
    kernel : sequence of int, optional
        One side an axis.
    stride : sequence of int or int
        Of the first unit.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        options: BlockOptions,
        kernel: Sequence[int] | None = None,
        stride: Sequence[int] | int = 1,
    ) -> None:
        super().__init__()
        for i, (before, width) in enumerate(zip((in_channels, *widths[:-1]), widths, strict=True)):
            dropout = options.unit_dropout[min(i, len(options.unit_dropout) - 1)]
            self.append(Unit(before, width, options, kernel, stride if i == 0 else 1, dropout))


class Down(nn.Sequential):
    """Reduce the resolution by `factor`; nothing where the next convolution has a stride."""

    def __init__(self, channels: int, factor: Sequence[int], options: UNetOptions) -> None:
        super().__init__()
        sides = tuple(factor)
        match options.down:
            case "max":
                self.append(MAX_POOL[options.dims](sides, ceil_mode=options.pool_ceil))
            case "average":
                self.append(AVERAGE_POOL[options.dims](sides, ceil_mode=options.pool_ceil))
            case "conv":
                self.append(CONV[options.dims](channels, channels, sides, sides))
            case "conv3":
                self.append(CONV[options.dims](channels, channels, 3, sides, 1))
            case "strided":
                pass
            case _:
                assert_never(options.down)
        if options.down_activation:
            self.append(make_activation(options))


class Up(nn.Module):
    """Raise the resolution by `factor`, ending with `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, factor: Sequence[int], options: UNetOptions) -> None:
        super().__init__()
        self.factor = tuple(float(side) for side in factor)
        self.mode = {"nearest": "nearest", "linear": LINEAR[options.dims]}.get(options.up)
        self.align_corners = options.align_corners if options.up == "linear" else None
        kernel = options.up_kernel
        self.even = not options.transposed and kernel == 2
        # A 1-pixel convolution commutes with interpolation and is cheaper before it.
        self.conv_first = options.transposed or (kernel == 1 and options.up_order == "c")
        if options.transposed:
            self.conv: nn.Module = _transposed(in_channels, out_channels, tuple(factor), options)
        elif kernel:
            self.conv = _up_unit(in_channels, out_channels, options)
        else:
            self.conv = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in, *size) to (N, out, *factor * size)."""
        if self.conv_first:
            return self._interpolate(self.conv(x))
        x = self._interpolate(x)
        if self.even:
            x = F.pad(x, (0, 1) * (x.ndim - 2))
        out: Tensor = self.conv(x)
        return out

    def _interpolate(self, x: Tensor) -> Tensor:
        if self.mode is None:
            return x
        return F.interpolate(x, scale_factor=self.factor, mode=self.mode, align_corners=self.align_corners)


def _transposed(in_channels: int, out_channels: int, factor: tuple[int, ...], options: UNetOptions) -> nn.Module:
    """Build the transposed convolution of up-sampling."""
    # Without output padding a side becomes 2 n - 1, which is resized to the encoder's; without any it becomes 2 n + 1,
    # which is cut as Keras cuts it.
    more = tuple(0 if options.fit == "resize" else side - 1 for side in factor)
    centred = (3, 0, 0) if options.fit == "cut" else (3, 1, more)
    kernel, padding, beyond = (factor, 0, 0) if options.up == "transpose" else centred
    make = TRANSPOSED[options.dims]
    made: nn.Module = make(in_channels, out_channels, kernel, factor, padding, beyond, bias=options.up_bias)
    if options.up_order == "c":
        return made
    unit = Unit(in_channels, out_channels, options, order=options.up_order)
    unit.conv = made
    return unit


def _up_unit(in_channels: int, out_channels: int, options: UNetOptions) -> nn.Module:
    """Build the convolution after an interpolation, with what belongs to it."""
    kernel = options.up_kernel
    unit = Unit(in_channels, out_channels, options, (kernel,) * options.dims, order=options.up_order)
    padding = 0 if kernel == 2 else kernel // 2
    bias = options.up_bias and ("n" not in options.up_order or options.conv_bias)
    unit.conv = CONV[options.dims](in_channels, out_channels, kernel, padding=padding, bias=bias)
    return unit


class DecoderLevel(nn.Module):
    """Up-sample, join the encoder's features, convolve.

    Parameters
    ----------
    below : int
        Channels of the level below.
    level : int
        0 at the top.
    options : UNetOptions
    """

    def __init__(self, below: int, level: int, options: UNetOptions) -> None:
        super().__init__()
        self.options = options
        up_channels = options.up_channels(level, below)
        skip = options.encoder_widths[level][-1] if options.skip == "concat" else 0
        self.up = Up(below, up_channels, options.level_factor(level), options)
        kernel = options.level_kernel(level)
        self.block = ConvBlock(up_channels + skip, options.decoder_widths[level], options, kernel)
        self.dropout = DROPOUT[options.dims](options.dropout) if options.dropout else nn.Identity()

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From (N, below, *size) and the encoder's features to the features of this level."""
        x, features = fit(self.up(x), features, self.options)
        match self.options.skip:
            case "concat":
                pair = [features, x] if self.options.first == "skip" else [x, features]
                x = torch.cat(pair, dim=1)
            case "add":
                x = x + features
            case "none":
                pass
            case _:
                assert_never(self.options.skip)
        out: Tensor = self.dropout(self.block(x))
        return out


def fit(x: Tensor, features: Tensor, options: UNetOptions) -> tuple[Tensor, Tensor]:
    """Make the decoder's (N, C, *size) and the encoder's features meet in size."""
    match options.fit:
        case "multiple":
            return x, features
        case "crop":
            return x, crop_centre(features, x.shape[2:])
        case "pad":
            return pad_centre(x, features.shape[2:]), features
        case "resize":
            return resize(x, features.shape[2:], LINEAR[options.dims] if options.resize_linear else "nearest"), features
        case "cut":
            return cut(x, features.shape[2:]), features
        case _:
            assert_never(options.fit)


def crop_centre(x: Tensor, size: Sequence[int]) -> Tensor:
    """Crop (N, C, *larger) around its centre; half a pixel is rounded to an even number."""
    for axis, n in enumerate(size, start=2):
        lost = x.shape[axis] - n
        x = x.narrow(axis, lost // 2 + (lost % 2) * (lost // 2 % 2), n)
    return x


def pad_centre(x: Tensor, size: Sequence[int]) -> Tensor:
    """Surround (N, C, *smaller) with zeros, the odd one at the far end."""
    pads: list[int] = []
    for n, here in zip(reversed(size), reversed(x.shape[2:]), strict=True):
        pads += [(n - here) // 2, (n - here) - (n - here) // 2]
    return F.pad(x, pads)


def resize(x: Tensor, size: Sequence[int], mode: str) -> Tensor:
    """Interpolate (N, C, *other) to a size; nothing changes where it is that size already."""
    return F.interpolate(x, size=list(size), mode=mode, align_corners=None if mode == "nearest" else False)


def depth_to_space(x: Tensor, scale: int) -> Tensor:
    """From (N, scale² C, Y, X) to (N, C, scale Y, scale X), the channel varying fastest.

    This is TensorFlow's order; in that of `torch.nn.PixelShuffle` the channel varies slowest.
    """
    n, channels, height, width = x.shape
    x = x.view(n, scale * scale, channels // scale**2, height, width).transpose(1, 2)
    return F.pixel_shuffle(x.reshape(n, channels, height, width), scale)
