"""Options of the U-Net family."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from napari_unet.networks.options.base import check_order
from napari_unet.networks.options.levels import u_outline
from napari_unet.networks.options.sides import SidedOptions, Widths
from napari_unet.networks.outline import Outline


class UNetOptions(SidedOptions):
    """Options of the U-Net family, beyond those of its blocks.

    Attributes
    ----------
    depth : int
        How often the resolution is reduced.
    width : int
        Channels at full resolution; doubled at each level.
    widths : tuple of int, optional
        Channels of each level from the top to the bottom, instead of `width`.
    convs : int
        Convolutions a level.
    encoder, decoder : tuple of tuple of int, optional
        Channels after each convolution of each level from the top to the bottom, instead of `widths`
        and `convs`; the decoder has no bottom level.
    up_widths : tuple of int, optional
        Channels after the up-sampling to each level from the top; those of the level by default.
    kernels : tuple of tuple of int, optional
        Kernel sides (one an axis) of each level, instead of `kernel`.
    factors : tuple of tuple of int, optional
        Down-sampling (one an axis) between levels; 2 along every axis by default.
    padding : "same" | "valid"
        With "valid" each convolution loses pixels at the border, as in the original U-Net.
    down : "max" | "average" | "conv" | "conv3" | "strided"
        Pooling; a convolution of kernel 2 or 3 and stride 2; or the first convolution of the next
        level with a stride.
    down_activation : bool
        Whether an activation follows "conv" and "conv3".
    pool_ceil : bool
        Whether pooling an odd side keeps the last pixel.
    up : "transpose" | "transpose3" | "nearest" | "linear"
        Transposed convolution, its kernel as large as the factor or 3; or interpolation followed by
        a convolution. With `fit` "cut" a kernel of 3 begins at the pixel, as in Keras; else it is centred.
    up_kernel : 0 | 1 | 2 | 3
        Kernel of that convolution; 0 means none. (A kernel of 2 sees one pixel to the right and below.)
    up_order : str
        Of the layers with which up-sampling ends; see `order`.
    up_bias : bool
        Whether its convolution has a bias.
    align_corners : bool
        How "linear" interpolates. With True sampling points depend on the size of the whole image, so that
        tiles with a halo cannot be exact; strips and windows of the network's graph are.
    skip : "concat" | "add" | "none"
        How the encoder's features join the decoder's.
    first : "skip" | "decoder"
        What comes first in "concat".
    fit : "multiple" | "crop" | "pad" | "resize" | "cut"
        What makes sizes meet: the image is padded to a multiple of the stride; the encoder's features
        are cropped around their centre; the decoder's are padded with zeros, resized (to the nearest
        neighbour where `up` is "nearest" or "transpose3", linearly elsewhere), or cut at the far end.
    dropout : float
        Probability, after each level of the decoder and at the bottom.
    head_kernel : 1 | 3
        Side of the kernel that gives the logits.
    head_scale : int
        The output has so many times the size of the input (depth to space).
    """

    depth: int = Field(default=4, ge=0, le=7)
    width: int = Field(default=32, ge=1)
    widths: tuple[PositiveInt, ...] | None = None
    convs: int = Field(default=2, ge=1, le=6)
    encoder: Widths | None = None
    decoder: Widths | None = None
    up_widths: tuple[NonNegativeInt, ...] | None = None
    padding: Literal["same", "valid"] = "same"
    down: Literal["max", "average", "conv", "conv3", "strided"] = "max"
    down_activation: bool = False
    pool_ceil: bool = False
    up: Literal["transpose", "transpose3", "nearest", "linear"] = "transpose"
    up_kernel: Literal[0, 1, 2, 3] = 1
    up_order: str = "c"
    up_bias: bool = True
    align_corners: bool = False
    skip: Literal["concat", "add", "none"] = "concat"
    first: Literal["skip", "decoder"] = "skip"
    fit: Literal["multiple", "crop", "pad", "resize", "cut"] = "multiple"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    head_kernel: Literal[1, 3] = 1
    head_scale: int = Field(default=1, ge=1, le=4)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        self.check_levels(widths=1, encoder=1, decoder=0, up_widths=0)
        check_order(self.up_order)
        self.check_groups(tuple(width for level in (*self.encoder_widths, *self.decoder_widths) for width in level))
        if self.padding == "valid" and (self.kernels or self.factors or self.fit not in {"crop", "pad"}):
            message = 'padding "valid" needs fit "crop" or "pad" and the same kernel and factor everywhere'
            raise ValueError(message)
        if self.head_scale > 1 and self.dims == 3:
            message = "head_scale is for planes"
            raise ValueError(message)
        return self

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top to the bottom."""
        return self.widths or tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def encoder_widths(self) -> Widths:
        """Channels after each convolution of each level of the encoder and the bottom."""
        return self.encoder or tuple((width,) * self.convs for width in self.level_widths)

    @property
    def decoder_widths(self) -> Widths:
        """Channels after each convolution of each level of the decoder, from the top."""
        return self.decoder or tuple((level[-1],) * self.convs for level in self.encoder_widths[:-1])

    @property
    def transposed(self) -> bool:
        """Whether up-sampling is a transposed convolution."""
        return self.up in {"transpose", "transpose3"}

    @property
    def resize_linear(self) -> bool:
        """Whether the decoder is resized by linear interpolation, if at all."""
        return self.up in {"transpose", "linear"}

    def up_channels(self, level: int, below: int) -> int:
        """Channels after the up-sampling to a level, `below` being those before it."""
        if not self.transposed and self.up_kernel == 0:
            return below
        given = self.up_widths[level] if self.up_widths else 0
        return given or self.encoder_widths[level][-1]

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        stretched = self.up == "linear" and self.align_corners and self.depth > 0
        return super().local and not stretched

    @property
    def margin(self) -> int:
        """Pixels by which the output is smaller than the input on each side."""
        if self.padding == "same":
            return 0
        side = self.fitting(0)
        return (side - self.output_side(side)) // 2

    @property
    def scale(self) -> int:
        """How many pixels the output has for each one of the input."""
        return self.head_scale

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        if self.padding == "valid":
            return self.fitting(0)
        # Instance normalization cannot work on a single pixel at the bottom.
        return self.stride * (2 if self.norm == "instance" else 1)

    def fitting(self, side: int) -> int:
        """Return the smallest side of at least `side` at which tiling changes nothing."""
        if self.padding == "same":
            return max(side, self.smallest) if self.fit in {"pad", "cut"} else super().fitting(side)
        while self.output_side(side) < 1:
            side += 1
        return side

    def fitting_along(self, axis: int, side: int) -> int:
        """Return the same along one axis, which may be reduced less often than others."""
        return self.fitting(side) if self.fit in {"pad", "cut"} else super().fitting_along(axis, side)

    def output_side(self, side: int) -> int:
        """Return the side of the output, or 0 if pooling would lose a pixel or nothing would be left."""
        loss = self.kernel - 1
        skips = []
        for level, widths in enumerate(self.encoder_widths):
            if level:
                if side % 2:
                    return 0
                side //= 2
            side -= loss * len(widths)
            skips.append(side)
            if side < 1:
                return 0
        skips.pop()
        for widths in reversed(self.decoder_widths):
            skip, side = skips.pop(), 2 * side
            side = (skip if self.fit == "pad" else side) - loss * len(widths)
            if side < 1:
                return 0
        return side

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        return self.model_copy(
            update={
                "widths": (1,) * (self.depth + 1),
                "encoder": tuple((1,) * len(level) for level in self.encoder_widths),
                "decoder": tuple((1,) * len(level) for level in self.decoder_widths),
                "up_widths": None,
                "norm": "none",
                "dropout": 0.0,
            }
        )

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        widths = tuple(level[-1] for level in self.encoder_widths)
        convs = tuple(map(len, self.encoder_widths)), tuple(map(len, self.decoder_widths))
        decoder = tuple(level[-1] for level in self.decoder_widths)
        channels, skips = (in_channels, out_channels), self.skip != "none"
        return u_outline(channels, widths, convs, self._legend(), decoder=decoder, skips=skips)

    def _legend(self) -> dict[str, str]:
        down = {
            "max": "max pooling",
            "average": "average pooling",
            "conv": "2-pixel convolution with stride 2",
            "conv3": "3-pixel convolution with stride 2",
            "strided": "first convolution with a stride",
        }
        up = {
            "transpose": "transposed convolution",
            "transpose3": "3-pixel transposed convolution",
            "nearest": "nearest-neighbour interpolation",
            "linear": "linear interpolation",
        }
        skip = {"concat": "joined by concatenation", "add": "joined by addition", "none": ""}
        fit = {
            "crop": ", cropped around the centre",
            "pad": ", the decoder padded with zeros",
            "resize": ", the decoder resized",
            "cut": ", the decoder cut at the end",
            "multiple": "",
        }
        return {
            "block": f"{len(self.encoder_widths[0])} × ({self.unit_in_words})",
            "down": down[self.down],
            "up": up[self.up],
            "skip": skip[self.skip] + fit[self.fit] if self.skip != "none" else "no skips",
        }
