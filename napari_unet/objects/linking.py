"""Objects of two label images compared, and objects of neighbouring slices joined across Z."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_unet.objects.blocks import Grid, Part


@dataclass(frozen=True, slots=True)
class Overlaps:
    """All pairs of objects, one of each of two label images, that overlap at all.

    Attributes
    ----------
    a, b : (n,) integer
        Their ids.
    iou : (n,) float64
        Intersection over union.
    covered : (n,) float64
        Share of the smaller of the two that lies on the other.
    """

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    iou: npt.NDArray[np.float64]
    covered: npt.NDArray[np.float64]


def find_overlaps(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Overlaps:
    """Compare two label images of one shape; 0 is background."""
    (names_a, a), (names_b, b) = _compact(a), _compact(b)
    area_a, area_b = np.bincount(a.ravel()), np.bincount(b.ravel())
    both = (a > 0) & (b > 0)
    pairs, shared = np.unique(a[both].astype(np.int64) * len(area_b) + b[both], return_counts=True)
    ids_a, ids_b = np.divmod(pairs, len(area_b))
    of_a, of_b = area_a[ids_a], area_b[ids_b]
    return Overlaps(names_a[ids_a], names_b[ids_b], shared / (of_a + of_b - shared), shared / np.minimum(of_a, of_b))


def _compact(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ids by number, and the labels as numbers without large gaps, so that tables stay small."""
    highest = int(labels.max(initial=0))
    if highest <= max(labels.size, 1000):
        return np.arange(highest + 1), labels
    ids, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(labels.shape)
    return (ids, numbers) if ids[0] == 0 else (np.concatenate([[0], ids]), numbers + 1)


def match(overlaps: Overlaps, enough: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pair objects one to one, the greatest intersection over union first.

    From an intersection over union of 0.5 on no other pairing exists.

    Parameters
    ----------
    overlaps : Overlaps
    enough : (n,) bool
        Which of them may become pairs.

    Returns
    -------
    list of (id in a, id in b)
    """
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for k in np.argsort(-overlaps.iou, kind="stable"):
        i, j = int(overlaps.a[k]), int(overlaps.b[k])
        if enough[k] and i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return list(pairs.items())


def join_slices(stack: npt.NDArray[np.uint32], min_overlap: float, first_id: int = 0) -> int:
    """Give objects of neighbouring slices that overlap one id, in place.

    Each object is joined with at most one object of the next slice, the best overlaps first, as far
    as at least `min_overlap` of the smaller one lies on the larger one: the small caps of a round
    object belong to it, although their intersection over union with the next slice is small.

    Parameters
    ----------
    stack : (Z, Y, X) uint32
        Ids are unique over all slices and greater than `first_id`.
    min_overlap : float
        Share of the smaller object, from 0 to 1.
    first_id : int
        New ids start above it.

    Returns
    -------
    int
        Number of objects after joining.

    >>> stack = np.array([[[1, 1]], [[2, 2]], [[0, 3]]], np.uint32)
    >>> join_slices(stack, min_overlap=0.75)
    1
    >>> stack.tolist()
    [[[1, 1]], [[1, 1]], [[0, 1]]]
    """
    highest = max(int(plane.max(initial=0)) for plane in stack)
    if highest <= first_id:
        return 0
    compared = (find_overlaps(a, b) for a, b in pairwise(stack))
    links = [pair for found in compared for pair in match(found, found.covered >= min_overlap)]
    component = _components(links, highest + 1)
    is_used = np.zeros(highest + 1, dtype=bool)
    for plane in stack:
        is_used[plane] = True
    used = np.flatnonzero(is_used[1:]) + 1
    _, numbers = np.unique(component[used], return_inverse=True)
    table = np.zeros(highest + 1, np.uint32)
    table[used] = numbers + first_id + 1
    for plane in stack:
        plane[...] = table[plane]
    return int(numbers.max()) + 1


def _components(links: list[tuple[int, int]], size: int) -> npt.NDArray[Any]:
    """Find the connected components of a graph of `size` nodes."""
    rows, columns = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    component: npt.NDArray[Any] = connected_components(graph, directed=False)[1]
    return component


def link_slices(
    stack: Part, depth: int, grid: Grid, min_overlap: float, ids: tuple[int, int]
) -> Generator[None, None, tuple[Callable[[npt.NDArray[Any]], npt.NDArray[np.uint32]], int]]:
    """Find what `join_slices` would do, block by block, yielding after each.

    Parameters
    ----------
    stack : Part
        (Z, Y, X) uint32, read in boxes.
    depth : int
        Number of slices.
    grid : Grid
        Blocks of a slice.
    min_overlap : float
        Share of the smaller object, from 0 to 1.
    ids : (first, last)
        The ids in the stack are those above `first`, up to `last`, without gaps; and so they are afterwards.

    Returns
    -------
    join : function
        From labels of any part of the stack to those after joining.
    count : int
        Number of objects after joining.
    """
    first, last = ids
    links: list[tuple[int, int]] = []
    for z in range(depth - 1):
        found = yield from _overlaps_in_blocks(stack, z, grid)
        links += match(found, found.covered >= min_overlap)
    component = _components([(i - first, j - first) for i, j in links], last - first + 1)[1:]
    _, numbers = np.unique(component, return_inverse=True)
    table = np.concatenate([[0], numbers + first + 1]).astype(np.uint32)

    def join(labels: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
        joined: npt.NDArray[np.uint32] = table[np.maximum(labels, first) - first]
        return joined

    return join, int(numbers.max(initial=-1)) + 1


def _overlaps_in_blocks(stack: Part, z: int, grid: Grid) -> Generator[None, None, Overlaps]:
    """Compare a slice with the next one."""
    counted = []
    for _, box in grid:
        a, b = (stack.read((slice(k, k + 1), *box)) for k in (z, z + 1))
        counted.append(_count_pairs(a.ravel().astype(np.uint64) << np.uint64(32) | b.ravel()))
        yield
    pairs, pixels = _sum_up(*(np.concatenate(parts) for parts in zip(*counted, strict=True)))
    ids_a, row = np.unique(pairs >> np.uint64(32), return_inverse=True)
    ids_b, column = np.unique(pairs & np.uint64(2**32 - 1), return_inverse=True)
    of_a, of_b = np.bincount(row, pixels)[row], np.bincount(column, pixels)[column]
    both = (ids_a[row] > 0) & (ids_b[column] > 0)
    a, b, shared, of_a, of_b = (values[both] for values in (ids_a[row], ids_b[column], pixels, of_a, of_b))
    return Overlaps(a, b, shared / (of_a + of_b - shared), shared / np.minimum(of_a, of_b))


def _count_pairs(pairs: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]:
    """Count how often each pair occurs; most neighbours are alike, so that there are few runs to sort."""
    starts = np.concatenate([[0], np.flatnonzero(pairs[1:] != pairs[:-1]) + 1])
    return _sum_up(pairs[starts], np.diff(starts, append=pairs.size))


def _sum_up(pairs: npt.NDArray[np.uint64], counts: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]:
    """Add the counts of equal pairs."""
    distinct, where = np.unique(pairs, return_inverse=True)
    return distinct, np.bincount(where, counts)
