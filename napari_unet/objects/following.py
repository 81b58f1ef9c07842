"""Objects from flows: pixels of the foreground move towards the middle of their object, and those that meet are one.

They do not move step by step. In 2n steps a pixel goes where it goes in n steps, and from there where that place goes
in n steps: so six looks at a map replace 64 steps. None sees farther than `SEEN_PX`, and a window with as much around
it gives what the whole image gives, to the last bit. Pixels of larger objects do not get to the middle, but so near to
each other that they meet.

References
----------
Stringer et al. (2021), Cellpose, https://doi.org/10.1038/s41592-020-01018-x (flows; there, 200 steps are taken).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.pixels import Mask, Probabilities, foreground_of

# Pixels take 2**DOUBLINGS steps of at most a pixel along each axis.
DOUBLINGS = 6
STEPS_PX = 1 << DOUBLINGS
# What lies farther away does not change where a pixel ends: each look takes in those beside the place it looks at.
SEEN_PX = STEPS_PX + DOUBLINGS
# Background, interior, border, and flows along Y and X.
MAPS = 5
# Where so many pixels end is the middle of an object.
LEAST_ENDS = 2
# So many pixels are moved at once, for the sake of memory.
AT_ONCE_PX = 2**18

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Places = tuple[Indices, Indices]


def find_by_flows(block: Probabilities, options: ObjectOptions) -> npt.NDArray[np.int32]:
    """Make objects of pixels whose flows end together.

    Parameters
    ----------
    block : (5, Y, X) float32, or uint8 from 0 to 255 for 0 to 1
        Probabilities of background, interior and border, of which the first is used, and flows.
    options : ObjectOptions
        Threshold of the foreground, and how far apart pixels of one object may end.

    Returns
    -------
    (Y, X) int32
        Ids from 1, in the order in which the middles begin; 0 for background, and for pixels that end alone.
    """
    assert len(block) == MAPS, "three classes and two flows"
    foreground, ends = followed(block, options)
    middles, _ = ndi.label(middles_of(ends, foreground.shape, options.reach_px))
    return given_to(middles, foreground, ends)


def followed(block: Probabilities, options: ObjectOptions) -> tuple[Mask, Places]:
    """Return which pixels of (5, Y, X) maps are foreground, and where these end."""
    foreground = foreground_of(block, options)
    return foreground, ends_of(flows_of(block), foreground)


def given_to(middles: npt.NDArray[Any], foreground: Mask, ends: Places) -> npt.NDArray[Any]:
    """Return the middle (Y, X) that each pixel of the foreground lies or else ends in, 0 for none."""
    given = np.where(foreground, middles, 0)
    own = given[foreground]
    given[foreground] = np.where(own > 0, own, middles[ends])
    return given


def flows_of(block: Probabilities) -> Floats:
    """Return how far each pixel moves in one step, (2, Y, X) from -1 to 1, from the last two of (5, Y, X) maps."""
    flows: Floats = block[-2:] * np.float32(2 / 255 if block.dtype == np.uint8 else 2) - np.float32(1)
    return flows


def middles_of(ends: Places, shape: tuple[int, ...], reach_px: int) -> Mask:
    """Return where objects have their middle: around places where several pixels end.

    What is around two of them touches if they are at most `reach_px` apart along an axis.
    """
    counts = np.bincount(np.ravel_multi_index(ends, shape), minlength=shape[0] * shape[1]).reshape(shape)
    middles: Mask = ndi.maximum_filter(counts >= LEAST_ENDS, reach_px, mode="constant")
    return middles


def ends_of(flows: Floats, foreground: Mask) -> Places:
    """Return where pixels end.

    Parameters
    ----------
    flows : (2, Y, X) float32
        How far a pixel moves along Y and X in one step, from -1 to 1 pixel.
    foreground : (Y, X) bool
        Which pixels move. A pixel that leaves it stays where it is then.

    Returns
    -------
    rows, columns : (n,) integers
        Of each pixel of the foreground, in C order.
    """
    height, width = foreground.shape
    places = np.flatnonzero(foreground)
    # Rows are the real part and columns the imaginary one: so both are looked up at once. What is appended is looked at
    # beside the last pixels, and does not count.
    moved = np.zeros(height * width + width + 1, np.complex64)
    moved.real[places], moved.imag[places] = flows[:, foreground]
    for _ in range(DOUBLINGS):
        further = moved.copy()
        for some in np.array_split(places, len(places) // AT_ONCE_PX + 1):
            further[some] = _twice(moved, some, (height, width))
        moved = further
    begin = np.unravel_index(places, foreground.shape)
    far = (moved[places].real, moved[places].imag)
    rows, columns = (
        np.clip(at + np.rint(way).astype(np.intp), 0, size - 1)
        for at, way, size in zip(begin, far, foreground.shape, strict=True)
    )
    return rows, columns


def _twice(moved: npt.NDArray[np.complex64], places: Indices, shape: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """From how far all pixels move in n steps to how far some move in 2n.

    The share of each pixel beside the place where one is after n steps comes from the way alone, so it is the same
    wherever a window around it begins.
    """
    rows, columns = np.divmod(places, shape[1])
    far = moved[places]
    down = np.clip(far.real, -rows, shape[0] - 1 - rows).astype(np.float32)
    right = np.clip(far.imag, -columns, shape[1] - 1 - columns).astype(np.float32)
    whole_down, whole_right = np.floor(down), np.floor(right)
    at = places + whole_down.astype(np.intp) * shape[1] + whole_right.astype(np.intp)
    share_down, share_right = down - whole_down, right - whole_right
    above: npt.NDArray[np.complex64] = moved[at]
    below = moved[at + shape[1]]
    above += (moved[at + 1] - above) * share_right
    below += (moved[at + shape[1] + 1] - below) * share_right
    above += (below - above) * share_down
    above.real += down
    above.imag += right
    return above
