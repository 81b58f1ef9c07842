"""How large the objects of an image are, told by what a model finds in it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.events import Event, finish_warning
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import Window, Wish, as_config, as_image
from napari_unet.inference.segmentation import segment_events
from napari_unet.weights.model import Model

# Enough of an image to tell by.
SIDE_PX = 768
ENOUGH_OBJECTS = 3
# Two estimates this close are the same.
CLOSE = 1.15
# Where too little is found, objects are supposed to be so many times as large as the model knows them.
SUPPOSED = (1.0, 2.0, 0.5, 4.0)


def estimate_diameter(
    model: Model,
    image: Any,  # noqa: ANN401
    axes: str | None = None,
    channels: Sequence[int] | None = None,
    device: str = "auto",
) -> float | None:
    """Estimate the diameter of the objects in an image, to be given to `segment` or `predict`.

    The model segments the middle of the image, which is then rescaled to what was found and segmented
    again.

    Parameters
    ----------
    model : Model
    image : numpy, Dask or Zarr array, or Image
    axes : str, optional
        One letter a dimension, such as "TZYX" or "YXC"; YX or ZYX by default.
    channels : sequence of int, optional
        Which channels feed the model; all by default.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".

    Returns
    -------
    float or None
        In pixels: the median of the diameters of discs as large as the objects. None if hardly anything is found, or
        the model finds no objects, or does not know their size.

    Raises
    ------
    AxesError, ChannelError, ImageError, DeviceError
        If axes, channels, image or device do not fit.
    """
    config = as_config(channels, None, None, device, turns="none", fast=False)
    return finish_warning(diameter_events(model, as_image(image, axes, None), config))


def diameter_events(model: Model, image: Image, config: InferenceConfig) -> Generator[Event, None, float | None]:
    """Estimate the diameter of the objects; see `estimate_diameter`.

    Parameters
    ----------
    model : Model
    image : Image
    config : InferenceConfig
        Channels and device; a diameter is not used.
    """
    known = model.spec.diameter_px
    if known is None or model.spec.meaning != "instances":
        return None
    for times in SUPPOSED:
        supposed = known * times
        seen = yield from _seen(model, image, config, supposed)
        if seen is None:
            continue
        # Once more at the scale that was found: now large objects are whole, and small ones apart.
        if max(seen / supposed, supposed / seen) > CLOSE:
            again = yield from _seen(model, image, config, seen)
            seen = seen if again is None else again
        return seen
    return None


def _seen(model: Model, image: Image, config: InferenceConfig, diameter: float) -> Generator[Event, None, float | None]:
    """Median diameter of the objects that are found when they are supposed to have a diameter."""
    trial = config.model_copy(update={"diameter_px": diameter})
    # An object counts if it is as large as a tenth of what is supposed.
    smallest = max(1, min(model.spec.objects.min_size_px, round(diameter**2 / 13)))
    objects = model.spec.objects.model_copy(update={"min_size_px": smallest})
    found = yield from segment_events(model, image, trial, objects, wish=Wish(_middle(image)))
    return median_diameter(found.labels) if found.count >= ENOUGH_OBJECTS else None


def median_diameter(labels: npt.NDArray[Any]) -> float | None:
    """Median of the diameters of discs with the areas of the objects in one plane; None if there is none.

    >>> round(median_diameter(np.array([[1, 1, 0, 2], [1, 1, 0, 0]])), 2)
    1.69
    """
    areas = np.bincount(labels.ravel())[1:]
    present = areas[areas > 0]
    return float(np.median(np.sqrt(present * 4 / np.pi))) if present.size else None


def _middle(image: Image) -> Window:
    """Window in the middle of the first time point: one slice."""
    sizes = image.sizes
    depth = sizes["Z"] // 2
    rows, columns = (
        ((sizes[axis] - min(sizes[axis], SIDE_PX)) // 2, (sizes[axis] + min(sizes[axis], SIDE_PX)) // 2)
        for axis in "YX"
    )
    return (0, 1), (depth, depth + 1), rows, columns
