"""Arrays that results are put into, and whether they fit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import sizes
from napari_unet.errors import ExportError, ImageError, LabelsError, ModelError
from napari_unet.imaging.image import from_canonical, to_canonical
from napari_unet.weights.model import Model

# Smaller results are never refused for want of memory.
SMALL_BYTES = 2**28


def check_out(out: Any | None, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:  # noqa: ANN401
    """Check an array that the result is to be written to.

    Raises
    ------
    ImageError
        If it is no array, has another shape or a type that cannot hold the result, or cannot be written.
    """
    if out is None:
        return
    if not hasattr(out, "shape") or not hasattr(out, "dtype"):
        raise ImageError(f"`out` is a {type(out).__name__}. Give a numpy, Zarr or h5py array of the shape {shape}.")
    if isinstance(out, np.ndarray) and not out.flags["W"]:
        raise ImageError("The array `out` can only be read. Give one that can be written.")
    holds = np.can_cast(dtype, out.dtype, "same_kind") and (np.dtype(dtype).kind == "f") == (out.dtype.kind == "f")
    if tuple(out.shape) != shape or not holds:
        raise ImageError(
            f"The result has the shape {shape} and the type {np.dtype(dtype)}, and `out` has {tuple(out.shape)} and "
            f"{out.dtype}. Give an array that fits."
        )


def probability_type(model: Model, out: Any | None, dtype: npt.DTypeLike | None) -> np.dtype[Any]:  # noqa: ANN401
    """Return the type of probabilities: as asked for, or that of the array that they are to be written to.

    Raises
    ------
    ImageError
        If it is neither a float nor 8 bits, or two types were asked for.
    ModelError
        If 8 bits are asked for of a model that gives raw values.
    """
    wanted, given = (None if asked is None else _type(asked) for asked in (dtype, getattr(out, "dtype", None)))
    if wanted is not None and given is not None and wanted != given:
        raise ImageError(f"The type {wanted} was asked for, and `out` has {given}. Leave one of them out.")
    kind = given or wanted or np.dtype(np.float32)
    if kind != np.uint8 and kind.kind != "f":
        raise ImageError(
            f"Probabilities are written as float32, or as uint8 where 255 means 1, and {kind} was asked for. "
            "Give an array that fits."
        )
    if kind == np.uint8 and model.activation == "none":
        raise ModelError(
            f'The model "{model.spec.name}" gives raw values and no probabilities, which 8 bits could not hold. '
            "Write float32, or give the model an activation."
        )
    return kind


def _type(asked: npt.DTypeLike) -> np.dtype[Any]:
    try:
        return np.dtype(asked)
    except TypeError:
        raise ImageError(f"{asked!r} is no type of numbers. Probabilities are written as float32 or uint8.") from None


class LabelsOut:
    """Labels in the user's axes and type, written and read as (T, Z, Y, X).

    Parameters
    ----------
    array : numpy, Zarr or h5py array
        Of any integer type.
    axes : str
        Of the image without C, in the user's order.
    """

    def __init__(self, array: Any, axes: str) -> None:  # noqa: ANN401
        self.array, self.axes = array, axes
        self.shape = tuple(sizes(array.shape, axes)[axis] for axis in "TZYX")
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.chunks, self.shards = (self._sides(getattr(array, name, None)) for name in ("chunks", "shards"))

    def __setitem__(self, key: tuple[Any, ...], values: npt.NDArray[Any]) -> None:
        """Write labels.

        Raises
        ------
        LabelsError
            If the type of the array cannot hold so many objects.
        ExportError
            If the array cannot be written.
        """
        most = np.iinfo(self.dtype).max
        if values.max(initial=0) > most:
            raise LabelsError(
                f"There are more objects than {self.dtype} can number, which is {most:,}. Give an array of uint32."
            )
        whole = np.reshape(values, [part.stop - part.start for part in _slices(key)])
        with writable():
            self.array[self._place(key)] = from_canonical(whole[:, None].astype(self.dtype), self.axes)

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[np.uint32]:
        block = to_canonical(np.asarray(self.array[self._place(key)]), self.axes)[:, 0]
        return block[tuple(0 if isinstance(part, int) else slice(None) for part in key)].astype(np.uint32)

    def _place(self, key: tuple[Any, ...]) -> tuple[slice, ...]:
        wanted = dict(zip("TZYX", _slices(key), strict=True))
        return tuple(wanted[axis] for axis in self.axes)

    def _sides(self, sides: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if sides is None else tuple(sizes(sides, self.axes)[axis] for axis in "TZYX")


def labels_array(out: Any, axes: str) -> Any:  # noqa: ANN401
    """Return labels (T, Z, Y, X) that lie in an array with the user's axes: a view of it, where that can be had."""
    if isinstance(out, np.ndarray) and out.dtype == np.uint32:
        return to_canonical(out, axes)[:, 0]
    return LabelsOut(out, axes)


@contextmanager
def writable() -> Iterator[None]:
    """Turn what goes wrong with a file into one sentence.

    Raises
    ------
    ExportError
        Instead of what the library of the array raises.
    """
    try:
        yield
    except ExportError:
        raise
    except Exception as error:  # what an array raises depends on the library that writes it
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ExportError(
            f"The result could not be written ({reason}). Check that its disk is there and has space, and run again."
        ) from error


def _slices(key: tuple[Any, ...]) -> list[slice]:
    return [slice(part, part + 1) if isinstance(part, int) else part for part in key]


def new_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Make room for a result in memory.

    Raises
    ------
    ImageError
        If there is too little free memory.
    """
    kind = np.dtype(dtype)
    needed, free = math.prod(shape) * kind.itemsize, free_bytes()
    if needed > SMALL_BYTES and free is not None and needed > free:
        raise ImageError(
            f"The result takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free. Give a Zarr "
            f"array of shape {shape} as `out`, which is written piece by piece."
        )
    return np.empty(shape, kind)


def free_bytes() -> int | None:
    """Return how much memory can be had; of all that is installed where the system does not say, None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
