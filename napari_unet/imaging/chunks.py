"""Where arrays are cut into chunks, and which of these a box touches."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Box = tuple[slice, ...]
Index = tuple[int, ...]

# Smaller chunks are read and written several at a time: each call costs about a millisecond.
FEWEST_BYTES = 2**19


@dataclass(frozen=True, slots=True)
class Chunks:
    """Boxes that partition an array.

    Attributes
    ----------
    cuts : tuple of tuple of int
        Along each axis, from 0 to the size of the array.

    >>> chunks = Chunks(((0, 4, 8, 10), (0, 5)))
    >>> list(chunks.touched((slice(3, 5), slice(0, 2)))), chunks.box((2, 0))
    ([(0, 0), (1, 0)], (slice(8, 10, None), slice(0, 5, None)))
    """

    cuts: tuple[tuple[int, ...], ...]

    @classmethod
    def regular(cls, shape: Sequence[int], sides: Sequence[int]) -> Chunks:
        """Cut an array into boxes of one size; the last ones are smaller."""
        return cls(tuple((*range(0, size, side), size) for size, side in zip(shape, sides, strict=True)))

    @classmethod
    def of(cls, array: Any, *, shards: bool = True) -> Chunks | None:  # noqa: ANN401
        """Return how an array is stored or computed; None if any part of it can be had as cheaply as any other.

        Parameters
        ----------
        array : numpy, Zarr, Dask, h5py or similar array
        shards : bool
            Return the shards of a Zarr array that has them, not the chunks that these hold.
        """
        if isinstance(array, np.ndarray):
            return None
        for name in ("shards", "chunks") if shards else ("chunks",):
            found = getattr(array, name, None)
            if isinstance(found, tuple) and len(found) == len(array.shape):
                return cls(tuple(_cuts(part, int(size)) for part, size in zip(found, array.shape, strict=True)))
        return None

    @property
    def largest(self) -> int:
        """Return how many values the largest box has."""
        return math.prod(max(b - a for a, b in itertools.pairwise(cuts)) for cuts in self.cuts)

    def grown(self, itemsize: int, axes: Sequence[int]) -> Chunks:
        """Return larger boxes, of whole chunks, where these are small; they grow along some axes only."""
        cuts = list(self.cuts)
        while Chunks(tuple(cuts)).largest * itemsize <= FEWEST_BYTES // 2:
            several = [axis for axis in axes if len(cuts[axis]) > 2]
            if not several:
                break
            axis = min(several, key=lambda i: cuts[i][1])
            cuts[axis] = (*cuts[axis][:-1:2], cuts[axis][-1])
        return Chunks(tuple(cuts))

    def touched(self, box: Box) -> Iterator[Index]:
        """Yield the index of each box that a box touches, in order."""
        ranges = (
            range(bisect_right(cuts, part.start) - 1, bisect_left(cuts, part.stop))
            for cuts, part in zip(self.cuts, box, strict=True)
        )
        yield from itertools.product(*ranges)

    def box(self, index: Index) -> Box:
        """Return a box."""
        return tuple(slice(cuts[i], cuts[i + 1]) for cuts, i in zip(self.cuts, index, strict=True))


def _cuts(part: Any, size: int) -> tuple[int, ...]:  # noqa: ANN401
    """Along one axis: Dask names the size of each chunk, the others one size for all."""
    if isinstance(part, tuple):
        return tuple(itertools.accumulate((int(n) for n in part), initial=0))
    return (*range(0, size, int(part)), size)
