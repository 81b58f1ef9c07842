"""What napari's brush, eraser and fill do, and strokes worth trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from itertools import pairwise
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.measure import approximate_polygon, find_contours
from skimage.segmentation import flood

from repairing.hand import ZOOM

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.integer]
Place = tuple[float, float]
P = ParamSpec("P")
T = TypeVar("T")

# The same shapes are asked about again and again; so many answers are kept.
KEPT = 2000


def remembered(call: Callable[Concatenate[Mask, P], T]) -> Callable[Concatenate[Mask, P], T]:
    """Keep what is said about a shape."""
    kept: dict[tuple[object, ...], T] = {}

    @wraps(call)
    def asked(mask: Mask, *args: P.args, **kwargs: P.kwargs) -> T:
        key = mask.shape, mask.tobytes(), args, tuple(kwargs.items())
        if key not in kept:
            if len(kept) >= KEPT:
                kept.clear()
            kept[key] = call(mask, *args, **kwargs)
        return kept[key]

    return asked


@dataclass(frozen=True, slots=True)
class Stroke:
    """A path of the brush.

    Attributes
    ----------
    points : tuple of (y, x)
        One point is a dab.
    size : int
        Of the brush.
    width : float
        How far the first point may be off.
    """

    points: tuple[Place, ...]
    size: int
    width: float

    @classmethod
    def along(cls, points: Iterable[Sequence[float]], size: int, width: float) -> Stroke:
        """Return a stroke whose points the mouse can reach."""
        return cls(tuple(reached(at) for at in points), size, width)


def reached(at: Sequence[float]) -> Place:
    """Return the nearest place that the mouse can point at; none lies midway between two pixels."""
    y, x = (round(float(v) * ZOOM) / ZOOM + 0.013 for v in at)
    return y, x


@lru_cache(maxsize=256)
def disk(size: int) -> Mask:
    """Return the pixels of napari's brush."""
    radius = size // 2 + 0.5
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    found: Mask = y * y + x * x <= radius * radius
    return found


def swept(shape: tuple[int, ...], points: Sequence[Place], size: int) -> Mask:
    """Return what a stroke covers; dabs follow each other at a quarter of the brush, as in napari."""
    return _swept(shape, tuple(points), size)


