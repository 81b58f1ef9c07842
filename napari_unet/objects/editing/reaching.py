"""Which of several seeds in an object each of its pixels is closest to, as ways inside the object go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from skimage.graph import MCP_Geometric
from skimage.measure import block_reduce
from skimage.segmentation import watershed

from napari_unet.objects.editing.changes import Mask
from napari_unet.objects.editing.similarity import finite, unit_of

Floats = npt.NDArray[np.floating]
Seeds = Sequence[tuple[int, ...]]

# Ways through so many pixels are looked for without letting other threads go first; larger objects are made coarser.
MOST_PX = 20_000


def divide(mask: Mask, seeds: Seeds, border: Floats | None, units: Sequence[float]) -> npt.NDArray[np.intp]:
    """Return the number of the seed, from 1 on, that the easiest way from each pixel leads to; 0 where none does.

    Parameters
    ----------
    mask : ([Z,] Y, X) bool
        The object.
    seeds : sequence of tuple of int
        In the object.
    border : ([Z,] Y, X) float, optional
        From 0 on, how much harder it is to pass.
    units : sequence of float
        Sides of a pixel.
    """
    depth = ndi.distance_transform_edt(np.pad(mask, 1), sampling=units)[(slice(1, -1),) * mask.ndim]
    hard = 1 / np.maximum(depth, 1)
    if border is not None:
        hard *= 1 + np.nan_to_num(border)  # to look for ways through what is no number ends the program
    step = _step(mask.shape)
    coarse = block_reduce(np.where(mask, hard, np.inf), step, np.min, cval=np.inf)
    found = _closest(coarse, [tuple(at // step for at in seed) for seed in seeds], units)
    if step == 1:
        return found
    markers = _enlarged(found, step, mask)
    for name, seed in enumerate(seeds, start=1):
        markers[seed] = name
    filled: npt.NDArray[np.intp] = watershed(hard, markers, mask=mask)
    return filled


def edges(image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return how steeply an image changes, from 0 to 1, where a quarter of its contrast within a pixel counts as 1.

    Parameters
    ----------
    image : (C, [Z,] Y, X)
        Values that are no numbers, or infinite, are taken for the darkest ones that are.

    Returns
    -------
    edges : ([Z,] Y, X) float32
        Within each plane; the strongest of all channels.
    """
    steep = np.zeros(image.shape[1:], np.float32)
    for channel in map(finite, image):
        planes = [ndi.gaussian_gradient_magnitude(plane, 1) for plane in channel.reshape(-1, *channel.shape[-2:])]
        steep = np.maximum(steep, np.stack(planes).reshape(channel.shape) / unit_of(channel))
    return np.minimum(steep, np.float32(1))


def _step(shape: Sequence[int]) -> int:
    """Return how coarse an object has to be made."""
    return max(1, int(np.ceil((np.prod(shape) / MOST_PX) ** (1 / len(shape)))))


def _closest(hard: Floats, seeds: Seeds, units: Sequence[float]) -> npt.NDArray[np.intp]:
    """Return the seed that is closest; ways do not lead through what is infinitely hard."""
    ways = np.stack([MCP_Geometric(hard, sampling=tuple(units)).find_costs([seed])[0] for seed in seeds])
    closest: npt.NDArray[np.intp] = np.where(np.isfinite(ways).any(axis=0), ways.argmin(axis=0) + 1, 0)
    return closest


def _enlarged(found: npt.NDArray[np.intp], step: int, mask: Mask) -> npt.NDArray[np.intp]:
    """Return what was found in a coarse object at its full size, but for a margin where pieces meet."""
    for axis in range(found.ndim):
        found = np.repeat(found, step, axis=axis)
    found = found[tuple(slice(0, n) for n in mask.shape)]
    side = 2 * step + 1
    high = ndi.maximum_filter(found, side)
    low = ndi.minimum_filter(np.where(found == 0, high, found), side)
    kept: npt.NDArray[np.intp] = np.where((high == low) & mask, found, 0)
    return kept
