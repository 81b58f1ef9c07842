"""How a TIFF file is laid out, and which programs will not open it.

The rules come from writing each kind of file and opening it in each program. ImageJ's own reader is the pickiest: it
knows neither BigTIFF nor tiles nor zstd, makes floats of 32-bit integers, and finds a pixel size only in its own
metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_unet.axes import sizes
from napari_unet.imaging.limits import pixel_bytes

LARGEST_UINT16 = 2**16 - 1
LARGEST_EXACT = 2**24
"""Largest integer up to which a 32-bit float holds all."""

IMAGEJ_BYTES = int(3.5 * 2**30)
BIGTIFF_BYTES = 2**32 - 2**25
"""tifffile's own threshold."""

STRIP_BYTES = 2**17
"""Of a strip before it is compressed. Larger ones shrink an empty mask by more than what is taken for a bomb."""

_ELSEWHERE = "In Fiji, open the file with File > Import > Bio-Formats."


@dataclass(frozen=True, slots=True)
class Layout:
    """How a TIFF file is laid out.

    Attributes
    ----------
    kind : "imagej" | "ome"
        Whose metadata it has.
    bigtiff : bool
        Whether places in it take 64 bits.
    dtype : numpy.dtype
        uint8, uint16, uint32 or float32.
    shape : tuple of int
        T, Z, C, Y, X.
    largest : float
        The largest number in it.
    """

    kind: Literal["imagej", "ome"]
    bigtiff: bool
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    largest: float = 1

    @property
    def rows_per_strip(self) -> int:
        """Rows that are compressed together."""
        row_bytes = self.shape[-1] * self.dtype.itemsize
        return max(1, min(self.shape[-2], STRIP_BYTES // row_bytes))

    @property
    def summary(self) -> str:
        """What kind of file this is, in a few words."""
        if self.kind == "imagej":
            return f"ImageJ TIFF, {self.dtype}"
        return f"OME-TIFF{' (BigTIFF)' if self.bigtiff else ''}, {self.dtype}"

    @property
    def warning(self) -> str:
        """Name the reader that will not open the file as it is, and what to use; empty where all do."""
        if self.bigtiff:
            return f"ImageJ's own reader cannot open a file of this size (BigTIFF). {_ELSEWHERE}"
        if self.dtype == np.uint32 and self.largest > LARGEST_EXACT:
            return (
                f"ImageJ's own reader makes floats of numbers of 32 bits, which are only exact up to {LARGEST_EXACT}, "
                f"and there are some up to {self.largest:.0f}. {_ELSEWHERE}"
            )
        if self.dtype == np.uint32:
            return f"ImageJ's own reader turns numbers above 65535 into floats and drops the pixel size. {_ELSEWHERE}"
        if self.kind == "ome":
            return f"ImageJ's own reader drops the pixel size of a file of this size. {_ELSEWHERE}"
        return ""


def choose_layout(shape: Sequence[int], dtype: np.dtype[Any], largest: float = 1) -> Layout:
    """Choose the layout that most programs open.

    Parameters
    ----------
    shape : sequence of int
        T, Z, C, Y, X.
    dtype : numpy.dtype
        uint8, uint16, uint32 or float32.
    largest : float
        The largest number that will be written.

    >>> choose_layout((1, 1, 1, 512, 512), np.dtype(np.uint16)).summary
    'ImageJ TIFF, uint16'
    """
    count = pixel_bytes(shape, dtype)
    imagej = count < IMAGEJ_BYTES and dtype != np.uint32
    return Layout("imagej" if imagej else "ome", count >= BIGTIFF_BYTES, dtype, tuple(shape), largest)


def layout_of_masks(shape: Sequence[int], axes: str, largest_id: int) -> Layout:
    """Return how `save_masks` will lay out a label image, without reading it.

    Parameters
    ----------
    shape : sequence of int
        Of the label image, along `axes`.
    axes : str
        Without C.
    largest_id : int

    >>> layout_of_masks((2048, 2048), "YX", 70_000).summary
    'OME-TIFF, uint32'
    """
    size = sizes(shape, axes)
    dtype = np.dtype(np.uint16 if largest_id <= LARGEST_UINT16 else np.uint32)
    return choose_layout([size[axis] for axis in "TZCYX"], dtype, largest_id)
