"""Where probabilities go: arrays in memory or on disk, as float32 or as bytes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.inference.canvas import Placed
from napari_unet.inference.exact.intervals import Window

# A byte holds a probability to within half of a 255th.
BYTE_MAX = 255


class Writer(Protocol):
    """Takes blocks, and writes them now or later."""

    def write(self, placed: Placed) -> list[Window]:
        """Take a block; return the windows (T, Z, Y, X) that have been written since the last call."""
        ...

    def close(self) -> list[Window]:
        """Write what is left, and return its windows."""
        ...


class DirectWriter:
    """Writes each block at once.

    Parameters
    ----------
    out : array written as (K, T, Z, Y, X)
    window : Window along T, Z, Y, X
        What of the image `out` holds.
    """

    def __init__(self, out: Any, window: Window) -> None:  # noqa: ANN401
        self._out, self._window = out, window

    def write(self, placed: Placed) -> list[Window]:
        """Write a block."""
        region, values = placed
        t, z, y, x = (slice(i.start - w.start, i.stop - w.start) for i, w in zip(region, self._window, strict=True))
        self._out[:, t.start, z, y, x] = stored(values, np.dtype(self._out.dtype))
        return [region]

    def close(self) -> list[Window]:
        """Nothing is left."""
        return []


def stored(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return probabilities from 0 to 1 as they are stored: as they are, or 0 to 255 in bytes."""
    if dtype != np.uint8 or values.dtype == np.uint8:
        return values
    return np.rint(values * np.float32(BYTE_MAX)).astype(np.uint8)
