"""An image of any kind, read region by region in one canonical order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize, check_axes, sizes, without
from napari_unet.errors import ChannelError, ImageError, NapariUnetError, is_out_of_memory


class ArrayLike(Protocol):
    """What numpy, Zarr, Dask and memory-mapped arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> Any: ...  # noqa: ANN401, D102
    def __getitem__(self, key: Any, /) -> Any: ...  # noqa: ANN401


@dataclass(frozen=True, slots=True)
class Image:
    """Pixels, their axes and their physical size; the pixels may still be on disk.

    Attributes
    ----------
    array : numpy, Zarr, Dask or memory-mapped array
        Sliced only where it is read.
    axes : str
        One letter a dimension, such as "TZCYX" or "YXC".
    pixel_size : PixelSize
        In µm.
    name : str
        For messages and file names.
    """

    array: ArrayLike
    axes: str
    pixel_size: PixelSize = field(default_factory=PixelSize)
    name: str = "image"

    @property
    def sizes(self) -> dict[str, int]:
        """Size along T, C, Z, Y and X; 1 where the array has no such axis."""
        return sizes(self.array.shape, self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def chunks(self) -> dict[str, int]:
        """Size along T, C, Z, Y and X of what is read from disk or computed at once; 1 where any part can be."""
        chunks = getattr(self.array, "chunks", None)
        if not isinstance(chunks, tuple) or len(chunks) != len(self.array.shape):
            return dict.fromkeys("TCZYX", 1)
        # Dask names the size of each chunk along an axis, the others one size for all
        return sizes([int(max(part) if isinstance(part, tuple) else part) for part in chunks], self.axes)

    @property
    def label_axes(self) -> str:
        """The axes of a label image of this image: its own without C, in its own order."""
        return without(self.axes, "C")

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of a label image of this image."""
        size = self.sizes
        return tuple(size[axis] for axis in self.label_axes)

    def read(self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """Read a region of one time point.

        Parameters
        ----------
        t : int
            Time point.
        z, y, x : slice
            With start and stop inside the image.
        channels : sequence of int, optional
            Which channels, in which order; all of them by default.

        Returns
        -------
        (C, Z, Y, X) array
            In the image's own dtype.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        first, last = (min(channels), max(channels) + 1) if channels else (0, self.sizes["C"])
        with readable(self.name):
            block = np.asarray(self.array[self.box(t, z, y, x, slice(first, last))])
        planes: npt.NDArray[Any] = to_canonical(block, self.axes)[0]
        return planes if channels is None else planes[[channel - first for channel in channels]]

    def box(self, t: int, z: slice, y: slice, x: slice, c: slice) -> tuple[slice, ...]:
        """Return how the array is sliced for a region of one time point."""
        wanted = {"T": slice(t, t + 1), "C": c, "Z": z, "Y": y, "X": x}
        return tuple(wanted[axis] for axis in self.axes)


def open_image(
    array: ArrayLike, axes: str | None = None, pixel_size: PixelSize | None = None, name: str = "image"
) -> Image:
    """Check an array and wrap it.

    Raises
    ------
    AxesError
        If `axes` do not describe the array.
    ImageError
        If it is no array, holds no pixels, or pixels that are no numbers.
    """
    _check_array(array, name)
    checked = check_axes(axes, len(array.shape))
    if 0 in array.shape:
        raise ImageError(f'"{name}" has the shape {tuple(array.shape)} and so no pixels. Choose another image.')
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageError(
            f'"{name}" holds values of type {array.dtype}; only integer, float and boolean images can be segmented.'
        )
    return Image(array, checked, pixel_size or PixelSize(), name)


def _check_array(array: Any, name: str) -> None:  # noqa: ANN401  # scripts may give anything
    """Check that something can be read as an array."""
    try:
        sides, _ = tuple(array.shape), np.dtype(array.dtype)
    except (AttributeError, TypeError) as error:
        raise ImageError(
            f"An array is needed, and {type(array).__name__} was given. Open a file with `napari_unet.read_image`, and "
            "turn other values into an array with `numpy.asarray`."
        ) from error
    if any(math.isnan(side) for side in sides):  # not a number: Dask does not know it
        raise ImageError(f'"{name}" does not know its own shape. Call its `compute_chunk_sizes` first.')


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Say in a sentence that something cannot be read.

    Raises
    ------
    ImageError
        Instead of what the library of a lazy array raises; but that memory ran out stays as it is.
    """
    try:
        yield
    except NapariUnetError:
        raise
    except Exception as error:  # what a lazy array raises depends on the library that reads it
        if is_out_of_memory(error):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(
            f'"{name}" cannot be read ({reason}). Check that the file is still there and complete.'
        ) from error


def to_canonical(array: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """View an array as (T, C, Z, Y, X), with size 1 where it has no such axis.

    >>> to_canonical(np.zeros((4, 5, 3)), "YXC").shape
    (1, 3, 1, 4, 5)
    """
    order = [axes.index(axis) for axis in "TCZYX" if axis in axes]
    array = array.transpose(order)
    missing = [i for i, axis in enumerate("TCZYX") if axis not in axes]
    return np.expand_dims(array, missing) if missing else array


def from_canonical(array: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """Undo `to_canonical`: view a (T, C, Z, Y, X) array with the given axes.

    >>> from_canonical(np.zeros((1, 3, 1, 4, 5)), "YXC").shape
    (4, 5, 3)
    """
    dropped = tuple(i for i, axis in enumerate("TCZYX") if axis not in axes)
    array = array.squeeze(dropped)
    kept = [axis for axis in "TCZYX" if axis in axes]
    return array.transpose([kept.index(axis) for axis in axes])


def check_channels(image: Image, channels: Sequence[int] | None) -> tuple[int, ...]:
    """Return the channels to read, by default all.

    Raises
    ------
    ChannelError
        If the image has no such channel.
    """
    count = image.sizes["C"]
    chosen = tuple(range(count)) if channels is None else tuple(int(c) for c in channels)
    wrong = [c for c in chosen if not 0 <= c < count]
    if wrong or not chosen:
        raise ChannelError(
            f'"{image.name}" has {count} channel{"s" if count > 1 else ""}, numbered from 0 to {count - 1}, '
            f"and {list(chosen)} was asked for. Choose among those."
        )
    return chosen
