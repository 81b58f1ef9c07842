"""Pixels as they are to stand in a file, read and converted band by band.

    lazy array ── band: some rows of a plane ── converted: ids, 0 and 255, bytes of probability ── the file

A band is a whole plane, or as many of its rows as fit into some megabytes, so that memory stays bounded however large
the planes are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize, check_axes
from napari_unet.errors import AxesError, ImageError, LabelsError
from napari_unet.events import Event, Progress
from napari_unet.export.layouts import LARGEST_UINT16, STRIP_BYTES, Layout, choose_layout
from napari_unet.imaging.chunk_cache import cached
from napari_unet.imaging.image import ArrayLike, Image, open_image

BAND_BYTES = 2**25
FOREGROUND = 255
"""Of masks of one class: what programs show as white, and what 1 means in probabilities of 8 bits."""

Array = npt.NDArray[Any]
Piece = tuple[int, int, slice]
"""Time point, slice, rows."""


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of its pixels, beside their axes and size.

    Attributes
    ----------
    image_name : str
        Of the image that they belong to.
    interval_s : float, optional
        Between time points.
    """

    image_name: str = ""
    interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels as they are to stand in a file.

    Attributes
    ----------
    image : Image
        Where they come from.
    dtype : numpy.dtype
        Of the file.
    convert : callable
        From a band of the image, (rows, X), and the number of a channel of the file to what stands there.
    channels : tuple of str
        Names, one for each channel of the file. If the image has one channel, all are made of that one.
    values : str
        What the numbers are, in a sentence.
    largest : float
        The largest number, to which programs stretch the contrast.
    about : About
    """

    image: Image
    dtype: np.dtype[Any]
    convert: Callable[[Array, int], Array]
    channels: tuple[str, ...]
    values: str
    largest: float
    about: About = About()

    @property
    def layout(self) -> Layout:
        """The TIFF layout that most programs open."""
        size = self.image.sizes
        shape = (size["T"], size["Z"], len(self.channels), size["Y"], size["X"])
        return choose_layout(shape, self.dtype, self.largest)

    def bands(self, rows: int) -> Iterator[Array]:
        """Yield (rows, X) arrays of the file's dtype; time points, slices, channels and rows follow each other.

        Parameters
        ----------
        rows : int
            The most that are read at once.
        """
        with cached(self.image) as image:
            last = image.sizes["C"] - 1
            for t, z, part, channel in in_order(image, len(self.channels), rows):
                yield self.convert(read_band(image, (t, z, part), min(channel, last)), channel)


def in_order(image: Image, channels: int, rows: int) -> Iterator[tuple[int, int, slice, int]]:
    """Yield time point, slice, rows and channel of each band, as a hyperstack has them."""
    size = image.sizes
    parts = [slice(start, min(start + rows, size["Y"])) for start in range(0, size["Y"], rows)]
    for t in range(size["T"]):
        for z in range(size["Z"]):
            for channel in range(channels):
                yield from ((t, z, part, channel) for part in parts)


def read_band(image: Image, piece: Piece, channel: int) -> Array:
    """Read some rows of a plane: (rows, X)."""
    t, z, rows = piece
    band: Array = image.read(t, slice(z, z + 1), rows, slice(0, image.sizes["X"]), [channel])[0, 0]
    return band


def band_rows(width: int, itemsize: int, rows_per_strip: int) -> int:
    """Rows of a band: whole strips, and at most some megabytes."""
    strips = BAND_BYTES // max(1, width * itemsize * rows_per_strip)
    return max(1, strips) * rows_per_strip


# --- kinds of rasters ---------------------------------------------------------------------------


def mask_raster_events(image: Image, about: About) -> Generator[Event, None, Raster]:
    """Keep ids as they are, in 16 bits if they fit; all of them are looked at first.

    Raises
    ------
    LabelsError
        If one is negative, not integral, or does not fit into 32 bits.
    """
    largest = yield from largest_id_events(image)
    dtype = np.dtype(np.uint16 if largest <= LARGEST_UINT16 else np.uint32)
    meaning = "Numbers of objects or classes; 0 is background."
    return Raster(image, dtype, lambda band, _: band.astype(dtype), ("labels",), meaning, largest, about)


def binary_raster(image: Image, about: About) -> Raster:
    """255 where there is any object, 0 elsewhere."""
    meaning = f"{FOREGROUND} in objects, 0 in the background."
    return Raster(image, np.dtype(np.uint8), lambda band, _: _as_mask(band != 0), ("mask",), meaning, FOREGROUND, about)


def class_raster(image: Image, classes: tuple[str, ...], about: About) -> Raster:
    """One channel for each class, 255 where it is; the first name is that of class 1."""
    meaning = f"{FOREGROUND} where the class of the channel is, 0 elsewhere: {', '.join(classes)}."
    return Raster(
        image,
        np.dtype(np.uint8),
        lambda band, channel: _as_mask(band == channel + 1),
        classes,
        meaning,
        FOREGROUND,
        about,
    )


def probability_raster(
    image: Image, classes: tuple[str, ...], kind: Literal["float32", "uint8"], about: About
) -> Raster:
    """One channel for each class; in 8 bits, 255 is 1 (and what is no number is 0)."""
    if kind == "float32":
        return Raster(
            image, np.dtype(np.float32), lambda band, _: _as_floats(band), classes, "Probabilities.", 1, about
        )
    meaning = f"Probabilities in 8 bits: {FOREGROUND} is 1."
    return Raster(image, np.dtype(np.uint8), lambda band, _: _as_bytes(band), classes, meaning, FOREGROUND, about)


def _as_floats(band: Array) -> Array:
    floats: Array = band.astype(np.float32)
    return floats / np.float32(FOREGROUND) if band.dtype == np.uint8 else floats


def _as_mask(inside: Array) -> Array:
    return inside.astype(np.uint8) * np.uint8(FOREGROUND)


def _as_bytes(band: Array) -> Array:
    if band.dtype == np.uint8:
        return band
    rounded: Array = np.rint(np.nan_to_num(band).clip(0, 1) * FOREGROUND).astype(np.uint8)
    return rounded


# --- what is given ------------------------------------------------------------------------------


def label_axes(axes: str | None, ndim: int) -> str:
    """Check the axes of something without channels.

    Raises
    ------
    AxesError
        If they do not describe it, or name channels.
    """
    checked = check_axes(axes, ndim)
    if "C" in checked:
        raise AxesError(f'The axes "{checked}" contain C, but labels have no channels. Name only T, Z, Y and X.')
    return checked


def open_labels(labels: ArrayLike, axes: str | None, pixel_size: PixelSize | None) -> Image:
    """Check that an array can hold labels, and wrap it.

    Raises
    ------
    LabelsError
        If it holds no numbers of objects, or no pixels.
    AxesError
        If `axes` do not describe it.
    """
    kind = np.dtype(labels.dtype).kind
    if kind not in "uif":
        found = "True and False" if kind == "b" else f"values of type {labels.dtype}"
        raise LabelsError(
            f"The labels hold {found}, and numbers of objects were expected. Number them, "
            "for example with skimage.measure.label."
        )
    try:
        return open_image(labels, label_axes(axes, len(labels.shape)), pixel_size, "labels")
    except ImageError as error:
        raise LabelsError(str(error)) from error


def largest_id_events(image: Image) -> Generator[Event, None, int]:
    """Find the largest id, after checking band by band that every id is a number of an object.

    Raises
    ------
    LabelsError
        If one is negative, not integral, or does not fit into 32 bits.
    """
    largest, size = 0, image.sizes
    rows = band_rows(size["X"], image.dtype.itemsize, max(1, STRIP_BYTES // (size["X"] * image.dtype.itemsize)))
    planes = size["T"] * size["Z"]
    with cached(image) as source:
        for t, z, part, _ in in_order(source, 1, rows):
            largest = max(largest, _largest_of(read_band(source, (t, z, part), 0)))
            if part.stop == size["Y"]:
                yield Progress("Looking at the labels", t * size["Z"] + z + 1, planes)
    if largest > np.iinfo(np.uint32).max:
        raise LabelsError(f"The labels go up to {largest}, and TIFF holds up to 4294967295. Number the objects anew.")
    return largest


def _largest_of(band: Array) -> int:
    if band.dtype.kind == "f" and not (np.isfinite(band).all() and (band == np.rint(band)).all()):
        raise LabelsError("The labels hold fractions or NaN, and whole numbers were expected. Round them first.")
    low = band.min()
    if low < 0:
        raise LabelsError(f"The labels go down to {low}, and 0 is the lowest. Give every object a positive number.")
    return int(band.max())
