"""Arrays that results are put into, and whether they fit."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ImageError, ModelError
from napari_unet.weights.model import Model

# Smaller results are never refused for want of memory.
SMALL_BYTES = 2**28


def check_out(out: Any | None, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:  # noqa: ANN401
    """Check an array that the result is to be written to.

    Raises
    ------
    ImageError
        If it has another shape, or a type that cannot hold the result.
    """
    if out is None:
        return
    if tuple(out.shape) != shape or not np.can_cast(dtype, out.dtype, "same_kind"):
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
    kind: np.dtype[Any] = np.dtype(np.float32 if dtype is None else dtype) if out is None else np.dtype(out.dtype)
    if out is not None and dtype is not None and np.dtype(dtype) != kind:
        raise ImageError(f"The type {np.dtype(dtype)} was asked for, and `out` has {kind}. Leave one of them out.")
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
