"""Objects of neighbouring slices joined across Z."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def join_slices(stack: npt.NDArray[np.uint32], min_iou: float, first_id: int = 0) -> int:
    """Give objects of neighbouring slices that overlap one id, in place.

    Each object is joined with at most one object of the next slice, the best overlaps first, as far
    as they are at least `min_iou`.

    Parameters
    ----------
    stack : (Z, Y, X) uint32
        Ids are unique over all slices and greater than `first_id`.
    min_iou : float
        Smallest intersection over union.
    first_id : int
        New ids start above it.

    Returns
    -------
    int
        Number of objects after joining.

    >>> stack = np.array([[[1, 1]], [[2, 2]], [[0, 3]]], np.uint32)
    >>> join_slices(stack, min_iou=0.6)
    2
    >>> stack.tolist()
    [[[1, 1]], [[1, 1]], [[0, 2]]]
    """
    highest = int(stack.max(initial=0))
    if highest <= first_id:
        return 0
    links = [pair for a, b in pairwise(stack) for pair in match(a, b, min_iou)]
    rows = np.array([i for i, _, _ in links], dtype=np.int64)
    columns = np.array([j for _, j, _ in links], dtype=np.int64)
    graph = coo_matrix((np.ones(len(links)), (rows, columns)), shape=(highest + 1, highest + 1))
    _, component = connected_components(graph, directed=False)
    used = np.unique(stack)
    used = used[used > 0]
    _, numbers = np.unique(component[used], return_inverse=True)
    table = np.zeros(highest + 1, np.uint32)
    table[used] = numbers + first_id + 1
    for plane in stack:
        plane[...] = table[plane]
    return int(numbers.max()) + 1


def match(a: npt.NDArray[Any], b: npt.NDArray[Any], min_iou: float) -> list[tuple[int, int, float]]:
    """Pair the objects of two label images one to one, the best overlaps first.

    From an intersection over union of 0.5 on no other pairing exists.

    Returns
    -------
    list of (id in a, id in b, intersection over union)
    """
    ids_a, ids_b, iou = overlaps(a, b)
    pairs = []
    taken_a, taken_b = set(), set()
    for k in np.argsort(-iou, kind="stable"):
        i, j, value = int(ids_a[k]), int(ids_b[k]), float(iou[k])
        if value < min_iou:
            break
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            pairs.append((i, j, value))
    return pairs


def overlaps(
    a: npt.NDArray[Any], b: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Intersection over union of each pair of objects that overlap at all.

    Parameters
    ----------
    a, b : integer arrays of one shape
        Labels, 0 is background.

    Returns
    -------
    ids_a, ids_b : (n,) integer
        The pairs.
    iou : (n,) float64
    """
    area_a, area_b = np.bincount(a.ravel()), np.bincount(b.ravel())
    both = (a > 0) & (b > 0)
    pairs, shared = np.unique(a[both].astype(np.int64) * len(area_b) + b[both], return_counts=True)
    ids_a, ids_b = np.divmod(pairs, len(area_b))
    return ids_a, ids_b, shared / (area_a[ids_a] + area_b[ids_b] - shared)
