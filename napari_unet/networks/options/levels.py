"""What the options of families with a width for each level share."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from napari_unet.networks.options.base import BlockOptions, NetworkOptions


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
        return self.model_copy(update={"widths": (1,) * (self.depth + 1)})


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