@lru_cache(maxsize=KEPT)
def _swept(shape: tuple[int, ...], points: tuple[Place, ...], size: int) -> Mask:
    covered = np.zeros(shape, bool)
    brush = disk(size)
    reach = len(brush) // 2
    for at in dabs(points, size):
        y, x = (round(v) for v in at)
        rows = slice(max(0, y - reach), min(shape[0], y + reach + 1))
        columns = slice(max(0, x - reach), min(shape[1], x + reach + 1))
        if rows.start < rows.stop and columns.start < columns.stop:
            top, left = y - reach, x - reach
            covered[rows, columns] |= brush[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
    covered.setflags(write=False)
    return covered


def dabs(points: Sequence[Place], size: int) -> list[Place]:
    """Return where the brush is put down along a path, as napari interpolates it."""
    found = [points[0]]
    for a, b in pairwise(points):
        steps = round(max(abs(b[0] - a[0]), abs(b[1] - a[1])) / size * 4)
        share = np.linspace(0, 1, steps + 1)[1:] if steps else np.zeros(1)
        found += [(float(a[0] + (b[0] - a[0]) * s), float(a[1] + (b[1] - a[1]) * s)) for s in share]
    return found


def filled(labels: Labels, at: tuple[int, int], label: int) -> Labels:
    """Return labels with the connected part at a place filled."""
    new = labels.copy()
    new[flood(labels, at, connectivity=1)] = label
    return new


def cropped(mask: Mask, margin: int = 2) -> tuple[Mask, tuple[int, int]]:
    """Return the part of a mask that is not empty with a margin around it, and where its corner is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(part, margin), (int(rows[0]) - margin, int(columns[0]) - margin)


@remembered
def centre(mask: Mask) -> tuple[tuple[int, int], float]:
    """Return the place deepest in a shape, and how wide the shape is there."""
    part, (top, left) = cropped(mask)
    deep = ndi.distance_transform_edt(part)
    y, x = np.unravel_index(int(deep.argmax()), deep.shape)
    return (int(y) + top, int(x) + left), max(1.0, 2 * float(deep[y, x]) - 1)


def slack(mask: Mask) -> float:
    """Return how far the ends of a line across a shape may be off."""
    return max(3.0, centre(mask)[1] / 4)


def largest(mask: Mask) -> Mask:
    """Return the largest connected part."""
    if not mask.any():
        return mask
    part, (top, left) = cropped(mask, 0)
    parts, count = ndi.label(part)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    found = np.zeros_like(mask)
    found[top : top + part.shape[0], left : left + part.shape[1]] = parts == sizes.argmax()
    return found


def widened(mask: Mask) -> Mask:
    """Return a shape with a rim of a pixel."""
    found = mask.copy()
    found[1:] |= mask[:-1]
    found[:-1] |= mask[1:]
    found[:, 1:] |= mask[:, :-1]
    found[:, :-1] |= mask[:, 1:]
    return found


@remembered
def strokes(mask: Mask, now: int) -> list[Stroke]:
    """Offer strokes that cover a shape: one dab, a straight stroke, a loop inside of its outline.

    Parameters
    ----------
    mask : (Y, X) bool
    now : int
        Size of the brush as it is, which costs nothing.
    """
    return list(dict.fromkeys(_strokes(mask, now))) if mask.any() else []


def _strokes(mask: Mask, now: int) -> Iterator[Stroke]:
    middle, width = centre(mask)
    points = np.argwhere(mask).astype(float)
    mass = points.mean(axis=0)
    round_size = _odd(2 * np.sqrt(len(points) / np.pi) - 0.5)
    near = max(1.0, width / 4)
    for size in sorted({now, round_size, _odd(width), _odd((width + round_size) / 2)}):
        if size <= 1.5 * round_size + 2:
            yield Stroke.along([mass], size, near)
    yield Stroke.along([middle], _odd(width), near)
    yield from _straight(points, mass, now, width)
    yield from _loops(mask, now, width)


def _odd(size: float) -> int:
    """Return a size of the brush that is as wide as it says."""
    return max(1, 2 * round((size - 1) / 2) + 1)


def _straight(
    points: npt.NDArray[np.float64], mass: npt.NDArray[np.float64], now: int, width: float
) -> Iterator[Stroke]:
    """Offer strokes along the long axis."""
    if len(points) < 4:
        return
    _, _, axes = np.linalg.svd(points - mass, full_matrices=False)
    along = (points - mass) @ axes[0]
    across = _odd(4 * ((points - mass) @ axes[1]).std())
    for size in sorted({now, across, _odd(width)}):
        first, last = along.min() + size / 2, along.max() - size / 2
        if last - first > 1 and size <= 2 * width + 2:
            ends = [mass + axes[0] * at for at in (first, last)]
            yield Stroke.along(ends, size, max(1.0, size / 3))


def _loops(mask: Mask, now: int, width: float) -> Iterator[Stroke]:
    """Offer strokes along the outline, so far inside that the brush reaches it."""
    part, corner = cropped(mask)
    deep = ndi.distance_transform_edt(part)
    for size in sorted({now, _odd(width / 2), _odd(width * 0.75)}):
        level = size // 2 + 0.5
        found = find_contours(deep, min(level, 0.95 * deep.max())) if level < deep.max() + 0.5 else []
        if found:
            path = approximate_polygon(max(found, key=len) + corner, 0.7)
            yield Stroke.along(path, size, max(1.0, size / 3))


@remembered
def outline(mask: Mask) -> tuple[Place, ...]:
    """Return the outline of a shape as a hand would draw it."""
    part, corner = cropped(mask)
    path = approximate_polygon(max(find_contours(part.astype(float), 0.5), key=len) + corner, 0.7)
    return tuple(reached(at) for at in path)
