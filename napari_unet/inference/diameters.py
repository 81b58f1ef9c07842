"""How large the objects of an image are, told by what a model finds in it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.events import Event, Notice, Progress, Result, finish_warning
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import MAX_FACTOR, Window, Wish, as_config, as_image, predict_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import label_events
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ModelSpec

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


def diameter_events(
    model: Model, image: Image, config: InferenceConfig, around: Window | None = None
) -> Generator[Event, None, float | None]:
    """Estimate the diameter of the objects; see `estimate_diameter`.

    Parameters
    ----------
    model : Model
    image : Image
    config : InferenceConfig
        Channels, device and tiles; nothing else of it is used.
    around : (start, stop) along T, Z, Y and X, optional
        The image is looked at around the middle of this window; by default of its first time point.
    """
    known = model.spec.diameter_px
    if known is None or model.spec.sizing_obstacle:
        return None
    window = _window(image, around)
    for times in SUPPOSED:
        supposed = known * times
        seen = yield from _quietly(_seen(model, image, config, window, supposed))
        if seen is None:
            continue
        # Once more at the scale that was found: now large objects are whole, and small ones apart.
        if max(seen / supposed, supposed / seen) > CLOSE:
            again = yield from _quietly(_seen(model, image, config, window, seen))
            seen = seen if again is None else again
        return seen
    return None


def estimated_events(model: Model, image: Image, config: InferenceConfig) -> Generator[Event, None, InferenceConfig]:
    """Estimate the diameter of the objects, tell it as a `Notice`, and return the settings with it.

    Parameters
    ----------
    model : Model
    image : Image
    config : InferenceConfig
        Is returned as it is where nothing can be estimated.
    """
    diameter = yield from diameter_events(model, image, config)
    if diameter is None:
        reason = model.spec.sizing_obstacle or f'Hardly any objects were found in the middle of "{image.name}".'
        yield Notice(f"The diameter of the objects could not be estimated, and none is used. {reason}")
        return config
    yield Notice(f'The diameter of the objects in "{image.name}" was estimated as {diameter:.1f} pixels.')
    return config.model_copy(update={"diameter_px": diameter})


def _seen(
    model: Model, image: Image, config: InferenceConfig, window: Window, supposed: float
) -> Generator[Event, None, float | None]:
    """Median diameter of the objects that are found when they are supposed to have a diameter.

    None if there are hardly any, or no image can be rescaled by so much.
    """
    trial = InferenceConfig(
        channels=config.channels,
        diameter_px=supposed,
        tile=config.tile,
        device=config.device,
        precision=config.precision,
    )
    prediction = yield from predict_events(model, image, trial, wish=Wish(window))
    labels, count = yield from label_events(prediction.probabilities, model.spec, _options(model.spec, supposed))
    diameter = median_diameter(labels) if count >= ENOUGH_OBJECTS else None
    known = model.spec.diameter_px
    if diameter is None or known is None or not 1 / MAX_FACTOR <= diameter / known <= MAX_FACTOR:
        return None
    return diameter


def _options(spec: ModelSpec, supposed: float) -> ObjectOptions:
    """How objects are found in one slice, of which a volume shows only a section."""
    options = spec.objects_at(supposed)
    if spec.dims == 2:
        return options
    return options.model_copy(update={"min_size_px": round(options.min_size_px ** (2 / 3))})


def _quietly(work: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
    """Tell only that an estimate goes on: whatever else there is to tell, the prediction that follows tells too."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield Progress("Measuring the objects", 0, 1)


def median_diameter(labels: npt.NDArray[Any]) -> float | None:
    """Median of the diameters of discs with the areas of the objects in one plane; None if there is none.

    >>> round(median_diameter(np.array([[1, 1, 0, 2], [1, 1, 0, 0]])), 2)
    1.69
    """
    areas = np.bincount(labels.ravel())[1:]
    present = areas[areas > 0]
    return float(np.median(np.sqrt(present * 4 / np.pi))) if present.size else None


def _window(image: Image, around: Window | None) -> Window:
    """Window to look at: one slice, in the middle of the first time point or of another window."""
    sizes = image.sizes
    if around is None:
        around = ((0, 1), (0, sizes["Z"]), (0, sizes["Y"]), (0, sizes["X"]))
    time, depth, row, column = ((start + stop) // 2 for start, stop in around)
    return (time, time + 1), (depth, depth + 1), _span(row, sizes["Y"]), _span(column, sizes["X"])


def _span(middle: int, size: int) -> tuple[int, int]:
    """Enough pixels around the middle, inside of the image."""
    start = max(0, min(middle - SIDE_PX // 2, size - SIDE_PX))
    return start, min(size, start + SIDE_PX)
