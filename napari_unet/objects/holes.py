"""Holes of any size, filled block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.blocks import Array, Box, Faces, Grid, Ids, Index, Pieces

NOTHING = np.iinfo(np.uint32).max


class Holes:
    """Connected background, and which labels touch it.

    First all blocks are added, in the order of the grid; then `fill` gives background that one
    single label encloses to that label, as `fill_holes` does for a whole image.
    """

    def __init__(self, grid: Grid) -> None:
        self._shape = grid.shape
        self._pieces = Pieces(grid)
        self._faces = Faces(grid)
        self._starts: dict[Index, tuple[int, int]] = {}
        self._touching: list[tuple[Ids, Array]] = []
        self._open: list[Ids] = []
        self._owners: npt.NDArray[np.uint32] | None = None

    def add(self, index: Index, box: Box, labels: Array) -> None:
        """Look at the background of one block."""
        found, count = ndi.label(labels == 0)
        start = self._pieces.add(index, found, count)
        self._starts[index] = (start, count)
        self._note_contacts(found, count, labels, start)
        ids = np.where(found > 0, found + np.int64(start), 0)
        for (hole, label), (our_hole, our_label) in self._faces.meet(index, ids, labels):
            self._note_pairs(hole, our_label)
            self._note_pairs(our_hole, label)
        for axis, (part, size) in enumerate(zip(box, self._shape, strict=True)):
            if size > 1:
                ends = [end for end, outer in ((0, part.start == 0), (-1, part.stop == size)) if outer]
                self._open.append(np.unique(ids.take(ends, axis=axis)))

    def _note_contacts(self, found: Array, count: int, labels: Array, start: int) -> None:
        """Keep the smallest and the largest label that touches each hole inside of a block."""
        low, high = np.full(count + 1, NOTHING, np.uint32), np.zeros(count + 1, np.uint32)
        for axis in range(labels.ndim):
            whole = [slice(None)] * labels.ndim
            before, after = list(whole), list(whole)
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            for here, there in ((tuple(before), tuple(after)), (tuple(after), tuple(before))):
                meet = (found[here] > 0) & (labels[there] > 0)
                holes, touching = found[here][meet], labels[there][meet].astype(np.uint32)
                np.minimum.at(low, holes, touching)
                np.maximum.at(high, holes, touching)
        touched = np.flatnonzero(high)
        self._touching += [(touched + start, low[touched]), (touched + start, high[touched])]

    def _note_pairs(self, holes: Array, labels: Array) -> None:
        """Keep which labels touch which holes across a face."""
        meet = (holes > 0) & (labels > 0)
        pairs = np.unique(np.stack([holes[meet], labels[meet].astype(np.int64)], axis=1), axis=0)
        self._touching.append((pairs[:, 0], pairs[:, 1].astype(np.uint32)))

    def fill(self, index: Index, labels: Array) -> tuple[Array, bool]:
        """Return the labels of one block with its holes filled, and whether there were any."""
        if self._owners is None:
            self._owners = self._find_owners()
        start, count = self._starts[index]
        owners: npt.NDArray[Any] = np.concatenate([[0], self._owners[start + 1 : start + count + 1]])
        if not owners.any():
            return labels, False
        found, _ = ndi.label(labels == 0)
        return np.where(found > 0, owners[found], labels).astype(np.uint32), True

    def _find_owners(self) -> npt.NDArray[np.uint32]:
        """Return for each piece of background the label that it belongs to, or 0."""
        roots = self._pieces.roots()
        low, high = np.full(len(roots), NOTHING, np.uint32), np.zeros(len(roots), np.uint32)
        for ids, labels in self._touching:
            np.minimum.at(low, roots[ids], labels)
            np.maximum.at(high, roots[ids], labels)
        owner = np.where(low == high, high, 0).astype(np.uint32)
        for ids in self._open:
            owner[roots[ids]] = 0
        return owner[roots]
