"""What the viewer shows of a fine-tuning: the region that somebody looks at, and how models did."""

from __future__ import annotations

from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.references import ArrayRef, ImageRef, Region
from napari_unet.networks.spec import Config
from napari_unet.objects.config import ObjectOptions


class WatchRef(Config):
    """What somebody looks at while a training runs.

    Attributes
    ----------
    image : ImageRef
    region : (start, stop) along T, Z, Y, X
    inference, objects
        How it is segmented; without `objects` as each model says.
    live : bool
        Whether it is segmented after each check, too, and not only at the end.
    labels : ArrayRef
        uint32 (T, Z, Y, X) of the region; is written with what the new model finds.
    before : ArrayRef
        The same, written at the end with what the old model finds; stays empty for an untrained one.
    """

    image: ImageRef
    region: Region
    inference: InferenceConfig = InferenceConfig()
    objects: ObjectOptions | None = None
    live: bool = True
    labels: ArrayRef
    before: ArrayRef


class Measured(Config):
    """How a model did on held-out corrections; see `napari_unet.training.gate.Score`.

    Attributes
    ----------
    value, low, high : float
    objects, pixels : int
        That it was measured on.
    """

    value: float
    low: float
    high: float
    objects: int
    pixels: int


class Seen(Config):
    """What the old and the new model find in the region that somebody looks at.

    Attributes
    ----------
    before : int, optional
        Objects of the old model; None where it has not learnt anything.
    after : int
    """

    before: int | None = None
    after: int
