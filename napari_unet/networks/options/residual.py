"""Options of the residual U-Net family."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from napari_unet.networks.options.base import check_order
from napari_unet.networks.options.levels import BlockLevelOptions, u_outline
from napari_unet.networks.options.sides import SidedOptions
from napari_unet.networks.outline import Outline


class ResidualOptions(SidedOptions, BlockLevelOptions):
    """Options of the residual U-Net family, beyond those of its levels and units.

    Attributes
    ----------
    convs : int
        Units a block.
    blocks : tuple of int, optional
        Blocks of each level of the encoder from the top to the bottom; 1 by default.
    decoder : "residual" | "plain"
        What the decoder consists of: blocks, or units without a sum around them.
    decoder_blocks : tuple of int, optional
        How many of them each level of the decoder has, from the top; 1 by default.
    stem : int
        Channels of a unit before the first level; 0 for none.
    start : str, optional
        Order of the layers of the very first unit, where it is another one. (A unit that starts with
        a normalization would take the brightness from the image.)
    activate_sum : bool
        Whether the last activation of a block follows the sum.
    sum_slope : float, optional
        Of "leaky_relu" after sums, where it differs from `slope`.
    squeeze : "none" | "channel" | "spatial" | "both"
        How each block weighs what it found (squeeze and excitation): each channel by the means of all
        channels over the whole image, so that tiles cannot be exact; each pixel by its channels; or
        the larger of both.
    projection : "beside" | "before"
        Where a block needs another number of channels, whether the 1-pixel convolution that brings
        it is beside the units, for the sum alone, or before them.
    projection_order : str
        Of the layers of the projection.
    projection_bias : bool
    down : "strided" | "max" | "average"
        The first convolution of a level has a stride, or pooling.
    shortcut : "strided" | "average"
        How a block with a stride makes what it adds smaller: by its projection, or by average
        pooling.
    kernels : tuple of tuple of int, optional
        Kernel sides (one an axis) of each level, instead of `kernel`.
    factors : tuple of tuple of int, optional
        Down-sampling (one an axis) between levels; 2 along every axis by default.
    up : "nearest" | "transpose" | "transpose3"
        Interpolation; transposed convolution whose kernel is its stride; one with a kernel of 3.
    up_bias : bool
        Whether the transposed convolution has a bias.
    up_fills : bool
        Whether "transpose3" gives the full size by itself; otherwise it lacks a pixel, and one is repeated.
    skip : "concat" | "add"
        How the encoder's features join the decoder's.
    first : "skip" | "decoder"
        What comes first in "concat".
    """

    order: str = "nac"
    depth: int = Field(default=3, ge=1, le=7)
    width: int = Field(default=64, ge=1)
    convs: int = Field(default=2, ge=1, le=6)
    blocks: tuple[PositiveInt, ...] | None = None
    decoder: Literal["residual", "plain"] = "residual"
    decoder_blocks: tuple[PositiveInt, ...] | None = None
    stem: NonNegativeInt = 0
    start: str | None = None
    activate_sum: bool = False
    sum_slope: float | None = None
    squeeze: Literal["none", "channel", "spatial", "both"] = "none"
    projection: Literal["beside", "before"] = "beside"
    projection_order: str = "c"
    projection_bias: bool = True
    down: Literal["strided", "max", "average"] = "strided"
    shortcut: Literal["strided", "average"] = "strided"
    up: Literal["nearest", "transpose", "transpose3"] = "nearest"
    up_bias: bool = True
    up_fills: bool = False
    skip: Literal["concat", "add"] = "concat"
    first: Literal["skip", "decoder"] = "skip"

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        self.check_levels(blocks=1, decoder_blocks=0)
        check_order(self.projection_order)
        check_order(self.start or self.order)
        if self.skip == "add" and self.up == "nearest":
            message = 'skip "add" needs an up-sampling that brings the channels of the level: up "transpose"'
            raise ValueError(message)
        return self

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return super().local and self.squeeze in {"none", "spatial"}

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """Blocks of each level of the encoder, from the top."""
        return self.blocks or (1,) * (self.depth + 1)

    @property
    def level_decoder_blocks(self) -> tuple[int, ...]:
        """Blocks or units of each level of the decoder, from the top."""
        return self.decoder_blocks or (1,) * self.depth

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        planes: dict[str, Any] = {
            name: tuple(sides[-2:] for sides in given)
            for name in ("kernels", "factors")
            if (given := getattr(self, name)) is not None
        }
        return super().thin().model_copy(update={"stem": min(self.stem, 1), "squeeze": "none", **planes})

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        units = self.convs if self.decoder == "residual" else 1
        convs = (
            tuple(count * self.convs for count in self.level_blocks),
            tuple(count * units for count in self.level_decoder_blocks),
        )
        down = {"strided": "first convolution with a stride", "max": "max pooling", "average": "average pooling"}
        up = {"nearest": "nearest-neighbour interpolation", "transpose": "transposed convolution"}
        legend = {
            "block": f"{self.convs} × ({self.unit_in_words}), added to what enters",
            "down": down[self.down],
            "up": up.get(self.up, "3-pixel transposed convolution"),
            "skip": "joined by concatenation" if self.skip == "concat" else "joined by addition",
        }
        return u_outline((in_channels, out_channels), self.level_widths, convs, legend)
