"""What is counted and added up for each object while its image is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.objects.crossings import IN_PLANE, TO_NEXT_PLANE, Step

Array = npt.NDArray[Any]

PRODUCTS = ("zz", "zy", "zx", "yy", "yx", "xx")


@dataclass(frozen=True, slots=True)
class Band:
    """Some rows of a plane, with one more pixel around them.

    Attributes
    ----------
    rows : (height + 2, width + 2) int64
        The number of the object of each pixel, counted from 1; 0 is background and what is outside of the image.
    before : (height + 2, width + 2) int64, optional
        The same of the slice before; None if objects are flat.
    z, y : int
        The slice, and the first row that is no margin.
    values : (C, height, width) array, optional
        Of the image.
    """

    rows: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64] | None
    z: int
    y: int
    values: Array | None = None

    def shifted(self, step: Step) -> npt.NDArray[np.int64]:
        """Return the objects from which a step leads to each pixel."""
        dz, dy, dx = step
        source = self.before if dz else self.rows
        assert source is not None
        height, width = source.shape
        return source[1 - dy : height - 1 - dy, 1 - dx : width - 1 - dx]


class Tallies:
    """Counts, sums and extremes of each object, fed band by band.

    Parameters
    ----------
    count : int
        Of objects.
    channels : int
        Of the image.
    flat : bool
        Whether there is one slice only.
    hulls : bool
        Whether to keep where objects begin and end in each row.
    """

    def __init__(self, count: int, channels: int, *, flat: bool, hulls: bool) -> None:
        self.steps: Sequence[Step] = IN_PLANE if flat else IN_PLANE + TO_NEXT_PLANE
        self.count = np.zeros(count, np.int64)
        self.position = np.zeros((3, count))
        self.products = {name: np.zeros(count) for name in PRODUCTS}
        self.start = np.full((3, count), np.iinfo(np.int64).max)
        self.stop = np.zeros((3, count), np.int64)
        self.entries = np.zeros((len(self.steps), count), np.int64)
        self.brightness = [Brightness(count) for _ in range(channels)]
        self._runs: list[npt.NDArray[np.int32]] | None = [] if hulls else None

    @property
    def runs(self) -> npt.NDArray[np.int32]:
        """Where each object lies in each row: (runs, 5) of object, z, y, where x starts and stops."""
        return np.concatenate([np.zeros((0, 5), np.int32), *(self._runs or [])])

    def add(self, band: Band) -> None:
        """Add the pixels of a band."""
        inner = band.rows[1:-1, 1:-1]
        y, x = np.nonzero(inner)
        if not y.size:
            return
        rows = inner[y, x] - 1
        self._add_places(rows, band.z, y + band.y, x)
        self._add_runs(band, inner)
        for number, step in enumerate(self.steps):
            entered = inner[(inner > 0) & (band.shifted(step) != inner)] - 1
            self.entries[number] += np.bincount(entered, minlength=self.count.size)
        if band.values is not None:
            for channel, brightness in zip(band.values, self.brightness, strict=True):
                brightness.add(rows, channel[y, x].astype(np.float64))

    def _add_places(
        self, rows: npt.NDArray[np.int64], z: int, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp]
    ) -> None:
        size = self.count.size
        count, along_y, along_x = np.bincount(rows, None, size), *(np.bincount(rows, at, size) for at in (y, x))
        self.count += count
        self.position += (z * count, along_y, along_x)
        self.products["zz"] += z * z * count
        self.products["zy"] += z * along_y
        self.products["zx"] += z * along_x
        self.products["yy"] += np.bincount(rows, y * y, size)
        self.products["yx"] += np.bincount(rows, y * x, size)
        self.products["xx"] += np.bincount(rows, x * x, size)

    def _add_runs(self, band: Band, inner: npt.NDArray[np.int64]) -> None:
        """Add where the objects begin and end in each row, from which their boxes follow."""
        inside = inner > 0
        y, start = np.nonzero(inside & (band.rows[1:-1, :-2] != inner))
        _, last = np.nonzero(inside & (band.rows[1:-1, 2:] != inner))
        rows = inner[y, start] - 1
        z = np.full(rows.size, band.z)
        first, stop = (z, y + band.y, start), (z + 1, y + band.y + 1, last + 1)
        for axis in range(3):
            np.minimum.at(self.start[axis], rows, first[axis])
            np.maximum.at(self.stop[axis], rows, stop[axis])
        if self._runs is not None:
            self._runs.append(_extents(rows, np.stack([rows, z, y + band.y, start, last + 1], axis=1)))


def _extents(rows: npt.NDArray[np.int64], runs: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Join the runs of an object in a row, which come from left to right, to one from the first to the last pixel."""
    order = np.lexsort((runs[:, 2], rows))
    runs = runs[order]
    first = np.flatnonzero((np.diff(runs[:, [0, 2]], axis=0, prepend=-1) != 0).any(axis=1))
    joined = runs[first].astype(np.int32)
    joined[:, 4] = runs[np.append(first[1:], len(runs)) - 1, 4]
    return joined


class Brightness:
    """Count, mean, spread and extremes of one channel for each object."""

    def __init__(self, count: int) -> None:
        self.count = np.zeros(count, np.int64)
        self.mean = np.zeros(count)
        self.low = np.full(count, np.inf)
        self.high = np.full(count, -np.inf)
        self._squares = np.zeros(count)

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation over the pixels of an object, as numpy computes it."""
        return np.sqrt(self._squares / self.count)

    def add(self, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        """Add pixels: the object of each, and its value.

        Means and squares of deviations of parts are combined (Chan, Golub and LeVeque, 1983): sums of squares would
        lose all digits where values are large and differ little.
        """
        with np.errstate(invalid="ignore"):  # objects with NaN or infinity have such means
            self._add(rows, values)

    def _add(self, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        size = self.count.size
        count = np.bincount(rows, minlength=size)
        there = np.maximum(count, 1)
        mean = np.bincount(rows, values, size) / there
        squares = np.bincount(rows, (values - mean[rows]) ** 2, size)
        total = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self._squares += squares + apart**2 * self.count * count / total
        self.mean += apart * count / total
        self.count += count
        np.minimum.at(self.low, rows, values)
        np.maximum.at(self.high, rows, values)
