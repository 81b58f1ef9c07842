"""Outlines of objects as polygons that follow the edges of pixels, exactly.

A pixel at column 3 of row 5 is the square from (3, 5) to (4, 6), as in ImageJ and QuPath: an outline runs along the
corners of pixels, and filling it again gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import check_axes
from napari_unet.errors import AxesError, LabelsError
from napari_unet.imaging.image import ArrayLike, to_canonical

Ring = npt.NDArray[np.int64]
"""(corners, 2) of x and y, clockwise on the screen; the first corner is not repeated at the end."""

_EAST, _SOUTH, _WEST, _NORTH = range(4)


@dataclass(frozen=True, slots=True)
class Polygon:
    """One piece of an object.

    Attributes
    ----------
    shell : (corners, 2) int64
        x and y in pixels, clockwise on the screen.
    holes : tuple of (corners, 2) int64
        Counterclockwise.
    """

    shell: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The shell, then the holes."""
        return (self.shell, *self.holes)


@dataclass(frozen=True, slots=True)
class Outline:
    """An object in one plane.

    Attributes
    ----------
    label : int
    t, z : int
        Time point and slice, from 0.
    polygons : tuple of Polygon
        Pieces that share no side of a pixel; pixels that only touch at a corner belong to different pieces.
    """

    label: int
    t: int
    z: int
    polygons: tuple[Polygon, ...]


def outlines(labels: ArrayLike) -> Iterator[Outline]:
    """Trace every object of a label image, plane by plane.

    Parameters
    ----------
    labels : (T, Z, Y, X) integers
        0 is background. Planes are read one after the other.

    Yields
    ------
    Outline
        Ordered by time point, slice and label.

    Raises
    ------
    LabelsError
        If `labels` are no (T, Z, Y, X) integers.

    Examples
    --------
    >>> ring = np.array([[[[0, 7, 7, 7], [0, 7, 0, 7], [0, 7, 7, 7]]]])
    >>> for outline in outlines(ring):
    ...     print(outline.label, outline.polygons[0].shell.tolist(), outline.polygons[0].holes[0].tolist())
    7 [[1, 0], [4, 0], [4, 3], [1, 3]] [[2, 1], [2, 2], [3, 2], [3, 1]]
    """
    if len(labels.shape) != 4:
        raise LabelsError(f"The labels have {len(labels.shape)} dimensions, and (T, Z, Y, X) were expected.")
    _check_ids(labels)
    for t in range(labels.shape[0]):
        for z in range(labels.shape[1]):
            for label, polygons in trace(np.asarray(labels[t, z])):
                yield Outline(label, t, z, polygons)


def label_stack(labels: ArrayLike, axes: str | None = None) -> npt.NDArray[Any]:
    """View a label image as (T, Z, Y, X), as `outlines` wants it.

    Parameters
    ----------
    labels : array of integers
    axes : str, optional
        Of `labels`; YX for 2 dimensions and ZYX for 3 by default.

    Raises
    ------
    AxesError
        If `axes` do not describe the labels, or name channels.
    LabelsError
        If they are no integers, or there are no objects: a file without outlines is of no use to anyone.
    """
    checked = check_axes(axes, len(labels.shape))
    if "C" in checked:
        raise AxesError(f'The axes "{checked}" contain C, but labels have no channels. Name only T, Z, Y and X.')
    _check_ids(labels)
    stack = to_canonical(np.asarray(labels[...]), checked)[:, 0]
    if not (stack > 0).any():
        raise LabelsError("The labels are empty: there is no object to outline. Segment or paint some first.")
    return stack


def _check_ids(labels: ArrayLike) -> None:
    if np.dtype(labels.dtype).kind not in "ui":
        raise LabelsError(
            f"The labels hold values of type {labels.dtype}, and whole numbers of objects were expected. Number them, "
            "for example with skimage.measure.label."
        )


def trace(plane: npt.NDArray[np.integer[Any]]) -> Iterator[tuple[int, tuple[Polygon, ...]]]:
    """Trace every object of one plane.

    Parameters
    ----------
    plane : (Y, X) integers
        0 and below is background.

    Yields
    ------
    tuple of int and tuple of Polygon
        Label and pieces, ordered by label.
    """
    edges = _edges(plane)
    shells: dict[int, list[Ring]] = {}
    holes: dict[int, list[Ring]] = {}
    for label, ring in _rings(edges, plane.shape[1] + 1):
        group = shells if _area(ring) > 0 else holes
        group.setdefault(label, []).append(ring)
    for label in sorted(shells):
        yield label, _joined(shells[label], holes.get(label, []))


# --- sides of pixels ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edges:
    """Sides of pixels between an object and something else, with the object on the right.

    Attributes
    ----------
    keys : (edges,) int64
        Four times the corner where it begins, plus its direction; increasing.
    labels : (edges,) integer
        Of the object.
    """

    keys: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]


