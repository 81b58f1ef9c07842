"""Options of the UNet 3+ family."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from napari_unet.networks.options.levels import BlockLevelOptions
from napari_unet.networks.outline import Link, Outline, Stage, StageKind


class FullScaleOptions(BlockLevelOptions):
    """Options of the UNet 3+ family, beyond those of its levels and blocks.

    Attributes
    ----------
    convs : int
        Convolutions a level of the encoder.
    skip_width : int, optional
        Channels that each level of the decoder takes from each scale; those of the first level by
        default. A level of the decoder has as many times that as there are levels.
    up : "linear" | "nearest"
        Interpolation.
    align_corners : bool
        How "linear" interpolates. With True sampling points depend on the size of the whole image, so that
        tiles with a halo cannot be exact; strips and windows of the network's graph are.
    head_kernel : 1 | 3
        Side of the kernel that gives the logits.
    """

    bias: bool | None = True
    width: int = Field(default=64, ge=1)
    convs: int = Field(default=2, ge=1, le=6)
    skip_width: PositiveInt | None = None
    up: Literal["linear", "nearest"] = "linear"
    align_corners: bool = False
    head_kernel: Literal[1, 3] = 3

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return super().local and not (self.up == "linear" and self.align_corners)

    @property
    def taken(self) -> int:
        """Channels that each level of the decoder takes from each scale."""
        return self.skip_width or self.level_widths[0]

    @property
    def decoder_width(self) -> int:
        """Channels of each level of the decoder."""
        return self.taken * (self.depth + 1)

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        depth = self.depth
        stages = [Stage("input", "input", 0, 0, in_channels, 0)]
        links, before = [], "input"
        for level, width in enumerate(self.level_widths):
            kind: StageKind = "bottom" if level == depth else "encoder"
            stages.append(Stage(f"encoder {level}", kind, 1 + level, level, width, self.convs))
            links.append(Link(before, f"encoder {level}", "down" if level else "next"))
            before = f"encoder {level}"
        for level in reversed(range(depth)):
            name = f"decoder {level}"
            stages.append(Stage(name, "decoder", 1 + 2 * depth - level, level, self.decoder_width, 1))
            links += [Link(f"encoder {other}", name, "skip") for other in range(level + 1)]
            links += [Link(f"decoder {other}", name, "up") for other in range(level + 1, depth)]
            links.append(Link(f"encoder {depth}", name, "up"))
        stages.append(Stage("logits", "head", 2 * depth + 2, 0, out_channels, 1))
        links.append(Link("decoder 0", "logits", "next"))
        legend = {
            "block": f"{self.convs} × ({self.unit_in_words})",
            "down": "max pooling",
            "up": "linear interpolation" if self.up == "linear" else "nearest-neighbour interpolation",
            "skip": f"{self.taken} channels from every scale, made smaller by max pooling",
        }
        return Outline(tuple(stages), tuple(links), legend)
