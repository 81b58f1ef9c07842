"""Options of the recurrent residual family."""

from __future__ import annotations

from pydantic import Field

from napari_unet.networks.options.levels import NEAREST_LEGEND, BlockLevelOptions, u_outline
from napari_unet.networks.outline import Outline


class RecurrentOptions(BlockLevelOptions):
    """Options of the recurrent residual family, beyond those of its levels and blocks.

    Attributes
    ----------
    convs : int
        Recurrent units a level.
    recurrences : int
        How often the output of a unit is added to its input and sent through it again.
    attention : bool
        Whether the skips pass attention gates.
    """

    bias: bool | None = True
    width: int = Field(default=64, ge=1)
    convs: int = Field(default=2, ge=1, le=6)
    recurrences: int = Field(default=2, ge=1, le=8)
    attention: bool = False

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        turns = (self.convs * (1 + self.recurrences),) * (self.depth + 1)
        channels = in_channels, out_channels
        words = f"{self.convs} × ({self.unit_in_words}) {self.recurrences + 1} times over, and a shortcut"
        legend = {"block": words, **NEAREST_LEGEND}
        return u_outline(channels, self.level_widths, (turns, turns), legend, gated=self.attention)
