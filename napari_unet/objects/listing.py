"""A list of all objects with what a user sorts them by, kept up with edits without looking at everything again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.editing.changes import Box, Change, Labels, slices, union, whole
from napari_unet.objects.measuring import Planes

# Looked at in one go: a thread which does so lets others go first in between.
BLOCK_PX = 2**19
# Ids that are not farther apart are counted by a table of all of them.
_DENSE = 2**22
# Edits that touch a larger share of the image make a new list.
_ANEW_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Rows:
    """Objects; the same id at two time points is two rows. Ordered by time point, then id.

    Attributes
    ----------
    t, label : (objects,) int64
    count, reviewed : (objects,) int64
        Pixels, and how many of them are reviewed.
    total : (objects,) float64
        Sum of the image over the object.
    start, stop : (objects, 3) int64
        Of a box that holds it, along Z, Y and X.
    """

    t: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    reviewed: npt.NDArray[np.int64]
    total: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.label.size)

    def take(self, which: Any) -> Rows:  # noqa: ANN401
        """Return some of them, by places or by a mask."""
        return Rows(*(getattr(self, column.name)[which] for column in fields(self)))

    def box(self, place: int) -> Box:
        """Return the box of one along T, Z, Y and X."""
        t = int(self.t[place])
        ends = zip(self.start[place], self.stop[place], strict=True)
        return ((t, t + 1), *((int(start), int(stop)) for start, stop in ends))

    def find(self, t: int, label: int) -> int | None:
        """Return the place of one; None if it is not there."""
        found = np.flatnonzero((self.label == label) & (self.t == t))
        return int(found[0]) if found.size else None


def no_rows() -> Rows:
    """Return an empty list."""
    none, nowhere = np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    return Rows(none, none, none, none, np.zeros(0), nowhere, nowhere)


@dataclass(frozen=True, slots=True)
class Sources:
    """What objects are listed from; all of it living.

    Attributes
    ----------
    labels : (T, Z, Y, X) integers
    reviewed : (T, Z, Y, X) integers, optional
    image : Image, optional
    channel : int
        Of the image.
    """

    labels: Labels
    reviewed: Labels | None = None
    image: Planes | None = None
    channel: int = 0


class Listing:
    """The objects of a label image.

    Parameters
    ----------
    sources : Sources

    Examples
    --------
    >>> labels = np.array([[[[0, 7, 7], [0, 7, 2]]]])
    >>> listing = Listing(Sources(labels))
    >>> for _ in listing.build():
    ...     pass  # stop here to give up
    >>> listing.rows.label.tolist(), listing.rows.count.tolist()
    ([2, 7], [1, 3])
    >>> labels[0, 0, 1, 2] = 7
    >>> for _ in listing.update([((0, 1), (0, 1), (1, 2), (2, 3))]):
    ...     pass
    >>> listing.rows.label.tolist(), listing.rows.count.tolist()
    ([7], [4])
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.rows = no_rows()

    def build(self) -> Iterator[None]:
        """List everything, a block at a time; `rows` are those of the blocks so far."""
        parts: list[Rows] = []
        for number, block in enumerate(_blocks(whole(self._sources.labels.shape))):
            parts.append(gather(self._sources, block))
            if number % 16 == 15:
                parts = [combine(parts)]
                self.rows = parts[0]
            yield
        self.rows = combine(parts)

    def update(self, boxes: Iterable[Box]) -> Iterator[None]:
        """Measure again what was or is in boxes along T, Z, Y and X that have changed."""
        rows, changed = self.rows, [one for box in boxes for one in _time_points(box)]
        touched: dict[tuple[int, int], Box] = {}
        for box in changed:
            now = combine([gather(self._sources, block) for block in _blocks(box)])
            before = rows.take(_overlapping(rows, box))
            for part in (before, now):
                for place in range(part.size):
                    key, found = (int(part.t[place]), int(part.label[place])), part.box(place)
                    known = touched.get(key) or _known_box(rows, key)
                    touched[key] = union(known, found) if known else found
            yield
        everything = self._sources.labels.size
        if sum(_size(box) for box in (*touched.values(), *changed)) > _ANEW_SHARE * everything:
            yield from self._anew()
            return
        again = [rows.take(_others(rows, touched))]
        for (_, label), box in touched.items():
            again += [gather(self._sources, block, label) for block in _blocks(box)]
            yield
        self.rows = combine(again)

    def _anew(self) -> Iterator[None]:
        """List everything again, and show the old list meanwhile."""
        fresh = Listing(self._sources)
        yield from fresh.build()
        self.rows = fresh.rows


