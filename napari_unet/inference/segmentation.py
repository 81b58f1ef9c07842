"""Segmentation: prediction, then objects."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import ModelError
from napari_unet.events import Event, finish_warning
from napari_unet.imaging.image import Image, from_canonical
from napari_unet.inference.config import InferenceConfig, Turns
from napari_unet.inference.outputs import check_out
from napari_unet.inference.pipeline import Prediction, Wish, as_channels, as_image, predict_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import label_events
from napari_unet.weights.model import Model


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Labels (T, Z, Y, X) uint32, the number of objects, and the prediction that they come from."""

    labels: npt.NDArray[np.uint32]
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
    outputs : (probabilities, labels)
        Arrays to write into, (K, T, Z, Y, X) float32 and (T, Z, Y, X) uint32; None for new ones.

    Raises
    ------
    ModelError
        If the model gives no probabilities.
    """
    if model.activation == "none":
        raise ModelError(
            f'The model "{model.spec.name}" gives raw values and no probabilities, so there are no objects to find in '
            "them. Use its prediction, or give it an activation."
        )
    probabilities, labels = outputs
    prediction = yield from predict_events(model, image, config, probabilities, wish)
    options = objects or model.spec.objects
    found, count = yield from label_events(prediction.probabilities, model.spec, options, labels)
    return Segmentation(found, count, prediction)


def segment(  # noqa: PLR0913, PLR0917  # the public face: scripts rely on these names
    model: Model,
    image: Any,  # noqa: ANN401
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    pixel_size: float | PixelSize | None = None,
    diameter: float | None = None,
    tile: int | None = None,
    device: str = "auto",
    out: Any | None = None,  # noqa: ANN401
    *,
    turns: Turns = "none",
) -> npt.NDArray[np.uint32]:
    """Segment an image into labels.

    The arguments are those of `napari_unet.predict`; `out` has the shape of the labels.

    Returns
    -------
    (*axes without C) uint32
        In the order of axes that was given: object ids, or class ids of a semantic model; 0 is
        background.

    Raises
    ------
    AxesError, ChannelError, ImageError, DeviceError
        If axes, channels, image or device do not fit.
    """
    source = as_image(image, axes, pixel_size)
    config = InferenceConfig(
        channels=as_channels(channels), diameter_px=diameter, tile=tile, device=device, turns=turns
    )
    check_out(out, source.label_shape, np.uint32)
    found = finish_warning(segment_events(model, source, config))
    labels = from_canonical(found.labels[:, None], source.label_axes)
    if out is not None:
        out[...] = labels
    return labels
