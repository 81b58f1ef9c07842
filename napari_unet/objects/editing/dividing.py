"""Cutting one object into several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.draw import line_nd
from skimage.segmentation import watershed

from napari_unet.errors import LabelsError
from napari_unet.objects.editing.changes import Box, Change, Readable, changes_of, grown, slices
from napari_unet.objects.editing.reaching import divide
from napari_unet.objects.editing.shaping import units_of

Points = Sequence[Sequence[float]]


def split_by_line(labels: Readable, number: int, box: Box, line: Points, new_ids: Iterable[int]) -> list[Change]:
    """Cut an object along a line.

    In a volume the line lies in one slice, and cuts all slices of the object there. The pixels under the line
    go to the nearest piece. The largest piece keeps the id.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    number : int
        Of the object.
    box : Box
        That holds it, see `find_object`.
    line : sequence of ([Z,] Y, X)
        Corners of the line.
    new_ids : iterable of int
        For the other pieces.

    Raises
    ------
    LabelsError
        If the line does not cut the object in two.
    """
    box = grown(box, 1, labels.shape)
    mask = labels[slices(box)] == number
    cut = np.zeros(mask.shape, bool)
    flat = [tuple(point[-2:]) for point in line]
    rows, columns = _inside(_pixels(flat), box[-2:])
    cut[..., rows, columns] = True
    # Pieces may touch at corners of the line: there, neighbours across an edge count only.
    pieces, count = ndi.label(mask & ~cut)
    if count < 2:
        raise LabelsError("The line does not cut the object in two. Draw it from one side of the object to the other.")
    return _renamed(labels, box, number, watershed(np.zeros(mask.shape, np.uint8), pieces, mask=mask), new_ids)


def split_by_seeds(
    labels: Readable,
    number: int,
    box: Box,
    seeds: Points,
    new_ids: Iterable[int],
    border: npt.NDArray[np.floating] | None = None,
    spacing: Sequence[float] | None = None,
) -> list[Change]:
    """Divide an object between seeds: each pixel goes to the seed that the easiest way leads to.

    A way is the harder the closer to the object's edge it runs, so that pieces meet at necks, and the harder the more
    speaks for a border there. A watershed from single clicks, which does not add up along the way, gives a seed beside
    a deep place to the piece of another one.

    Parameters
    ----------
    labels, number, box, new_ids
        As in `split_by_line`; the piece of the first seed keeps the id.
    seeds : sequence of ([Z,] Y, X)
        At least two, in the object.
    border : ([Z,] Y, X) float, optional
        Of the box: from 0 on, how much speaks for a border between objects.
    spacing : sequence of float, optional
        Sides of a pixel along each axis; the last finite one counts as 1, and so does an infinite one.

    Raises
    ------
    LabelsError
        If fewer than two seeds lie in the object.
    """
    mask = labels[slices(box)] == number
    places = [tuple(round(at) - first for at, (first, _) in zip(seed, box, strict=True)) for seed in seeds]
    inside = [
        place for place in places if all(0 <= i < n for i, n in zip(place, mask.shape, strict=True)) and mask[place]
    ]
    if len(set(inside)) < 2:
        raise LabelsError("Two seeds are needed in the object. Click on each part that is to be an object of its own.")
    units = [side if np.isfinite(side) else 1.0 for side in units_of(spacing or [1.0] * mask.ndim)]
    pieces = divide(mask, list(dict.fromkeys(inside)), border, units)
    return _renamed(labels, box, number, pieces, new_ids, keep=1)


def _renamed(
    labels: Readable,
    box: Box,
    number: int,
    pieces: npt.NDArray[np.integer],
    new_ids: Iterable[int],
    keep: int | None = None,
) -> list[Change]:
    """Give pieces ids: the largest one, or the one called `keep`, that of the object."""
    values = np.array(labels[slices(box)])
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    first = int(sizes.argmax()) if keep is None else keep
    ids = iter(new_ids)
    for piece in np.flatnonzero(sizes):
        values[pieces == piece] = number if piece == first else next(ids)
    return changes_of(labels, box, values)


def _pixels(line: Points) -> list[tuple[int, ...]]:
    """Pixels of a line with corners, without gaps."""
    if len(line) == 1:
        return [tuple(round(at) for at in line[0])]
    parts = (np.stack(line_nd(a, b, endpoint=True), axis=1) for a, b in pairwise(line))
    return [tuple(int(at) for at in place) for part in parts for place in part]


def _inside(places: Iterable[Sequence[int]], box: Box) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the places that lie in a box as an index into it. A step along both axes is given a corner."""
    found: set[tuple[int, ...]] = set()
    before: Sequence[int] | None = None
    for place in places:
        found.add(tuple(place))
        if before is not None and all(a != b for a, b in zip(place, before, strict=True)):
            found.add((place[0], before[1]))  # otherwise pieces would be connected through the corner
        before = place
    inside = [
        [at - first for at, (first, _) in zip(place, box, strict=True)]
        for place in found
        if all(first <= at < last for at, (first, last) in zip(place, box, strict=True))
    ]
    return tuple(np.array(inside, np.intp).reshape(-1, len(box)).T)


def crossed(labels: Readable, line: Points) -> dict[int, tuple[int, ...]]:
    """Return the ids of the objects under a line, in the order in which it meets them, and where it does.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    line : sequence of ([Z,] Y, X)
    """
    found: dict[int, tuple[int, ...]] = {}
    for place in _pixels(line):
        if all(0 <= i < n for i, n in zip(place, labels.shape, strict=True)):
            found.setdefault(int(labels[place]), place)
    found.pop(0, None)
    return found
