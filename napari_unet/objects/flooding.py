"""A seeded watershed of any image in windows, equal to that of the whole image.

Seeds are the same in every window, so nothing is stitched: a window says to which seed of the whole
image each of its pixels belongs. What a window cannot see might reach it through its rim. It is
given every advantage: all foreground on the rim floods the window from the start, as one unknown
object. Pixels that a known seed still reaches first are therefore certain: all floods rise together,
and one that starts elsewhere or takes a detour only comes later. The others are computed again in a
larger window around them. The largest window trusts that nothing comes from outside: only there
can a result differ, for pixels that are farther from their seed than it reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.blocks import Array, Box, Ids, Part, grow, volume, within
from napari_unet.objects.large import MOST_SEEDS, PIECE
from napari_unet.objects.pixels import Mask, Probabilities, exceeds


@dataclass(frozen=True, slots=True)
class Flood:
    """Everything that a window needs.

    Attributes
    ----------
    probabilities, codes : Part
        Background, interior and border; and for each pixel 0 (background), the id of its seed, or
        `PIECE` minus the id of its piece of foreground.
    shape : tuple of int
        Of the plane or volume.
    seed_threshold : float
    seeds, pieces : (n,) int64
        Which ids are the same seed, and the same piece of foreground.
    seeded : (n,) bool
        Which pieces of foreground have a seed.
    limit : int
        Windows have at most so many pixels.
    """

    probabilities: Part
    codes: Part
    shape: tuple[int, ...]
    seed_threshold: float
    seeds: Ids
    pieces: Ids
    seeded: npt.NDArray[np.bool_]
    limit: int

    @property
    def unknown(self) -> int:
        """The marker of whatever might come from outside of a window."""
        return len(self.seeds)

    def label(self, box: Box, halo: int) -> Array:
        """Return the codes of a box with every pixel given to its object.

        Foreground that nothing reaches keeps the code of its piece: because it has no seed, or
        because the way from its seed does not fit into the largest window.
        """
        codes = self.codes.read(box)
        grown = self._grow(box, halo)
        is_piece = codes > MOST_SEEDS
        own = PIECE - self.pieces[np.where(is_piece, PIECE - codes.astype(np.int64), 0)]
        return np.where(grown > 0, grown, np.where(is_piece, own, 0)).astype(np.uint32)

    def _grow(self, box: Box, halo: int) -> Array:
        """Return to which seed each pixel of a box belongs, 0 where to none."""
        last = volume(grow(box, 2 * halo, self.shape)) > self.limit or grow(box, halo, self.shape) == self._everything
        grown = self._window(box, halo, trusting=last)
        for part in _parts(grown == self.unknown, 2 * halo):
            place = tuple(slice(b.start + p.start, b.start + p.stop) for b, p in zip(box, part, strict=True))
            again = self._grow(place, 2 * halo)
            grown[part] = np.where(grown[part] == self.unknown, again, grown[part])
        return grown

    @property
    def _everything(self) -> Box:
        return tuple(slice(0, size) for size in self.shape)

    def _window(self, box: Box, halo: int, *, trusting: bool) -> Array:
        """Flood one window, and return what came out in the box; `trusting` that nothing comes through the rim."""
        window = grow(box, halo, self.shape)
        inner = within(box, window)
        codes = self.codes.read(window)
        interior = self.probabilities.read_class(1, window)
        seed = (codes > 0) & exceeds(interior, self.seed_threshold)
        is_piece = codes > MOST_SEEDS
        reachable = self.seeded[np.where(is_piece, PIECE - codes.astype(np.int64), 0)] | ((codes > 0) & ~is_piece)
        free = reachable & ~seed
        markers = np.where(seed, self.seeds[np.where(seed, codes, 0)], 0).astype(np.int32)
        if not free[inner].any():
            return markers[inner]
        if not trusting:
            markers[_rim(window, self.shape) & free] = self.unknown
        return flooded(interior, markers, seed, free)[inner]


def flooded(interior: Probabilities, markers: Array, seed: Mask, free: Mask) -> Array:
    """Flood free pixels from markers, downhill from the interior.

    Parameters
    ----------
    interior : ([Z,] Y, X) float32 or uint8
    markers : ([Z,] Y, X) int32
        Of seeds, and of what else the flood comes from.
    seed, free : ([Z,] Y, X) bool
        Where seeds are, and what is to be flooded.
    """
    from skimage.segmentation import watershed

    # Inside of seeds there is nothing to flood, and most pixels are inside of seeds.
    mask = free | (seed & _beside(free))
    # Not one minus the float: that would make small ones equal.
    depth = 255 - interior if interior.dtype == np.uint8 else -interior
    found: Array = watershed(depth, np.where(mask, markers, 0), mask=mask)
    return np.where(seed, markers, found)


def _rim(window: Box, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Where a window ends although the image goes on."""
    rim = np.zeros([part.stop - part.start for part in window], dtype=bool)
    for axis, (part, size) in enumerate(zip(window, shape, strict=True)):
        along = np.moveaxis(rim, axis, 0)
        along[0] |= part.start > 0
        along[-1] |= part.stop < size
    return rim


def _beside(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where a pixel has a neighbour in a mask."""
    beside = np.zeros_like(mask)
    for axis in range(mask.ndim):
        to, source = np.moveaxis(beside, axis, 0), np.moveaxis(mask, axis, 0)
        to[1:] |= source[:-1]
        to[:-1] |= source[1:]
    return beside


def _parts(mask: npt.NDArray[np.bool_], cell: int) -> Iterator[Box]:
    """Yield boxes that contain a mask; what lies within about a `cell` of each other shares one."""
    if not mask.any():
        return
    coarse = mask
    for axis, size in enumerate(mask.shape):
        coarse = np.logical_or.reduceat(coarse, np.arange(0, size, cell), axis=axis)
    groups, _ = ndi.label(coarse, ndi.generate_binary_structure(mask.ndim, mask.ndim))
    for cells in ndi.find_objects(groups):
        box = tuple(slice(c.start * cell, min(size, c.stop * cell)) for c, size in zip(cells, mask.shape, strict=True))
        for inside in ndi.find_objects(mask[box].astype(np.uint8)):
            yield tuple(slice(b.start + i.start, b.start + i.stop) for b, i in zip(box, inside, strict=True))
