"""What the panel shows of the tools."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config

ToolName = Literal["", "merge", "split", "delete", "smart fill"]
Scope = Literal["one", "chosen", "reviewed"]


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
    scope : str
        Whose outlines the buttons change: of the chosen label, of the rows chosen in the table, or of all reviewed.
    chosen : tuple of (int, int)
        Time points and ids of the objects whose rows are chosen.
    filter : Filter
    """

    tool: ToolName = ""
    extent: float = 0.5
    scope: Scope = "one"
    chosen: tuple[tuple[int, int], ...] = ()
    filter: Filter = Filter()
