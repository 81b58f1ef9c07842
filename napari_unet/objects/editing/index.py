"""Where the objects of a label image are, known without looking at all of it again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from threading import Lock

import numpy as np
from scipy import ndimage as ndi

from napari_unet.objects.editing.changes import Box, Labels, blocks, shifted, slices, union, whole

# Looked at in one go, so that a thread which does so lets others go first now and then.
BLOCK_PX = 2**20


class ObjectIndex:
    """For each object a box that holds it; it may be too large, and never too small.

    Parameters
    ----------
    labels : array of integers
        The living one.

    Examples
    --------
    In a thread::

        for _ in index.build():
            ...                     # stop here to give up

    and after each edit, wherever that happened, ``index.update(boxes)``.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._boxes: dict[int, Box] = {}
        self._lock = Lock()
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether all objects are known."""
        return self._complete

    @property
    def highest(self) -> int:
        """The highest id so far."""
        with self._lock:
            return max(self._boxes, default=0)

    def build(self) -> Iterator[None]:
        """Look at everything, a block at a time."""
        for box in blocks(whole(self._labels.shape), BLOCK_PX):
            self._look(box)
            yield
        self._complete = True

    def update(self, boxes: Iterable[Box]) -> None:
        """Look at boxes that have changed; large ones take as long as building does."""
        for box in boxes:
            for block in blocks(box, BLOCK_PX):
                self._look(block)

    def box(self, number: int) -> Box | None:
        """Return a box that holds an object; None if it is not known."""
        with self._lock:
            return self._boxes.get(number)

    def boxes(self) -> Mapping[int, Box]:
        """Return what is known now; of objects that are gone, boxes may be left."""
        with self._lock:
            return dict(self._boxes)

    def tighten(self, number: int) -> Box | None:
        """Look where an object really is; None, and forgotten, if it is gone."""
        box = self.box(number)
        if box is None:
            return None
        found: Box | None = None
        for block in blocks(box, BLOCK_PX):
            part = _extents(self._labels, block, number).get(number)
            if part is not None:
                found = part if found is None else union(found, part)
        with self._lock:
            if found is None:
                self._boxes.pop(number, None)
            else:
                self._boxes[number] = found
        return found

    def _look(self, block: Box) -> None:
        found = _extents(self._labels, block)
        with self._lock:
            for number, box in found.items():
                known = self._boxes.get(number)
                self._boxes[number] = box if known is None else union(known, box)


def _extents(labels: Labels, block: Box, only: int | None = None) -> dict[int, Box]:
    """Return the boxes of the objects in a block."""
    values = np.array(labels[slices(block)])  # a copy: the user may paint meanwhile
    if only is not None:
        values = np.where(values == only, only, 0)
    ids = np.unique(values)
    ids = ids[ids != 0]
    if not ids.size:
        return {}
    # Ids may be far apart; `find_objects` wants them dense.
    dense = np.searchsorted(ids, values).astype(np.int32) + 1
    dense[values == 0] = 0
    found = ndi.find_objects(dense)
    return {
        int(number): shifted(tuple((part.start, part.stop) for part in place), block)
        for number, place in zip(ids, found, strict=True)
        if place is not None
    }
