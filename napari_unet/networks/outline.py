"""What a picture of a network shows. Importing this does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StageKind = Literal["input", "encoder", "bottom", "decoder", "dense", "gate", "head"]
LinkKind = Literal["next", "down", "up", "skip", "gate"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A block of convolutions, or the input or output.

    Attributes
    ----------
    name : str
        Unique in its outline.
    kind : str
        What it is; decides its colour.
    column : float
        From left to right; the picture has as many columns as it needs.
    level : int
        How often the resolution has been halved; 0 at the top.
    channels : int
        That leave it.
    convs : int
        Convolutions inside.
    """

    name: str
    kind: StageKind
    column: float
    level: int
    channels: int
    convs: int = 1


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow between two stages, by name."""

    start: str
    end: str
    kind: LinkKind


@dataclass(frozen=True, slots=True)
class Outline:
    """Stages and links of a network, and a legend.

    Attributes
    ----------
    stages, links : tuple
    legend : dict
        What each kind of link does in this network, such as {"down": "max pooling 2"}.
    """

    stages: tuple[Stage, ...]
    links: tuple[Link, ...]
    legend: dict[str, str]
