"""Options of the UNet++ family."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_unet.networks.options.levels import BlockLevelOptions
from napari_unet.networks.outline import Link, Outline, Stage, StageKind

Node = tuple[int, int]


class NestedOptions(BlockLevelOptions):
    """Options of the UNet++ family, beyond those of its levels and blocks.

    Attributes
    ----------
    convs : int
        Convolutions a node.
    up : "linear" | "nearest"
        Interpolation between levels.
    align_corners : bool
        How "linear" interpolates. With True sampling points depend on the size of the whole image, so that
        tiles with a halo cannot be exact; strips and windows of the network's graph are.
    deep_supervision : bool
        One head after each column 1 to `depth`, instead of one after the last.
    branch : int, optional
        With deep supervision the column whose head gives the logits (fast mode: what it does not need
        is not computed). Without a branch they are the mean of all heads (accurate mode).
    """

    bias: bool | None = True
    convs: int = Field(default=2, ge=1, le=6)
    up: Literal["linear", "nearest"] = "linear"
    align_corners: bool = True
    deep_supervision: bool = False
    branch: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _branch_exists(self) -> Self:
        if self.branch is None:
            return self
        if not self.deep_supervision:
            message = "only networks with deep_supervision have branches"
            raise ValueError(message)
        if self.branch > self.depth:
            message = f"branches are 1 to {self.depth}, not {self.branch}"
            raise ValueError(message)
        return self

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return super().local and not (self.up == "linear" and self.align_corners)

    def fitting(self, side: int) -> int:
        """Return the smallest side of at least `side` at which tiling changes nothing."""
        return max(side, self.smallest)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Level and column of each node, a column after the other."""
        return tuple((level, column) for column in range(self.depth + 1) for level in range(self.depth + 1 - column))

    @property
    def active(self) -> tuple[Node, ...]:
        """The nodes that the logits depend on, in the order in which they can be computed."""
        last = self.branch or self.depth
        return tuple((level, column) for level, column in self.nodes if level + column <= last)

    @property
    def heads(self) -> tuple[int, ...]:
        """Columns that have a head."""
        return tuple(range(1, self.depth + 1)) if self.deep_supervision else (self.depth,)

    @property
    def used_heads(self) -> tuple[int, ...]:
        """Columns whose heads give the logits."""
        return (self.branch,) if self.branch else self.heads

    def node_inputs(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes that a node joins: those before it in its row, then the one that is enlarged."""
        level, column = node
        return (*((level, before) for before in range(column)), (level + 1, column - 1)) if column else ()

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return what the picture of the network shows."""
        stages = [Stage("input", "input", 0, 0, in_channels, 0)]
        links = [Link("input", "node 0.0", "next")]
        for level, column in self.active:
            kind: StageKind = "dense" if 0 < column < self.depth - level else "decoder" if column else "encoder"
            kind = "bottom" if level == self.depth else kind
            name = f"node {level}.{column}"
            stages.append(Stage(name, kind, 1 + level + 2 * column, level, self.level_widths[level], self.convs))
            if level and not column:
                links.append(Link(f"node {level - 1}.0", name, "down"))
            for row, before in self.node_inputs((level, column)):
                links.append(Link(f"node {row}.{before}", name, "up" if row > level else "skip"))
        stages.append(Stage("logits", "head", 2 * max(self.used_heads) + 2, 0, out_channels, 1))
        links.extend(Link(f"node 0.{column}", "logits", "next") for column in self.used_heads)
        return Outline(tuple(stages), tuple(links), self._legend())

    def _legend(self) -> dict[str, str]:
        legend = {
            "block": f"{self.convs} × ({self.unit_in_words})",
            "down": "max pooling",
            "up": "linear interpolation" if self.up == "linear" else "nearest-neighbour interpolation",
            "skip": "joined with all nodes before it in the row; what comes from below is padded with zeros",
        }
        if len(self.used_heads) > 1:
            legend["next"] = "mean of one head for each column"
        return legend
