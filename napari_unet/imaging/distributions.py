"""The values of an image: counted one by one where they are few, listed, or sampled with the error that this makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

# Two standard errors: what was estimated lies so near in about 19 of 20 cases.
STANDARD_ERRORS = 2.0
# By how much the largest value of a set exceeds that of another one of as many, in units of the tail: in 1 of 20 cases
# by more. The tail is told by so many of the largest values.
LARGEST_EXCEED = 3.0
LARGEST = 10


class Distribution(Protocol):
    """Values of one channel, or of channels that share their statistics."""

    @property
    def size(self) -> int:
        """How many values there are."""

    def percentiles(self, *percents: float) -> list[float]:
        """Interpolate linearly between the values, as numpy does."""

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Values (n,) float32 in ascending order, and how often each of them occurs."""

    values: Floats
    counts: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def percentiles(self, *percents: float) -> list[float]:
        """Interpolate linearly between the values, as numpy does."""
        until = np.cumsum(self.counts)
        places = [(int(until[-1]) - 1) * (percent / 100) for percent in percents]
        return [self._at(until, place) for place in places]

    def _at(self, until: npt.NDArray[np.int64], place: float) -> float:
        below = math.floor(place)
        last = int(until[-1]) - 1
        a, b = (float(self.values[np.searchsorted(until, min(k, last), side="right")]) for k in (below, below + 1))
        share = place - below
        return a + (b - a) * share if share < 0.5 else b - (b - a) * (1 - share)

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        total, values = int(self.counts.sum()), self.values.astype(np.float64)
        mean = float(self.counts @ values) / total
        return mean, math.sqrt(float(self.counts @ (values - mean) ** 2) / total)

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        found = np.flatnonzero(self.counts)
        return float(self.values[found[0]]), float(self.values[found[-1]])


@dataclass(frozen=True, slots=True)
class Listed:
    """Finite values (n,) float32; their order is lost."""

    values: Floats

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.values.size

    def percentiles(self, *percents: float) -> list[float]:
        """Interpolate linearly between the values."""
        return [float(value) for value in np.percentile(self.values, percents, overwrite_input=True)]

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        mean = float(self.values.mean(dtype=np.float64))
        # piece by piece, because numpy would make a copy in float64
        pieces = np.array_split(self.values, max(1, self.values.size >> 20))
        squares = math.fsum(float(np.square(piece - np.float64(mean)).sum()) for piece in pieces)
        return mean, math.sqrt(squares / self.values.size)

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        return float(self.values.min()), float(self.values.max())


class Tally:
    """Counts the values of channels of a type with at most 65,536 of them.

    Parameters
    ----------
    channels : int
    dtype : an integer type of 8 or 16 bits, or bool
    """

    def __init__(self, channels: int, dtype: np.dtype[Any]) -> None:
        info = None if dtype.kind == "b" else np.iinfo(dtype)
        self._first, last = (0, 1) if info is None else (int(info.min), int(info.max))
        self._counts = np.zeros((channels, last - self._first + 1), np.int64)

    @property
    def values(self) -> Floats:
        """All values of the type (n,)."""
        return np.arange(self._first, self._first + self._counts.shape[1], dtype=np.float32)

    def add(self, block: npt.NDArray[Any]) -> None:
        """Count a block (C, ...)."""
        for number, channel in enumerate(block):
            places = channel.reshape(-1).astype(np.intp)
            if self._first:
                places -= self._first
            self._counts[number] += np.bincount(places, minlength=self._counts.shape[1])

    def distributions(self, reduced: Floats, *, shared: bool) -> list[Distribution]:
        """Return the distributions, with `reduced` (n,) instead of the values of the type."""
        order = slice(None, None, -1 if reduced[0] > reduced[-1] else 1)
        counts = self._counts.sum(axis=0, keepdims=True) if shared else self._counts
        return [Counted(reduced[order], channel[order]) for channel in counts]


class Pile:
    """Takes values of channels until all of them are there.

    Parameters
    ----------
    channels, size : int
        How many channels, and values of each.
    """

    def __init__(self, channels: int, size: int) -> None:
        self._values = np.empty((channels, size), np.float32)
        self._filled = 0
        self.unknown = 0

    def add(self, values: Floats) -> None:
        """Take values (C, ...)."""
        rows = values.reshape(len(values), -1)
        self.unknown += rows.size - int(np.isfinite(rows).sum())
        self._values[:, self._filled : self._filled + rows.shape[1]] = rows
        self._filled += rows.shape[1]

    def distributions(self, *, shared: bool) -> list[Distribution]:
        """Return the distributions of the finite values; those of a channel without any are empty."""
        values = self._values.reshape(1, -1) if shared else self._values
        if not self.unknown:
            return [Listed(channel) for channel in values]
        return [Listed(channel[np.isfinite(channel)]) for channel in values]


