"""What a head besides the classes is taught."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy import ndimage as ndi

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
