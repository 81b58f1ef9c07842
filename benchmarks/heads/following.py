"""Objects from flows: pixels of the foreground move towards the middle of their object, and those that meet are one.

They do not move step by step. In 2n steps a pixel goes where it goes in n steps, and from there where that place goes
in n steps: so seven looks at a map replace 128 steps. None sees farther than these would take it, and a window with as
much around it gives what the whole image gives.

References
----------
Stringer et al. (2021), Cellpose, https://doi.org/10.1038/s41592-020-01018-x (flows; there, 200 steps are taken).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.pixels import Mask

# Pixels take 2**DOUBLINGS steps.
DOUBLINGS = 7
# Where so many pixels end is the middle of an object.
LEAST_ENDS = 2

Floats = npt.NDArray[np.float32]


def find_by_flows(flows: Floats, foreground: Mask, reach: int = 3) -> npt.NDArray[np.int32]:
    """Make objects of pixels whose flows end together.

    Parameters
    ----------
    flows : (2, Y, X) float32
        How far a pixel moves along Y and X in one step, from -1 to 1 pixel.
    foreground : (Y, X) bool
        Which pixels move. A pixel that leaves it stays where it is then.
    reach : int
        Pixels that end less than `reach` pixels beside the middle of an object belong to it, and so do those of
        another middle if these surroundings touch.

    Returns
    -------
    (Y, X) int32
        Ids from 1; 0 for background, and for pixels that end alone.
    """
    ends = ends_of(flows, foreground)
    counts = np.zeros(foreground.shape, np.int32)
    np.add.at(counts, ends, 1)
    middles, _ = ndi.label(ndi.maximum_filter(counts >= LEAST_ENDS, 2 * reach - 1), np.ones((3, 3)))
    labels = np.zeros(foreground.shape, np.int32)
    labels[foreground] = middles[ends]
    return labels


def ends_of(flows: Floats, foreground: Mask) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return where pixels end.

    Parameters
    ----------
    flows : (2, Y, X) float32
        As for `find_by_flows`.
    foreground : (Y, X) bool

    Returns
    -------
    rows, columns : (n,) integers
        Of each pixel of the foreground, in C order.
    """
    moved = flows * foreground
    begin = np.stack(np.nonzero(foreground)).astype(float)
    last = np.reshape(foreground.shape, (2, 1)) - 1
    for _ in range(DOUBLINGS):
        at = np.clip(begin + moved[:, foreground], 0, last)
        further = [ndi.map_coordinates(along, at, order=1, mode="nearest") for along in moved]
        moved[:, foreground] = at - begin + further
    rows, columns = np.rint(np.clip(begin + moved[:, foreground], 0, last)).astype(np.intp)
    return rows, columns
