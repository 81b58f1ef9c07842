"""Segmentation: prediction, then objects."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import ModelError
from napari_unet.events import Event, finish_warning
from napari_unet.imaging.image import Image
from napari_unet.inference.config import Diameter, InferenceConfig, Turns
from napari_unet.inference.diameters import estimated_events
from napari_unet.inference.outputs import check_out, labels_array, new_array
from napari_unet.inference.pipeline import Prediction, Wish, as_config, as_image, predict_events
from napari_unet.inference.temporary import room_for_probabilities
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import label_events
from napari_unet.weights.model import Model


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What was found.

    Attributes
    ----------
    labels : (T, Z, Y, X) uint32
    count : int
        Of objects.
    prediction : Prediction
        That they come from. Large probabilities that nobody gave an array for are gone: None.
    """

    labels: Any
    count: int
    prediction: Prediction


def segment_events(
    model: Model,
    image: Image,
    config: InferenceConfig | None = None,
    objects: ObjectOptions | None = None,
    outputs: tuple[Any, Any] = (None, None),
    wish: Wish | None = None,
) -> Generator[Event, None, Segmentation]:
    """Predict, then find objects; see `predict_events` and `label_events`.

    Parameters
    ----------
    objects : ObjectOptions, optional
        Those of the model by default, where the smallest size follows the diameter that `config` tells.
    outputs : (probabilities, labels)
        Arrays to write into, (K, T, Z, Y, X) float32 or uint8 and (T, Z, Y, X) uint32; None for new ones. Probabilities
        of more than 256 MB then lie on disk for a while, as bytes: of 10,000 pixels of objects, about two
        get another label than by float32.

    Raises
    ------
    ModelError
        If the model gives no probabilities.
    ExportError
        If results cannot be written.
    """
    if model.activation == "none":
        raise ModelError(
            f'The model "{model.spec.name}" gives raw values and no probabilities, so there are no objects to find in '
            "them. Use its prediction, or give it an activation."
        )
    probabilities, labels = outputs
    config = config or InferenceConfig()
    options = objects or model.spec.objects_at(config.diameter_px)
    with nullcontext() if probabilities is not None else room_for_probabilities(_shape(model, image, wish)) as room:
        prediction = yield from predict_events(model, image, config, probabilities if room is None else room, wish)
        found, count = yield from label_events(prediction.probabilities, model.spec, options, labels)
    return Segmentation(found, count, prediction if room is None else replace(prediction, probabilities=None))


def _shape(model: Model, image: Image, wish: Wish | None) -> tuple[int, ...]:
    """Of the probabilities."""
    if wish is None or wish.region is None:
        return (len(model.spec.outputs), *(image.sizes[axis] for axis in "TZYX"))
    return (len(model.spec.outputs), *(stop - start for start, stop in wish.region))


def segment(  # noqa: PLR0913, PLR0917  # the public face: scripts rely on these names
    model: Model,
    image: Any,  # noqa: ANN401
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    pixel_size: float | PixelSize | None = None,
    diameter: Diameter = None,
    tile: int | None = None,
    device: str = "auto",
    out: Any | None = None,  # noqa: ANN401
    *,
    turns: Turns = "none",
    fast: bool = False,
) -> npt.NDArray[Any]:
    """Segment an image into labels.

    The arguments are those of `napari_unet.predict`; `out` is an integer array of the shape of the labels. Of a Zarr
    array each chunk is written once. Objects that are too small are dropped: the smallest size is that of the model,
    and follows `diameter`.

    Returns
    -------
    (*axes without C) uint32
        In the order of axes that was given: object ids, or class ids of a semantic model; 0 is
        background; `out`, if that was given.

    Raises
    ------
    AxesError, ChannelError, ImageError, DeviceError
        If axes, channels, image or device do not fit.
    LabelsError
        If `out` cannot hold so many objects.
    ExportError
        If there is too little space on disk.
    """
    source = as_image(image, axes, pixel_size)
    config = as_config(channels, diameter, tile, device, turns=turns, fast=fast)
    check_out(out, source.label_shape, np.uint32)
    labels: npt.NDArray[Any] = new_array(source.label_shape, np.uint32) if out is None else out
    if diameter == "auto":
        config = finish_warning(estimated_events(model, source, config))
    finish_warning(segment_events(model, source, config, outputs=(None, labels_array(labels, source.label_axes))))
    return labels
