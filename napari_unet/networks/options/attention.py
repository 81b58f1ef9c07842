"""Options of the attention U-Net family."""

from __future__ import annotations

from pydantic import Field

from napari_unet.networks.options.levels import NEAREST_LEGEND, BlockLevelOptions, u_outline
from napari_unet.networks.outline import Outline


class AttentionOptions(BlockLevelOptions):
    """Options of the attention U-Net family, beyond those of its levels and blocks.

    Attributes
    ----------
    convs : int
        Convolutions a level.
    """

    bias: bool | None = True
    width: int = Field(default=64, ge=1)
    convs: int = Field(default=2, ge=1, le=6)

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        convs = (self.convs,) * (self.depth + 1)
        legend = {"block": f"{self.convs} × ({self.unit_in_words})", **NEAREST_LEGEND}
        return u_outline((in_channels, out_channels), self.level_widths, (convs, convs), legend, gated=True)