class Sampled:
    """Values of some cells of an image.

    The errors are for 19 of 20 cases. Cells are compared with the next one along a curve through the image, so that
    what changes slowly over the image, as illumination does, counts as little as it matters (successive differences;
    Wolter, J. Am. Stat. Assoc. 79:781, 1984). The error of the share of pixels below a value becomes that of a
    percentile by looking the shifted percentiles up (Woodruff, J. Am. Stat. Assoc. 47:635, 1952).

    Parameters
    ----------
    cells : sequence of (n,) float32
        Finite values of each cell, in the order of the curve.
    total : int
        How many cells the image has.
    share : float
        How many of its pixels were looked at.
    """

    def __init__(self, cells: Sequence[Floats], total: int, share: float) -> None:
        self._cells, self._total, self._share = cells, total, share
        self._all = Listed(np.concatenate(cells))
        self._sizes: Wide = np.array([cell.size for cell in cells], np.float64)

    @property
    def size(self) -> int:
        """How many values there are."""
        return self._all.values.size

    def percentiles(self, *percents: float) -> list[float]:
        """Interpolate linearly between the values."""
        return self._all.percentiles(*percents)

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        return self._all.moments()

    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        return self._all.extremes()

    def error_of_percentile(self, percent: float) -> float:
        """How far a percentile may be from that of the whole image."""
        if percent in {0, 100}:
            return self.errors_of_extremes()[int(percent == 100)]
        (value,) = self.percentiles(percent)
        ends: tuple[Literal["left", "right"], ...] = ("left", "right")
        shift = 0.0
        for end in ends:
            below = np.array([_count(cell, value, end) for cell in self._cells])
            part = float(below.sum()) / self.size
            shift = max(shift, 100 * self._error_of_mean(below, part * (1 - part)))
        around = self.percentiles(max(0.0, percent - shift), min(100.0, percent + shift))
        return max(abs(value - other) for other in around)

    def errors_of_moments(self) -> tuple[float, float]:
        """How far the mean, and the mean plus the standard deviation, may be from those of the whole image."""
        mean, deviation = self.moments()
        if deviation == 0:
            return 0.0, 0.0
        sums = np.array([float(cell.sum(dtype=np.float64)) for cell in self._cells])
        squares = np.array([float(np.square(cell - np.float64(mean)).sum()) for cell in self._cells])
        # to first order, a pixel adds this to the mean plus the deviation
        both = sums + squares / (2 * deviation)
        return self._error_of_mean(sums, deviation**2), self._error_of_mean(both, deviation**2)

    def errors_of_extremes(self) -> tuple[float, float]:
        """How far the smallest and the largest value may be from those of the whole image.

        The cells' own extremes are taken for the end of an exponential tail.
        """
        low = np.array([-float(cell.min(initial=np.inf)) for cell in self._cells if cell.size])
        high = np.array([float(cell.max(initial=-np.inf)) for cell in self._cells if cell.size])
        return self._beyond(low), self._beyond(high)

    def _beyond(self, largest: Wide) -> float:
        unseen = self._total - len(self._cells)
        if unseen <= 0 or len(largest) < 2:
            return 0.0
        top = np.sort(largest)[::-1][: LARGEST + 1]
        tail = float(np.mean(top[:-1] - top[-1]))
        return tail * (max(0.0, math.log(unseen / len(self._cells))) + LARGEST_EXCEED)

    def _error_of_mean(self, sums: Wide, variance: float) -> float:
        """Return how far a mean may be off, by its sum over each cell and the variance of single pixels."""
        count, pixels = len(sums), float(self._sizes.sum())
        beyond = sums - self._sizes * (sums.sum() / pixels)
        of_cells = count / (2 * max(1, count - 1)) * float(np.square(np.diff(beyond)).sum()) / pixels**2
        of_pixels = variance * (1 - self._share) / pixels
        seen = count / self._total
        return STANDARD_ERRORS * math.sqrt((1 - seen) * of_cells + seen * of_pixels)


def _count(cell: Floats, value: float, end: Literal["left", "right"]) -> float:
    """How many values are below another one, itself included or not."""
    return float(np.count_nonzero(cell < value if end == "left" else cell <= value))
