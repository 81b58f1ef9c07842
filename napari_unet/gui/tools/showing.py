"""What the panel shows of the tools."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config

ToolName = Literal["", "merge", "split", "delete", "smart fill"]


class Filter(Config):
    """Which objects a filter would remove.

    Attributes
    ----------
    smaller_px : int
        Those of fewer pixels.
    border : bool
        Those that touch the border.
    objects : int, optional
        How many there are; None while they are counted.
    unwanted : int
        How many of them would be removed.
    """

    smaller_px: int = 0
    border: bool = False
    objects: int | None = None
    unwanted: int = 0


class Tooling(Config):
    """How the tools of the chosen image stand.

    Attributes
    ----------
    tool : str
        The one that is chosen; empty if none is.
    extent : float
        Of a proposal, from 0 to 1: the larger, the more it takes in.
    filter : Filter
    """

    tool: ToolName = ""
    extent: float = 0.5
    filter: Filter = Filter()
