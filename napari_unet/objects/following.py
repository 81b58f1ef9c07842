"""Objects from flows: pixels of the foreground move towards the middle of their object, and those that meet are one.

They do not move step by step. In 2n steps a pixel goes where it goes in n steps, and from there where that place goes
in n steps: so six looks at a map replace 64 steps. None sees farther than `Pace.seen_px`, and a window with as much
around it gives what the whole image gives, to the last bit.

References
----------
Stringer et al. (2021), Cellpose, https://doi.org/10.1038/s41592-020-01018-x (flows; there, 200 steps are taken).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.pixels import Mask, Probabilities, complement, exceeds

# Pixels take 2**6 steps; half as many where these are longer than a pixel.
MOST_DOUBLINGS, LEAST_DOUBLINGS = 6, 5
# Where so many pixels end is the middle of an object.
LEAST_ENDS = 2
# So many pixels are moved at once, for the sake of memory.
AT_ONCE_PX = 2**18

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Places = tuple[Indices, Indices]


@dataclass(frozen=True, slots=True)
class Pace:
    """How far pixels go.

    Attributes
    ----------
    step_px : float
        The longest step along each axis.
    """

    step_px: float = 1.0

    @property
    def doublings(self) -> int:
        """They take two to the power of so many steps: so about as far on images that a network saw smaller."""
        return max(LEAST_DOUBLINGS, MOST_DOUBLINGS - max(0, math.ceil(math.log2(self.step_px))))

    @property
    def farthest_px(self) -> int:
        """A pixel ends at most so far away along each axis."""
        return math.ceil(self.step_px * (1 << self.doublings))

    @property
    def seen_px(self) -> int:
        """What lies farther away changes nothing: each look takes in the pixel beside the place it looks at."""
        return self.farthest_px + self.doublings

    def seen_around(self, reach_px: int) -> int:
        """How many pixels around a box tell where all objects have their middle in it."""
        return reach_px + self.farthest_px + self.seen_px


def find_by_flows(block: Probabilities, options: ObjectOptions) -> npt.NDArray[np.int32]:
    """Make objects of pixels whose flows end together.

    Parameters
    ----------
    block : (5, Y, X) float32, or uint8 from 0 to 255 for 0 to 1
        Probabilities of background, interior and border, of which the first is used, and flows.
    options : ObjectOptions
        Threshold of the foreground, the length of a step, and how far apart flows of one object may end.

    Returns
    -------
    (Y, X) int32
        Ids from 1, in the order in which the middles begin; 0 for background, and for pixels that end alone.
    """
    foreground = foreground_of(block, options)
    ends = ends_of(flows_of(block), foreground, Pace(options.step_px))
    middles, _ = ndi.label(middles_of(ends, foreground.shape, options.reach_px))
    labels = np.zeros(foreground.shape, np.int32)
    labels[foreground] = middles[ends]
    return np.where(foreground & (middles > 0), middles, labels)


def foreground_of(block: Probabilities, options: ObjectOptions) -> Mask:
    """Return which pixels of (K, Y, X) probabilities are foreground."""
    return exceeds(complement(block[0]), options.threshold)


def flows_of(block: Probabilities) -> Floats:
    """Return how far each pixel moves in one step, (2, Y, X) from -1 to 1, from the last two of (5, Y, X) maps."""
    flows: Floats = block[-2:] * np.float32(2 / 255 if block.dtype == np.uint8 else 2) - np.float32(1)
    return flows


def middles_of(ends: Places, shape: tuple[int, ...], reach_px: int) -> Mask:
    """Return where objects have their middle: less than `reach_px` pixels beside places where several pixels end."""
    counts = np.bincount(np.ravel_multi_index(ends, shape), minlength=shape[0] * shape[1]).reshape(shape)
    middles: Mask = ndi.maximum_filter(counts >= LEAST_ENDS, 2 * reach_px - 1, mode="constant")
    return middles


def ends_of(flows: Floats, foreground: Mask, pace: Pace = Pace()) -> Places:
    """Return where pixels end.

    Parameters
    ----------
    flows : (2, Y, X) float32
        How far a pixel moves along Y and X in one step, from -1 to 1 of the longest one.
    foreground : (Y, X) bool
        Which pixels move. A pixel that leaves it stays where it is then.
    pace : Pace

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
    moved.real[places], moved.imag[places] = flows[:, foreground] * np.float32(pace.step_px)
    for _ in range(pace.doublings):
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
