"""Options of the attention U-Net family."""

from __future__ import annotations

from pydantic import Field

from napari_unet.networks.options.levels import BlockLevelOptions
from napari_unet.networks.outline import Link, Outline, Stage, StageKind


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
        return level_outline((in_channels, out_channels), self.level_widths, self.convs, gated=True)


def level_outline(channels: tuple[int, int], widths: tuple[int, ...], convs: int, *, gated: bool) -> Outline:
    """Return the outline of a U-Net with nearest-neighbour up-sampling, with gates on its skips if wanted.

    Parameters
    ----------
    channels : tuple of int
        Of the image and of the logits.
    widths : tuple of int
        Of the levels, from the top.
    convs : int
        Convolutions a level.
    gated : bool
    """
    depth = len(widths) - 1
    stages = [Stage("input", "input", 0, 0, channels[0], 0)]
    links, before = [], "input"
    for level, width in enumerate(widths):
        kind: StageKind = "bottom" if level == depth else "encoder"
        stages.append(Stage(f"encoder {level}", kind, 1 + level, level, width, convs))
        links.append(Link(before, f"encoder {level}", "down" if level else "next"))
        before = f"encoder {level}"
    for level, width in reversed(list(enumerate(widths[:-1]))):
        name, column = f"decoder {level}", 1 + 2 * depth - level
        skip = f"encoder {level}"
        if gated:
            stages.append(Stage(f"gate {level}", "gate", 1 + depth, level, width, 1))
            links += [Link(skip, f"gate {level}", "skip"), Link(before, f"gate {level}", "gate")]
            skip = f"gate {level}"
        stages.append(Stage(name, "decoder", column, level, width, convs))
        links += [Link(before, name, "up"), Link(skip, name, "skip")]
        before = name
    stages.append(Stage("logits", "head", 2 * depth + 2, 0, channels[1], 1))
    links.append(Link(before, "logits", "next"))
    legend = {
        "down": "max pooling",
        "up": "nearest-neighbour interpolation and 3-pixel convolution",
        "skip": "joined by concatenation",
    }
    if gated:
        legend["gate"] = "tells the gate where to look"
    return Outline(tuple(stages), tuple(links), legend)
