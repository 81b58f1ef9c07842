"""What the panel shows of reviewing."""

from __future__ import annotations

from typing import Literal

from napari_unet.networks.spec import Config
from napari_unet.objects.reviewing import Order

MARGIN_PX = 8
Marking = Literal["", "brush", "rectangle"]


class FieldEffort(Config):
    """What correcting a field took.

    Attributes
    ----------
    field : int
    pixels, objects : float
        Shares that were changed.
    time : float
        When it was accepted, seconds since 1970, UTC.
    model : str
        Title of the model whose prediction was corrected; may be empty.
    """

    field: int
    pixels: float
    objects: float
    time: float = 0.0
    model: str = ""


class Review(Config):
    """How reviewing the chosen image stands.

    Attributes
    ----------
    margin_px : int
        How far around an edit pixels are marked as reviewed; 0 marks nothing.
    marking : str
        What the mouse marks with; empty if it corrects.
    order : str
        In which order fields are offered.
    can_flip : bool
        Whether there is a model that can be asked which fields are least stable.
    running : bool
        Whether fields are being offered.
    at : int, optional
        The field on the screen.
    fields, reviewed, skipped : int
        How many there are, and how many have been reviewed or skipped.
    note : str
        What is particular about the order just now.
    efforts : tuple of FieldEffort
        In the order in which fields were accepted, those of earlier days first.
    verdict : str
        Whether correcting more pays.
    """

    margin_px: int = MARGIN_PX
    marking: Marking = ""
    order: Order = "most uncertain"
    can_flip: bool = False
    running: bool = False
    at: int | None = None
    fields: int = 0
    reviewed: int = 0
    skipped: int = 0
    note: str = ""
    efforts: tuple[FieldEffort, ...] = ()
    verdict: str = ""
