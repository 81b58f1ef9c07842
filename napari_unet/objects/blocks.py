"""An image cut into blocks, and connected pieces that are found block by block.

Pieces that meet in the face between two blocks are one piece, whatever their size and shape. So a
labelling in blocks equals that of the whole image, number for number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Box = tuple[slice, ...]
Index = tuple[int, ...]
Ids = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Blocks of one side that partition an image; the last ones are smaller.

    >>> [box for _, box in Grid((5,), 3)]
    [(slice(0, 3, None),), (slice(3, 5, None),)]
    """

    shape: tuple[int, ...]
    side: int

    @property
    def counts(self) -> Index:
        """How many blocks there are along each axis."""
        return tuple(-(-size // self.side) for size in self.shape)

    def __len__(self) -> int:
        return int(np.prod(self.counts))

    def __iter__(self) -> Iterator[tuple[Index, Box]]:
        for index in itertools.product(*(range(count) for count in self.counts)):
            yield (
                index,
                tuple(
                    slice(i * self.side, min((i + 1) * self.side, size))
                    for i, size in zip(index, self.shape, strict=True)
                ),
            )


def grow(box: Box, halo: int, shape: tuple[int, ...]) -> Box:
    """Return a box with a halo on all sides, as far as the image reaches.

    >>> grow((slice(2, 5), slice(10, 12)), 3, (20, 13))
    (slice(0, 8, None), slice(7, 13, None))
    """
    return tuple(
        slice(max(0, part.start - halo), min(size, part.stop + halo)) for part, size in zip(box, shape, strict=True)
    )


def within(box: Box, window: Box) -> Box:
    """Return a box in the coordinates of a window that contains it."""
    return tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, window, strict=True))


def volume(box: Box) -> int:
    """Return how many pixels a box has."""
    return int(np.prod([part.stop - part.start for part in box]))


@dataclass(frozen=True, slots=True)
class Part:
    """One plane or volume of a larger array, of which only boxes are read and written.

    Attributes
    ----------
    array : numpy, memory-mapped or Zarr array
    place : tuple of int
        Where the plane or volume is, along the axes before its own (after the class, if there is one).
    """

    array: Any
    place: tuple[int, ...]

    def read(self, box: Box) -> Array:
        """Read a box."""
        return np.asarray(self.array[(*self.place, *box)])

    def read_class(self, k: int, box: Box) -> Array:
        """Read a box of one class."""
        return np.asarray(self.array[(k, *self.place, *box)])

    def read_classes(self, box: Box, count: int | None = None) -> Array:
        """Read a box of the first `count` classes, which are the first axis; all by default."""
        return np.asarray(self.array[(slice(0, count or self.array.shape[0]), *self.place, *box)])

    def write(self, box: Box, values: Array) -> None:
        """Write a box."""
        self.array[(*self.place, *box)] = values


class Faces:
    """The faces of blocks that wait for their neighbours: at most one cross-section of the image.

    Parameters
    ----------
    grid : Grid
        Its blocks must come in its order.
    """

    def __init__(self, grid: Grid) -> None:
        self._counts = grid.counts
        self._waiting: dict[tuple[int, Index], tuple[Array, ...]] = {}

    def meet(self, index: Index, *arrays: Array) -> Iterator[tuple[tuple[Array, ...], tuple[Array, ...]]]:
        """Yield the last planes of each neighbour before a block and the first planes of the block, for each axis."""
        for axis, i in enumerate(index):
            if i > 0:
                yield self._waiting.pop((axis, index)), tuple(array.take(0, axis) for array in arrays)
            if i + 1 < self._counts[axis]:
                after = (*index[:axis], i + 1, *index[axis + 1 :])
                self._waiting[axis, after] = tuple(array.take(-1, axis) for array in arrays)


class Pieces:
    """Connected pieces of a mask, found block by block.

    Each block's pieces get ids above those of all blocks before; `roots` says which are the same.
    """

    def __init__(self, grid: Grid) -> None:
        self.count = 0
        self._grid = grid
        self._faces = Faces(grid)
        self._pairs: list[Ids] = []
        self._firsts: list[Ids] = []

    def add(self, index: Index, ids: Array, count: int) -> int:
        """Take the labels 1 to `count` of a block, and return what must be added to them."""
        before, self.count = self.count, self.count + count
        for (theirs,), (ours,) in self._faces.meet(index, np.where(ids > 0, ids + np.int64(before), 0)):
            both = (theirs > 0) & (ours > 0)
            self._pairs.append(np.unique(np.stack([theirs[both], ours[both]], axis=1), axis=0))
        return before

    def add_in_order(self, index: Index, box: Box, ids: Array, count: int) -> int:
        """Do as `add` does, and remember where each piece begins."""
        places = np.flatnonzero(ids)[::-1]
        first = np.zeros(count + 1, np.int64)
        first[ids.ravel()[places]] = places  # the last one written is the first in the image
        inside = np.unravel_index(first[1:], ids.shape)
        moved = tuple(at + part.start for at, part in zip(inside, box, strict=True))
        self._firsts.append(np.ravel_multi_index(moved, self._grid.shape).astype(np.int64))
        return self.add(index, ids, count)

    def roots(self) -> Ids:
        """Return for each id, 0 included, the smallest id of the same piece."""
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._pairs])
        size = self.count + 1
        graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        _, smallest, inverse = np.unique(component, return_index=True, return_inverse=True)
        return smallest[inverse].astype(np.int64)

    def in_order(self, roots: Ids) -> Ids:
        """Return the roots, 0 left out, in the order in which their pieces begin in the image."""
        begin = np.full(self.count + 1, np.iinfo(np.int64).max)
        np.minimum.at(begin, roots[1:], np.concatenate([np.zeros(0, np.int64), *self._firsts]))
        distinct = np.unique(roots)
        distinct = distinct[distinct > 0]
        return distinct[np.argsort(begin[distinct], kind="stable")]
