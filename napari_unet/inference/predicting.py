"""Prediction as scripts ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.events import finish_warning
from napari_unet.inference.canvas import Reordered
from napari_unet.inference.config import Diameter, Turns
from napari_unet.inference.diameters import estimated_events
from napari_unet.inference.outputs import check_out, new_array, probability_type
from napari_unet.inference.pipeline import as_config, as_image, predict_events
from napari_unet.inference.resuming import record_for
from napari_unet.weights.model import Model


def predict(  # noqa: PLR0913, PLR0917  # the public face: scripts rely on these names
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
    dtype: npt.DTypeLike | None = None,
    turns: Turns = "none",
    resume: bool = False,
    fast: bool = False,
) -> npt.NDArray[Any]:
    """Predict a probability map.

    Parameters
    ----------
    model : Model
    image : numpy, Dask or Zarr array, or Image
    axes : str, optional
        One letter a dimension, such as "TZYX" or "YXC"; YX or ZYX by default.
    channels : sequence of int, optional
        Which channels feed the model, in its order; all by default.
    pixel_size : float or PixelSize, optional
        In µm; the image is rescaled to that of the model where that is known.
    diameter : float or "auto", optional
        Of the objects, in pixels; the image is rescaled to the size that the model knows. "auto" estimates it first, as
        `napari_unet.estimate_diameter` does, and tells it as a warning; where nothing can be estimated, none is used.
    tile : int, optional
        Side of the write region of a tile in pixels; None chooses.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    out : Zarr, h5py or numpy array, optional
        Of the result's shape, float32 or uint8. Is written piece by piece, each chunk once.
    dtype : "float32" or "uint8", optional
        Of the result: probabilities from 0 to 1, or from 0 to 255; float32 by default, or as `out`.
    turns : "none", "flips" or "all"
        Average over the 4 flips of the plane, or over its 8 flips and quarter turns; 4 or 8 times the work.
    resume : bool
        Go on from what a run that was interrupted has written to the Zarr array `out`, if it was of the same image,
        model and settings; else, and by default, begin anew.
    fast : bool
        On a CPU compute with integers of 8 bits where they change few labels; what they change is measured on the
        image and told as a warning. Needs the packages of ``napari-unet[fast]``.

    Returns
    -------
    (class, *axes without C) float32 or uint8
        In the order of axes that was given; `out`, if that was given.

    Raises
    ------
    AxesError, ChannelError, ImageError, DeviceError, ModelError
        If axes, channels, image, device or type do not fit, or there is too little memory for the result.
    ExportError
        If `out` cannot be written.
    """
    source = as_image(image, axes, pixel_size)
    config = as_config(channels, diameter, tile, device, turns=turns, fast=fast)
    kind, shape = probability_type(model, out, dtype), (len(model.spec.classes), *source.label_shape)
    check_out(out, shape, kind)
    result: npt.NDArray[Any] = new_array(shape, kind) if out is None else out
    if diameter == "auto":
        config = finish_warning(estimated_events(model, source, config))
    record = record_for(result, resume=resume)
    written = Reordered(result, source.label_axes, shape[0])
    finish_warning(predict_events(model, source, config, written, record=record))
    return result
