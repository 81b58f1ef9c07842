"""What the options of families with a width for each level share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, PositiveInt, model_validator

from napari_unet.networks.options.base import BlockOptions, NetworkOptions
from napari_unet.networks.outline import Link, Outline, Stage, StageKind

NEAREST_LEGEND = {
    "down": "max pooling",
    "up": "nearest-neighbour interpolation and 3-pixel convolution",
    "skip": "joined by concatenation",
}


class LevelOptions(NetworkOptions):
    """Options of families whose every level halves the resolution.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    depth : int
        How often the resolution is reduced.
    width : int
        Channels at full resolution; doubled at each level.
    widths : tuple of int, optional
        Channels of each level from the top to the bottom, instead of `width`.
    """

    depth: int = Field(default=4, ge=1, le=7)
    width: int = Field(default=32, ge=1)
    widths: tuple[PositiveInt, ...] | None = None

    @model_validator(mode="after")
    def _one_width_a_level(self) -> Self:
        if self.widths is not None and len(self.widths) != self.depth + 1:
            message = f"depth {self.depth} needs {self.depth + 1} widths, and {len(self.widths)} were given"
            raise ValueError(message)
        return self

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level, from the top to the bottom."""
        return self.widths or tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def stride(self) -> int:
        """Total down-sampling."""
        return int(2**self.depth)

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        # Along its last axis a volume is seen as a plane is.
        return self.model_copy(update={"dims": 2, "widths": (1,) * (self.depth + 1)})


class BlockLevelOptions(LevelOptions, BlockOptions):
    """Options of families made of blocks of convolutions, one block or more at each level; see its parents."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        self.check_groups(self.level_widths)
        return self

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        # Instance normalization cannot work on a single pixel at the bottom.
        return self.stride * (2 if self.norm == "instance" else 1)

    def thin(self) -> Self:
        """Return options of a network with the same receptive field that is quick to compute."""
        return super().thin().model_copy(update={"norm": "none"})


def u_outline(
    channels: tuple[int, int],
    widths: Sequence[int],
    convs: tuple[Sequence[int], Sequence[int]],
    legend: Mapping[str, str],
    *,
    decoder: Sequence[int] | None = None,
    gated: bool = False,
    skips: bool = True,
) -> Outline:
    """Return the outline of a network in the shape of a U, with gates on its skips if wanted.

    Parameters
    ----------
    channels : tuple of int
        Of the image and of the logits.
    widths : sequence of int
        Of the levels, from the top.
    convs : tuple of two sequences of int
        Convolutions of each level of the encoder and of the decoder, from the top.
    legend : mapping
    decoder : sequence of int, optional
        Widths of the decoder's levels, from the top, where they are others.
    gated, skips : bool
        Whether there are gates on the skips, and whether there are skips.
    """
    depth, decoder = len(widths) - 1, decoder or widths
    stages = [Stage("input", "input", 0, 0, channels[0], 0)]
    links, before = [], "input"
    for level, width in enumerate(widths):
        kind: StageKind = "bottom" if level == depth else "encoder"
        stages.append(Stage(f"encoder {level}", kind, 1 + level, level, width, convs[0][level]))
        links.append(Link(before, f"encoder {level}", "down" if level else "next"))
        before = f"encoder {level}"
    for level in reversed(range(depth)):
        skip, gate, name = f"encoder {level}", f"gate {level}", f"decoder {level}"
        if gated:
            stages.append(Stage(gate, "gate", 1 + depth, level, widths[level], 1))
            links += [Link(skip, gate, "skip"), Link(before, gate, "gate")]
        stages.append(Stage(name, "decoder", 1 + 2 * depth - level, level, decoder[level], convs[1][level]))
        links.append(Link(before, name, "up"))
        if skips:
            links.append(Link(gate if gated else skip, name, "skip"))
        before = name
    stages.append(Stage("logits", "head", 2 * depth + 2, 0, channels[1], 1))
    links.append(Link(before, "logits", "next"))
    gates = {"gate": "tells the gate where to look"} if gated else {}
    return Outline(tuple(stages), tuple(links), {**legend, **gates})
