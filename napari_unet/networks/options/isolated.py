"""Options of networks that are programs of other people, run in a process of their own."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field

from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.outline import Link, Outline, Stage


class IsolatedOptions(NetworkOptions):
    """What was found out about a network whose layers are not looked at.

    Attributes
    ----------
    dims : 2 | 3
        Planes or volumes.
    sha256 : str
        Of its file.
    least, step : int
        It takes sides of `least`, `least` + `step`, `least` + 2 `step` and so on.
    alignment : int
        Tiles start at multiples of it: of the down-sampling of common U-Nets.
    lost : int
        Pixels by which the output is smaller on each side.
    enlarged : int
        How many pixels the output has for each one of the input, along each axis.
    context : int
        How far it was seen to look, in pixels; used as the halo of tiles.
    window : tuple of int
        The only sides that it takes, if it takes no others.
    channels_last : bool
        Whether it takes and gives channels as the last axis.
    gives : "logits" | "sigmoid" | "softmax"
        What its output is; probabilities are turned back into logits.
    """

    sha256: str = ""
    least: int = Field(default=1, ge=1)
    step: int = Field(default=1, ge=1)
    alignment: int = Field(default=32, ge=1)
    lost: int = Field(default=0, ge=0)
    enlarged: int = Field(default=1, ge=1)
    context: int = Field(default=64, ge=0)
    window: tuple[int, ...] = ()
    channels_last: bool = False
    gives: Literal["logits", "sigmoid", "softmax"] = "logits"

    @property
    def stride(self) -> int:
        """Tiles start at multiples of it."""
        return self.alignment

    @property
    def local(self) -> bool:
        """Never: what a layer looks at is not known."""
        return False

    @property
    def margin(self) -> int:
        """Pixels by which the output is smaller than the input on each side."""
        return self.lost

    @property
    def scale(self) -> int:
        """How many pixels the output has for each one of the input, along each axis."""
        return self.enlarged

    @property
    def smallest(self) -> int:
        """The smallest side of an input."""
        return self.least

    @property
    def radius(self) -> int | None:
        """How far it was seen to look."""
        return self.context

    def fitting(self, side: int) -> int:
        """Return the smallest side of at least `side` that the network takes."""
        return self.least + -(-max(0, side - self.least) // self.step) * self.step

    def outline(self, in_channels: int, out_channels: int) -> Outline:
        """Return a picture without layers."""
        stages = (
            Stage("image", "input", 0, 0, in_channels, 0),
            Stage("a program of its own", "bottom", 1, 0, out_channels, 0),
            Stage("logits", "head", 2, 0, out_channels, 0),
        )
        links = tuple(Link(one.name, other.name, "next") for one, other in itertools.pairwise(stages))
        return Outline(stages, links, {})
