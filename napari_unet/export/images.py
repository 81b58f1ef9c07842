"""Images as TIFF, as they are: no value is changed, and what TIFF programs do not open is refused."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.errors import ExportError
from napari_unet.events import Event, finish
from napari_unet.export.rasters import About, Raster
from napari_unet.export.tiff import check_suffix
from napari_unet.export.writing import write_tiff_events
from napari_unet.imaging.image import Image

KINDS: set[np.dtype[Any]] = {np.dtype(kind) for kind in (np.uint8, np.uint16, np.float32)}
"""What ImageJ opens as it is."""
LOSSLESS: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(bool): np.dtype(np.uint8),
    np.dtype(np.float16): np.dtype(np.float32),
}
"""What becomes one of them without a loss."""


def save_image(path: str | os.PathLike[str], image: Image, *, largest: float = 0) -> Path:
    """Save an image with its axes and pixel size as a TIFF that ImageJ opens.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.tif`` or ``.tiff``.
    image : Image
        Of uint8, uint16 or float32; booleans become 0 and 1.
    largest : float
        To which programs stretch the contrast; 0 for the largest value that the type holds (1 for floats).

    Raises
    ------
    ExportError
        If its values are of a type that TIFF programs do not open, or it cannot be written.
    """
    return finish(save_image_events(path, image, largest=largest))


def save_image_events(
    path: str | os.PathLike[str], image: Image, *, largest: float = 0
) -> Generator[Event, None, Path]:
    """Save an image as `save_image` does, and tell how far it is."""
    path = check_suffix(path)
    dtype = LOSSLESS.get(image.dtype, image.dtype.newbyteorder("="))
    if dtype not in KINDS:
        raise ExportError(
            f'"{image.name}" holds values of type {image.dtype}, and TIFF programs open uint8, uint16 and float32. '
            "Convert it (in napari: right click on the layer, Convert data type), or save it as OME-Zarr."
        )
    limit = largest or (1 if dtype.kind == "f" or image.dtype == bool else np.iinfo(dtype).max)
    names = tuple(f"channel {number}" for number in range(image.sizes["C"]))
    raster = Raster(image, dtype, lambda band, _: band.astype(dtype), names, "Intensities.", limit, About(image.name))
    return (yield from write_tiff_events(path, raster))