def _edges(plane: npt.NDArray[Any]) -> _Edges:
    """Find the sides of all objects; corners are numbered row by row."""
    padded, corners = np.pad(plane, 1), plane.shape[1] + 1
    above, below = padded[:-1, 1:-1], padded[1:, 1:-1]
    left, right = padded[1:-1, :-1], padded[1:-1, 1:]
    keys, labels = [], []
    for inside, outside, first, direction in (
        (below, above, 0, _EAST),
        (left, right, 0, _SOUTH),
        (above, below, 1, _WEST),
        (right, left, corners, _NORTH),
    ):
        y, x = np.nonzero((inside != outside) & (inside > 0))
        keys.append((y * corners + x + first) * 4 + direction)
        labels.append(inside[y, x])
    joined = np.concatenate(keys)
    order = np.argsort(joined)
    return _Edges(joined[order], np.concatenate(labels)[order])


def _following(edges: _Edges, corners: int) -> npt.NDArray[np.int64]:
    """Return for each edge the one that follows it around its object.

    Where two pixels of an object touch at a corner there are two ways to go on; the way to the right stays with the
    pixel, so that pieces which only touch at a corner have outlines of their own.
    """
    direction = edges.keys % 4
    end = edges.keys // 4 + np.array([1, corners, -1, -corners])[direction]
    following = np.full(edges.keys.size, -1)
    for turn in (1, 0, 3):
        wanted = end * 4 + (direction + turn) % 4
        place = np.searchsorted(edges.keys, wanted)
        place[place == edges.keys.size] = 0
        fits = (edges.keys[place] == wanted) & (edges.labels[place] == edges.labels) & (following < 0)
        following[fits] = place[fits]
    return following


def _walks(following: list[int]) -> tuple[list[int], list[int]]:
    """Follow the edges around all objects: their order, and where in it each walk begins."""
    seen = bytearray(len(following))
    order: list[int] = []
    starts: list[int] = []
    for first in range(len(following)):
        if seen[first]:
            continue
        starts.append(len(order))
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = following[edge]
    return order, starts


# --- rings --------------------------------------------------------------------------------------


def _rings(edges: _Edges, corners: int) -> Iterator[tuple[int, Ring]]:
    """Yield the label and the corners of each ring; no ring touches itself."""
    if not edges.keys.size:
        return
    order, starts = (np.array(part) for part in _walks(_following(edges, corners).tolist()))
    direction, vertex = edges.keys[order] % 4, edges.keys[order] // 4
    before = np.arange(order.size) - 1
    before[starts] = np.append(starts[1:], order.size) - 1
    is_corner = direction != direction[before]
    walk = np.repeat(np.arange(starts.size), np.diff(np.append(starts, order.size)))[is_corner]
    vertex = vertex[is_corner]
    touching = _repeated(walk, vertex)
    labels = edges.labels[order[starts]].tolist()
    pieces = np.split(vertex, np.flatnonzero(np.diff(walk)) + 1)
    for number, (label, piece) in enumerate(zip(labels, pieces, strict=True)):
        for ring in _simple(piece.tolist()) if number in touching else (piece,):
            found = np.asarray(ring)
            yield label, np.stack([found % corners, found // corners], axis=1)


def _repeated(walk: npt.NDArray[np.int64], vertex: npt.NDArray[np.int64]) -> set[int]:
    """Return the walks that come to a corner twice."""
    order = np.lexsort((vertex, walk))
    walk, vertex = walk[order], vertex[order]
    again = (np.diff(walk) == 0) & (np.diff(vertex) == 0)
    return set(walk[1:][again].tolist())


def _simple(walk: list[int]) -> Iterator[list[int]]:
    """Cut a walk that touches itself into rings that do not.

    >>> list(_simple([1, 2, 3, 4, 2, 5]))
    [[2, 3, 4], [1, 2, 5]]
    """
    path: list[int] = []
    place: dict[int, int] = {}
    for corner in walk:
        if corner in place:
            ring = path[place[corner] :]
            yield ring
            for gone in ring[1:]:
                del place[gone]
            del path[place[corner] + 1 :]
            continue
        place[corner] = len(path)
        path.append(corner)
    yield path


def _joined(shells: list[Ring], holes: list[Ring]) -> tuple[Polygon, ...]:
    """Give each hole to the piece that it is in."""
    if len(shells) == 1:
        return (Polygon(shells[0], tuple(holes)),)
    inside: list[list[Ring]] = [[] for _ in shells]
    areas = [_area(shell) for shell in shells]
    for hole in holes:
        point = _pixel_beside(hole)
        around = [i for i, shell in enumerate(shells) if _contains(shell, point)]
        inside[min(around, key=areas.__getitem__)].append(hole)
    return tuple(Polygon(shell, tuple(mine)) for shell, mine in zip(shells, inside, strict=True))


def _area(ring: Ring) -> float:
    """Return the area in pixels; negative for a hole."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _pixel_beside(ring: Ring) -> tuple[float, float]:
    """Return the centre of a pixel of the object: the one to the right of the first edge."""
    (x, y), (next_x, next_y) = ring[0].tolist(), ring[1].tolist()
    along_x, along_y = np.sign(next_x - x), np.sign(next_y - y)
    return x + (along_x - along_y) / 2, y + (along_y + along_x) / 2


def _contains(ring: Ring, point: tuple[float, float]) -> bool:
    """Whether the centre of a pixel is inside of a ring."""
    x, y = ring.T
    next_y = np.roll(y, -1)
    crossed = (np.minimum(y, next_y) < point[1]) & (np.maximum(y, next_y) > point[1]) & (x < point[0])
    return bool(crossed.sum() % 2)