def gather(sources: Sources, block: Box, only: int | None = None) -> Rows:
    """List what of the objects lies in a block of one time point."""
    values = np.asarray(sources.labels[slices(block)])[0]
    inside = values > 0 if only is None else values == only
    places = np.flatnonzero(inside)
    if not places.size:
        return no_rows()
    ids, rows = _numbered(values.ravel()[places])
    dense = np.zeros(values.shape, np.int32)
    dense.ravel()[places] = rows + 1
    found = [tuple((part.start, part.stop) for part in place) for place in ndi.find_objects(dense)]
    corner = np.array([start for start, _ in block[1:]])
    ends = np.array(found, np.int64).reshape(ids.size, 3, 2)
    reviewed = np.zeros(ids.size, np.int64)
    if sources.reviewed is not None:
        marked = np.asarray(sources.reviewed[slices(block)])[0].ravel()[places] > 0
        reviewed = np.bincount(rows[marked], minlength=ids.size)
    total: npt.NDArray[Any] = np.zeros(ids.size)
    if sources.image is not None:
        t, z, y, x = slices(block)
        pixels = sources.image.read(t.start, z, y, x, [sources.channel])[0].ravel()[places]
        total = np.bincount(rows, pixels.astype(np.float64), minlength=ids.size)
    count = np.bincount(rows, minlength=ids.size)
    t_column = np.full(ids.size, block[0][0], np.int64)
    return Rows(t_column, ids, count, reviewed, total, ends[..., 0] + corner, ends[..., 1] + corner)


def combine(parts: Sequence[Rows]) -> Rows:
    """Add up the parts of objects."""
    if not parts:
        return no_rows()
    every = Rows(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Rows)))
    if not every.size:
        return every
    every = every.take(np.lexsort((every.label, every.t)))
    new = np.flatnonzero(np.r_[True, (np.diff(every.label) != 0) | (np.diff(every.t) != 0)])
    return Rows(
        every.t[new],
        every.label[new],
        np.add.reduceat(every.count, new),
        np.add.reduceat(every.reviewed, new),
        np.add.reduceat(every.total, new),
        np.minimum.reduceat(every.start, new),
        np.maximum.reduceat(every.stop, new),
    )


def erased(labels: Labels, boxes: Sequence[Box], ids: Iterable[int]) -> list[Change]:
    """Return what removes objects from their boxes; the boxes may overlap.

    Parameters
    ----------
    labels : array of integers
    boxes : sequence of Box
    ids : iterable of int
    """
    gone = np.unique(np.fromiter(ids, np.int64)).astype(labels.dtype)
    changes = []
    for box in boxes:
        values = np.asarray(labels[slices(box)])
        changes.append(Change(box, np.where(np.isin(values, gone), 0, values).astype(labels.dtype)))
    return changes


def _numbered(ids: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which ids there are, in order, and the place of each pixel's among them."""
    low, high = int(ids.min()), int(ids.max())
    if high - low >= _DENSE:
        found, rows = np.unique(ids, return_inverse=True)
        return found.astype(np.int64), rows.astype(np.int64)
    shifted = (ids - ids.dtype.type(low)).astype(np.int64)
    there = np.zeros(high - low + 1, bool)
    there[shifted] = True
    return np.flatnonzero(there) + low, (np.cumsum(there) - 1)[shifted]


def _known_box(rows: Rows, key: tuple[int, int]) -> Box | None:
    place = rows.find(*key)
    return None if place is None else rows.box(place)


def _overlapping(rows: Rows, box: Box) -> npt.NDArray[np.bool_]:
    starts, stops = np.array(box[1:]).T
    there: npt.NDArray[np.bool_] = (rows.start < stops).all(axis=1) & (rows.stop > starts).all(axis=1)
    there &= rows.t == box[0][0]
    return there


def _others(rows: Rows, touched: Iterable[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Mark the rows that are not among those touched."""
    gone = np.zeros(rows.size, bool)
    by_time: dict[int, list[int]] = {}
    for t, label in touched:
        by_time.setdefault(t, []).append(label)
    for t, labels in by_time.items():
        gone |= (rows.t == t) & np.isin(rows.label, labels)
    return ~gone


def _time_points(box: Box) -> Iterator[Box]:
    for t in range(*box[0]):
        yield ((t, t + 1), *box[1:])


def _size(box: Box) -> int:
    return prod(stop - start for start, stop in box)


def _blocks(box: Box) -> Iterator[Box]:
    """Divide a box into blocks of one time point and a limited size."""
    sides = [stop - start for start, stop in box]
    if not all(sides):
        return
    if sides[0] == 1 and prod(sides) <= BLOCK_PX:
        yield box
        return
    axis = next(i for i, side in enumerate(sides) if side > 1)
    start, stop = box[axis]
    step = 1 if axis == 0 else max(1, BLOCK_PX // prod(sides[axis + 1 :]))
    for first in range(start, stop, step):
        yield from _blocks((*box[:axis], (first, min(stop, first + step)), *box[axis + 1 :]))
