"""Finding objects to remove by their size or place, and numbering those that are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.editing.changes import Box, Change, Labels, changes_of, shifted, slices, union

# Looked at in one go.
BLOCK_PX = 2**20


@dataclass(frozen=True, slots=True)
class Census:
    """All objects of a label image.

    Attributes
    ----------
    ids : (n,) integer
    sizes : (n,) integer
        In pixels.
    touching : (n,) bool
        Whether they touch the border of the plane.
    boxes : mapping
        From ids to the boxes that hold them.
    """

    ids: npt.NDArray[np.integer]
    sizes: npt.NDArray[np.integer]
    touching: npt.NDArray[np.bool_]
    boxes: Mapping[int, Box]

    def unwanted(self, at_least: int = 0, at_most: int | None = None, *, no_border: bool = False) -> list[int]:
        """Return the ids of objects that are too small, too large, or touch the border."""
        bad = self.sizes < at_least
        if at_most is not None:
            bad |= self.sizes > at_most
        if no_border:
            bad |= self.touching
        return [int(number) for number in self.ids[bad]]

    def in_order(self) -> dict[int, int]:
        """Return the new ids 1, 2, ... of objects that are to be renamed."""
        return {int(old): new for old, new in zip(self.ids, count(1), strict=False) if old != new}


def census(labels: Labels) -> Census:
    """Look at all objects, some rows at a time.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    """
    sizes: dict[int, int] = {}
    boxes: dict[int, Box] = {}
    touching: set[int] = set()
    for box in _strips(labels.shape):
        _look(np.array(labels[slices(box)]), box, sizes, boxes)
    for edge in (labels[..., 0, :], labels[..., -1, :], labels[..., 0], labels[..., -1]):
        touching.update(int(number) for number in np.unique(edge))
    ids = np.array(sorted(sizes), labels.dtype)
    return Census(
        ids,
        np.array([sizes[int(number)] for number in ids], np.int64),
        np.array([int(number) in touching for number in ids], bool),
        boxes,
    )


def _look(values: Labels, box: Box, sizes: dict[int, int], boxes: dict[int, Box]) -> None:
    """Count the pixels of each object in a block, and widen its box."""
    if not values.any():
        return
    ids, counts = np.unique(values, return_counts=True)
    ids, counts = ids[ids != 0], counts[ids != 0]
    dense = np.searchsorted(ids, values).astype(np.int32) + 1
    dense[values == 0] = 0
    for number, size, place in zip(ids, counts, ndi.find_objects(dense), strict=True):
        found = shifted(tuple((part.start, part.stop) for part in place), box)
        known = boxes.get(int(number))
        boxes[int(number)] = found if known is None else union(known, found)
        sizes[int(number)] = sizes.get(int(number), 0) + int(size)


def renumber(labels: Labels, names: Mapping[int, int]) -> Iterator[Change]:
    """Give objects other ids wherever they are, some rows at a time; 0 removes them.

    Unlike `rename` it looks at everything: for many objects that is faster, and needs no more memory than a strip.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    names : mapping
        From ids to their new ids.
    """
    old = np.array(sorted(names), labels.dtype)
    new = np.array([names[int(number)] for number in old], labels.dtype)
    if not old.size:
        return
    for box in _strips(labels.shape):
        values = np.asarray(labels[slices(box)])
        place = np.minimum(np.searchsorted(old, values), old.size - 1)
        hit = old[place] == values
        if hit.any():
            yield from changes_of(labels, box, np.where(hit, new[place], values))


def _strips(shape: tuple[int, ...]) -> Iterator[Box]:
    """Divide an image into strips of rows."""
    rows = max(1, BLOCK_PX // max(1, shape[-1]))
    for place in np.ndindex(*shape[:-2]):
        for first in range(0, shape[-2], rows):
            yield (*((at, at + 1) for at in place), (first, min(shape[-2], first + rows)), (0, shape[-1]))
