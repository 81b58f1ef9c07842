"""Which pixels are inside of an outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError

MAX_CROSSINGS = 2**27
"""Of outlines with rows of pixels; more than any microscope's image needs, and few enough for the memory."""

Points = npt.NDArray[np.floating[Any]]
Box = tuple[slice, slice]


def fill(rings: Sequence[Points], shape: tuple[int, int]) -> tuple[Box, npt.NDArray[np.bool_]]:
    """Find the pixels whose centre is inside of an odd number of rings.

    Parameters
    ----------
    rings : sequence of (corners, 2) arrays
        x and y; the pixel at column 3 of row 5 is the square from (3, 5) to (4, 6). Closed or not.
    shape : tuple of int
        Of the image, Y and X; what is outside is left out.

    Returns
    -------
    tuple of slice
        The box along Y and X that holds them.
    (y, x) bool array
        Which pixels of the box they are.

    Raises
    ------
    LabelsError
        If a corner is no number, or there are too many.

    Examples
    --------
    >>> box, inside = fill([np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 2.0], [1.0, 2.0]])], (4, 4))
    >>> box, inside.tolist()
    ((slice(1, 2, None), slice(1, 3, None)), [[True, True]])
    """
    rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings if len(ring) > 2]
    box = _box(rings, shape)
    top, left = box[0].start, box[1].start
    height, width = box[0].stop - top, box[1].stop - left
    # where a row comes to a crossing, it changes between inside and outside
    changes = np.zeros((height, width + 1), np.int32)
    for rows, columns in _crossings(rings, box):
        np.add.at(changes, (rows - top, columns - left), 1)
    return box, (np.cumsum(changes, axis=1)[:, :width] & 1).astype(bool)


def area(rings: Sequence[Points]) -> float:
    """Return the area inside of rings in pixels, those that turn the other way subtracted."""
    total = 0.0
    for ring in rings:
        x, y = np.asarray(ring, np.float64).reshape(-1, 2).T
        total += float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    return abs(total)


def _box(rings: Sequence[Points], shape: tuple[int, int]) -> Box:
    """Return the part of the image that the rings can reach."""
    if not rings:
        return slice(0, 0), slice(0, 0)
    points = np.concatenate(rings)
    if not np.isfinite(points).all():
        raise LabelsError("An outline has corners that are no numbers. Save it again in the program that made it.")
    last = np.array([shape[1], shape[0]])
    x, y = np.clip(np.floor(points.min(axis=0)), 0, last).astype(int).tolist()
    x_stop, y_stop = np.clip(np.ceil(points.max(axis=0)), 0, last).astype(int).tolist()
    return slice(y, y_stop), slice(x, x_stop)


def _crossings(rings: Sequence[Points], box: Box) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return where the rings cross the middle of rows: the row, and the first column whose centre is not left of it."""
    found, total = [], 0
    for ring in rings:
        x, y = ring.T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), box[0].start, box[0].stop).astype(np.int64)
        stop = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), box[0].start, box[0].stop).astype(np.int64)
        counts = stop - first
        total += int(counts.sum())
        if total > MAX_CROSSINGS:
            raise LabelsError("An outline crosses more rows of pixels than can be filled. It is damaged or malicious.")
        edge = np.repeat(np.arange(x.size), counts)
        rows = first[edge] + np.arange(edge.size) - np.repeat(np.cumsum(counts) - counts, counts)
        slope = (next_x - x)[edge] / (next_y - y)[edge]
        across = x[edge] + (rows + 0.5 - y[edge]) * slope
        columns = np.clip(np.ceil(across - 0.5), box[1].start, box[1].stop).astype(np.int64)
        found.append((rows, columns))
    return found
