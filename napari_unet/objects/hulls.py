"""Convex hulls of objects: how full they are, and the largest diameter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def hull_measures(
    runs: npt.NDArray[np.int32], count: int, spacing: tuple[float, float, float], *, flat: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Measure the convex hull of the corners of each object's pixels.

    Parameters
    ----------
    runs : (runs, 5) int32
        Where each object lies in each row: the object's number, z, y, where x starts and stops.
    count : int
        Of objects.
    spacing : tuple of float
        Of pixels along Z, Y and X.
    flat : bool
        Whether there is one slice only: then the hull is a polygon.

    Returns
    -------
    (count,) float64
        Pixels within the hull.
    (count,) float64
        The largest distance between two corners (Feret diameter), in the unit of `spacing`.
    """
    from scipy.spatial import ConvexHull

    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    ends = np.searchsorted(runs[:, 0], np.arange(count + 1))
    sizes, diameters = np.zeros(count), np.zeros(count)
    scale = np.array(spacing[1:] if flat else spacing)
    for number in range(count):
        corners = _corners(runs[ends[number] : ends[number + 1]], flat=flat)
        hull = ConvexHull(corners)
        vertices = corners[hull.vertices] * scale
        sizes[number] = hull.volume  # of a polygon, this is its area
        diameters[number] = _diameter(vertices)
    return sizes, diameters


def _corners(runs: npt.NDArray[np.int32], *, flat: bool) -> npt.NDArray[np.float64]:
    """Return the corners of the first and last pixel of each run, along Z, Y, X or, if flat, along Y, X."""
    start, stop = runs[:, [1, 2, 3]], runs[:, [1, 2, 4]]
    deep = [(z, y, 0) for z in ((0,) if flat else (0, 1)) for y in (0, 1)]
    corners = np.concatenate([end + shift for end in (start, stop) for shift in np.array(deep)])
    return corners[:, 1 if flat else 0 :].astype(np.float64)


def _diameter(vertices: npt.NDArray[np.float64]) -> float:
    """Return the largest distance between two points."""
    square = (vertices**2).sum(axis=1)
    distances = square[:, None] + square - 2 * vertices @ vertices.T
    one, other = np.unravel_index(distances.argmax(), distances.shape)
    return float(np.linalg.norm(vertices[one] - vertices[other]))
