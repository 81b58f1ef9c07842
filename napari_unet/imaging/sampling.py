"""Which parts of an image to look at: cells that keep to its chunks, spread evenly over it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Region = tuple[slice, slice, slice]
# The golden ratio's fraction: of all numbers, its multiples leave the smallest gaps.
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells that partition a volume; the last ones are smaller.

    Attributes
    ----------
    size, side : (Z, Y, X)
        Of the volume and of a cell.

    >>> [region[2] for region in Cells((1, 1, 5), (1, 1, 3))]
    [slice(0, 3, None), slice(3, 5, None)]
    """

    size: tuple[int, int, int]
    side: tuple[int, int, int]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many there are along each axis."""
        return tuple(-(-size // side) for size, side in zip(self.size, self.side, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[Region]:
        for index in itertools.product(*map(range, self.counts)):
            yield self.region(index)

    def region(self, index: tuple[int, ...]) -> Region:
        """Return where a cell lies."""
        z, y, x = (
            slice(i * side, min((i + 1) * side, size))
            for i, side, size in zip(index, self.side, self.size, strict=True)
        )
        return z, y, x

    def spread(self) -> Iterator[tuple[int, Region]]:
        """Yield all cells, each with its place along a curve through the volume; any first few are evenly spread.

        The curve halves the volume along its longest axis again and again (Morton's order), so that cells which are
        near along it are mostly near in the volume. It is sampled at multiples of the golden ratio.
        """
        axes = _halvings(self.counts)
        ranks = 2 ** len(axes)
        seen: set[tuple[int, ...]] = set()
        for number in itertools.count():
            if len(seen) == len(self):
                return
            rank = int((0.5 + number * GOLDEN) % 1 * ranks)
            index = _decode(rank, axes)
            if index not in seen and all(i < count for i, count in zip(index, self.counts, strict=True)):
                seen.add(index)
                yield rank, self.region(index)


def _halvings(counts: tuple[int, ...]) -> list[int]:
    """Along which axis each bit of a place on the curve halves, the largest bit first."""
    left = [(count - 1).bit_length() for count in counts]
    axes = []
    while any(left):
        axes.append(max(range(3), key=lambda axis: (left[axis], axis)))
        left[axes[-1]] -= 1
    return axes


def _decode(rank: int, axes: list[int]) -> tuple[int, int, int]:
    index = [0, 0, 0]
    for bit, axis in enumerate(axes, start=1):
        index[axis] = 2 * index[axis] + (rank >> (len(axes) - bit) & 1)
    return index[0], index[1], index[2]


def cut(sizes: dict[str, int], chunks: dict[str, int], pixels: int) -> Cells:
    """Cut an image into cells of whole chunks, of about as many pixels or one chunk.

    Cells grow in the plane first, the shorter of Y and X before the longer.
    """
    side = {axis: min(sizes[axis], chunks[axis]) for axis in "ZYX"}
    while math.prod(side.values()) < pixels:
        short = [axis for axis in "YX" if side[axis] < sizes[axis]] or ["Z"]
        axis = min(short, key=side.__getitem__)
        if side[axis] == sizes[axis]:
            break
        side[axis] = min(sizes[axis], 2 * side[axis])
    return Cells((sizes["Z"], sizes["Y"], sizes["X"]), (side["Z"], side["Y"], side["X"]))


def thin(block: npt.NDArray[Any], pixels: int) -> npt.NDArray[Any]:
    """Leave rows, columns and slices of (C, Z, Y, X) out, so that at most so many pixels are left.

    Steps are odd: cameras and scanners often treat every other line differently.
    """
    steps = [1, 1, 1]
    left = list(block.shape[1:])
    while math.prod(left) > pixels:
        axis = max(range(3), key=left.__getitem__)
        steps[axis] += 2
        left[axis] = len(range(steps[axis] // 2, block.shape[1 + axis], steps[axis]))
    z, y, x = (slice(step // 2, None, step) for step in steps)
    return block[:, z, y, x]
