"""The object that the network suggests at a click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.errors import LabelsError
from napari_unet.objects.editing.changes import Mask

Floats = npt.NDArray[np.floating]

# Below this the network sees nothing at all.
LEAST = 0.02
# Neighbours begin where the network is at least so sure of an interior.
SURE = 0.5


def propose(
    foreground: Floats, free: Mask, point: Sequence[int], threshold: float = 0.5, interior: Floats | None = None
) -> Mask:
    """Return the object at a point as the network sees it.

    It is what a watershed on the probability gives the point against its neighbours, with its holes filled. It
    always holds the point: where the probability there is below the threshold, less is asked for.

    Parameters
    ----------
    foreground : ([Z,] Y, X) float
        Probability of any object, in a window around the point.
    free : ([Z,] Y, X) bool
        Pixels that belong to no other object.
    point : sequence of int
        In the window.
    threshold : float
        From 0 to 1. The lower, the larger the object.
    interior : ([Z,] Y, X) float, optional
        Probability of the inside of an object, that tells neighbours apart.

    Raises
    ------
    LabelsError
        If the network sees nothing there, or another object is there.
    """
    place = tuple(point)
    if not free[place]:
        raise LabelsError("Another object is here. Erase or divide it first, or click beside it.")
    here = float(foreground[place])
    if here < LEAST:
        raise LabelsError("The network sees no object here. Paint it with the brush.")
    region = (foreground >= min(threshold, 0.9 * here)) & free
    inside = foreground if interior is None else interior
    cores, _ = ndi.label(inside >= max(SURE, threshold)) if interior is not None else (np.zeros(region.shape, int), 0)
    own = int(cores[place])
    markers = np.where(region, cores, 0).astype(np.int32)
    number = own or int(markers.max()) + 1
    markers[place] = number
    pieces = watershed(-inside, markers, mask=region)
    planes = (pieces == number).reshape(-1, *region.shape[-2:])
    filled: Mask = np.stack([ndi.binary_fill_holes(plane) for plane in planes]).reshape(region.shape)
    return filled & free
