"""What the panel shows of the tools."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config

ToolName = Literal["", "merge", "split", "delete", "smart fill"]


class Tooling(Config):
    """How the tools of the chosen image stand.

    Attributes
    ----------
    tool : str
        The one that is chosen; empty if none is.
    extent : float
        Of a proposal, from 0 to 1: the larger, the more it takes in.
    """

    tool: ToolName = ""
    extent: float = 0.5
