"""Labels as they will be: several edits of one neighbourhood, made one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from napari_unet.objects.editing.changes import Box, Change, Labels, Readable, slices, union

# Changes are found again by the cells of this side, along the last two axes, that they touch.
_CELL_PX = 256
# More changes than this are gathered to one in each block of so many pixels along the plane, and so many slices.
_MOST, _BLOCK_PX, _BLOCK_SLICES = 200, 512, 16


class Draft:
    """A label image with changes that are not written yet.

    Edits take it in place of the image. Their changes belong into the image in the order in which they were kept.

    Parameters
    ----------
    labels : array of integers

    Examples
    --------
    >>> draft = Draft(np.zeros((3, 3), int))
    >>> draft.keep([Change(((0, 1), (0, 2)), np.array([[5, 5]]))])
    >>> draft[0:2, 1:3].tolist(), int(draft[0, 0])
    ([[5, 0], [0, 0]], 5)
    """

    def __init__(self, labels: Readable) -> None:
        self._labels = labels
        self.shape, self.dtype = labels.shape, labels.dtype
        self.changes: list[Change] = []
        self._cells: dict[tuple[int, ...], list[int]] = defaultdict(list)

    def keep(self, changes: Iterable[Change]) -> None:
        """Add changes that were made of this draft."""
        for change in changes:
            for cell in _cells(*zip(*change.box, strict=True)):
                self._cells[cell].append(len(self.changes))
            self.changes.append(change)

    def gathered(self) -> list[Change]:
        """Return changes that do the same together: these, or if they are many, fewer that each hold many."""
        if len(self.changes) <= _MOST:
            return self.changes
        ndim = len(self.shape)
        sides = [_BLOCK_PX if axis >= ndim - 2 else _BLOCK_SLICES for axis in range(ndim)]
        boxes: dict[tuple[int, ...], Box] = {}
        for change in self.changes:
            for block, part in _parts(change.box, sides):
                known = boxes.get(block)
                boxes[block] = part if known is None else union(known, part)
        return [Change(box, self[slices(box)]) for box in boxes.values()]

    def __getitem__(self, key: tuple[Any, ...]) -> Labels:
        starts = [part.start if isinstance(part, slice) else int(part) for part in key]
        stops = [part.stop if isinstance(part, slice) else int(part) + 1 for part in key]
        window = np.array(self._labels[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))])
        for change in self._near(starts, stops):
            low = [max(a, start) for a, (start, _) in zip(starts, change.box, strict=True)]
            high = [min(b, stop) for b, (_, stop) in zip(stops, change.box, strict=True)]
            if all(a < b for a, b in zip(low, high, strict=True)):
                here = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, starts, strict=True))
                there = tuple(slice(a - s, b - s) for a, b, (s, _) in zip(low, high, change.box, strict=True))
                window[here] = change.values[there]
        return window[tuple(slice(None) if isinstance(part, slice) else 0 for part in key)]

    def _near(self, starts: Sequence[int], stops: Sequence[int]) -> Iterator[Change]:
        """Yield the changes that may reach into a box, in their order."""
        found: set[int] = set()
        for cell in _cells(starts, stops):
            found.update(self._cells.get(cell, ()))
        return (self.changes[number] for number in sorted(found))


def _parts(box: Box, sides: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Cut a box along a grid: yield each block that it touches, and what of the box lies there."""
    for block in product(*(range(a // side, (b - 1) // side + 1) for (a, b), side in zip(box, sides, strict=True))):
        whole = zip(box, block, sides, strict=True)
        yield block, tuple((max(a, i * side), min(b, (i + 1) * side)) for (a, b), i, side in whole)


def _cells(starts: Sequence[int], stops: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the cells that a box touches."""
    sides = zip(starts[-2:], stops[-2:], strict=True)
    return product(*(range(start // _CELL_PX, (stop - 1) // _CELL_PX + 1) for start, stop in sides))
