"""Making one object of several, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from napari_unet.objects.editing.changes import Box, Change, Labels, changes_of, slices, union


def rename(labels: Labels, boxes: Mapping[int, Box], names: Mapping[int, int]) -> list[Change]:
    """Give objects other ids: the id of another object to merge them, 0 to delete them.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    boxes : mapping
        From ids to boxes that hold the objects.
    names : mapping
        From ids to their new ids.
    """
    renamed = [number for number, name in names.items() if number != name and number in boxes]
    changes: list[Change] = []
    for box in _apart([boxes[number] for number in renamed]):
        before = labels[slices(box)]
        values = np.array(before)
        for number in renamed:
            values[before == number] = names[number]
        changes += changes_of(labels, box, values)
    return changes


def merge(labels: Labels, boxes: Mapping[int, Box], ids: Iterable[int]) -> list[Change]:
    """Make one object of several; it has the id of the first."""
    first, *others = dict.fromkeys(ids)
    return rename(labels, boxes, dict.fromkeys(others, first))


def delete(labels: Labels, boxes: Mapping[int, Box], ids: Iterable[int]) -> list[Change]:
    """Remove objects."""
    return rename(labels, boxes, dict.fromkeys(ids, 0))


def _apart(boxes: Iterable[Box]) -> list[Box]:
    """Join boxes that overlap, so that no pixel is in two of them."""
    apart: list[Box] = []
    for new in boxes:
        box = new
        while True:
            touching = [other for other in apart if _overlap(box, other)]
            if not touching:
                break
            for other in touching:
                apart.remove(other)
                box = union(box, other)
        apart.append(box)
    return apart


def _overlap(a: Box, b: Box) -> bool:
    return all(i < m and k < j for (i, j), (k, m) in zip(a, b, strict=True))
