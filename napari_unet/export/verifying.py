"""Reading a TIFF file back with two readers that share no code, before it takes the place of an older one.

The first is ours, with which the user will open the file again: axes, pixel size and every pixel have to be right.
The second is libtiff, by way of Pillow; where planes or files are too large for that, zlib and some lines of our own.
Pixels are compared by a checksum of each band that was noted when the band was written.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError
from napari_unet.events import Event, Progress
from napari_unet.export.layouts import Layout
from napari_unet.export.rasters import Raster, in_order, read_band
from napari_unet.export.strips import read_bands
from napari_unet.imaging.chunk_cache import cached
from napari_unet.imaging.image import Image
from napari_unet.imaging.tiff import read_tiff

PILLOW_PIXELS = 2**24
"""Of a plane; Pillow holds it several times, and refuses very large ones."""
PILLOW_BYTES = 2**32
"""Of a file; behind that, Pillow goes to the wrong places."""


def checksum(band: npt.NDArray[Any] | bytes) -> int:
    """Of the bytes of a band."""
    content = band if isinstance(band, bytes) else np.ascontiguousarray(band).tobytes()
    return int(google_crc32c.value(content))


def difference_events(path: Path, raster: Raster, rows: int, sums: Sequence[int]) -> Generator[Event, None, str]:
    """Compare a file with what it should hold.

    Parameters
    ----------
    path : Path
    raster : Raster
        What was meant.
    rows : int
        Of a band.
    sums : sequence of int
        Checksum of each band, as it was written.

    Returns
    -------
    str
        What differs, for a sentence; empty where nothing does.
    """
    try:
        found = read_tiff(path)
        wrong = _described_otherwise(found, raster)
        if wrong:
            return wrong
        with cached(found) as image:
            wrong = yield from _pixels_otherwise(_our_sums(image, rows), sums, "Reading back")
        return wrong or (yield from _pixels_otherwise(_other_sums(path, raster.layout, rows), sums, "Reading again"))
    except (ImageError, AxesError, ValueError, RuntimeError, KeyError, SyntaxError, struct.error, zlib.error) as error:
        # a disk that fills up shows itself in many ways, down to a file without a header
        return str(error) or type(error).__name__


def _described_otherwise(found: Image, raster: Raster) -> str:
    meant = raster.image
    sizes = {**meant.sizes, "C": len(raster.channels)}
    if found.sizes != sizes:
        return f"{found.sizes} instead of {sizes}"
    if found.dtype != raster.dtype:
        return f"{found.dtype} instead of {raster.dtype}"
    expected = meant.pixel_size if meant.pixel_size.known else PixelSize()
    for read, size in zip(found.pixel_size.along("ZYX"), expected.along("ZYX"), strict=True):
        if (read is None) != (size is None) or not np.isclose(read or 1, size or 1, rtol=1e-6):
            return f"a pixel size of {read} µm instead of {size} µm"
    return ""


def _pixels_otherwise(found: Iterator[int], sums: Sequence[int], stage: str) -> Generator[Event, None, str]:
    number = 0
    for number, one in enumerate(found, start=1):
        if number > len(sums):
            return "there are more planes than were written"
        if one != sums[number - 1]:
            return f"part {number} of {len(sums)} differs"
        yield Progress(stage, number, len(sums))
    return "" if number == len(sums) else f"only {number} of {len(sums)} parts are there"


def _our_sums(image: Image, rows: int) -> Iterator[int]:
    for t, z, part, channel in in_order(image, image.sizes["C"], rows):
        yield checksum(read_band(image, (t, z, part), channel))


def _other_sums(path: Path, layout: Layout, rows: int) -> Iterator[int]:
    height, width = layout.shape[-2:]
    if height * width <= PILLOW_PIXELS and path.stat().st_size <= PILLOW_BYTES:
        return (checksum(page[start : start + rows]) for page in _pages(path) for start in range(0, height, rows))
    return map(checksum, read_bands(path, rows // layout.rows_per_strip))


def _pages(path: Path) -> Iterator[npt.NDArray[Any]]:
    from PIL import Image as Pillow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tags of ImageJ
        with Pillow.open(path) as picture:
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                yield np.asarray(picture)
