"""What a head besides the classes is taught."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy import ndimage as ndi

MOST_HEATING = 200

Array: TypeAlias = np.ndarray[Any, Any]


def distance_targets(labels: Array) -> Array:
    """Return the distance to the object's edge over its largest, (N, Y, X) float32, of (N, Y, X) object ids.

    Where objects touch, each has its own edge. The edge of a patch is no edge of an object.
    """
    distance = np.zeros(labels.shape, np.float32)
    for plane, out in zip(labels, distance, strict=True):
        for number, box in enumerate(ndi.find_objects(plane), start=1):
            if box is not None:
                around = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
                inside = plane[around] == number
                far = np.ones(inside.shape) if inside.all() else ndi.distance_transform_edt(inside)
                out[around][inside] = far[inside] / far.max()
    return distance


def flow_targets(labels: Array) -> Array:
    """Return unit vectors (N, 2, Y, X) float32, Y first, that lead to the middle of each object of (N, Y, X) ids.

    Heat spreads inside of each object from the pixel that is nearest to the median of its pixels, and the vectors point
    where it is warmer.

    References
    ----------
    Stringer et al. (2021), https://doi.org/10.1038/s41592-020-01018-x.
    """
    padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)))
    own = [((beside == labels) & (labels > 0)).astype(np.float32) for beside in _beside(padded)]
    sources, steps = _sources(labels)
    heat = np.zeros(padded.shape, np.float32)
    for _ in range(min(steps, MOST_HEATING)):
        middle = heat[:, 1:-1, 1:-1] + sources
        heat[:, 1:-1, 1:-1] = (middle + sum(o * b for o, b in zip(own, _beside(heat), strict=True))) / 5
    up, down, left, right = (o * b for o, b in zip(own, _beside(np.log1p(heat)), strict=True))
    flows = np.stack([down - up, right - left], axis=1)
    return flows / np.maximum(np.linalg.norm(flows, axis=1, keepdims=True), 1e-12)


def _sources(labels: Array) -> tuple[Array, int]:
    """Return 1 in the middle of each object of (N, Y, X) ids, and in how many steps heat fills the largest."""
    sources, steps = np.zeros(labels.shape, np.float32), 0
    for plane, source in zip(labels, sources, strict=True):
        for number, box in enumerate(ndi.find_objects(plane), start=1):
            if box is not None:
                places = np.argwhere(plane[box] == number)
                nearest = places[((places - np.median(places, axis=0)) ** 2).sum(axis=1).argmin()]
                source[box][tuple(nearest)] = 1
                steps = max(steps, 2 * sum(part.stop - part.start for part in box))
    return sources, steps


def _beside(padded: Array) -> tuple[Array, Array, Array, Array]:
    """Return views of (N, Y + 2, X + 2) that hold the pixel above, below, left and right of each."""
    return padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
