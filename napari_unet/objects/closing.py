"""Walls that are continued where their probability is too faint to call them so.

A membrane that is lost in a single place makes one cell of two. Its probability still has a crest there, lower than
the threshold, and the crest is found by a watershed without seeds: pixels in which the basins of two cells meet.

References
----------
Beucher and Lantuéjoul (1979), Use of watersheds in contour detection; the basins are those that are deeper than `DEPTH`
(Soille 2003, Morphological Image Analysis, https://doi.org/10.1007/978-3-662-05088-0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.pixels import Decodable, Probabilities, classify, has_background

SMOOTHING_PX = 2.0
# In probability: between two basins of which one is not that deep there is no wall.
DEPTH = 0.1
# Walls are lines, but for a few places. A class may be one if so many of its pixels are at most so far from others,
MOST_HALF_WIDTH_PX, THIN_SHARE = 5.0, 0.75
# and if it keeps apart at least so many pieces of a size that matters.
MIN_CELLS, MIN_CELL_PX = 4, 50


def find_classes(block: Probabilities, spec: Decodable, options: ObjectOptions) -> npt.NDArray[Any]:
    """Return the class of each pixel of (K, [Z,] Y, X) probabilities, 0 for background; gaps may get closed."""
    labels = classify(block, spec, options)
    return close_gaps(labels, block, spec) if options.close_gaps else labels


def close_gaps(labels: npt.NDArray[Any], block: Probabilities, spec: Decodable) -> npt.NDArray[Any]:
    """Draw walls on where they have gaps.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
        Class of each pixel, 0 for background.
    block : (K, [Z,] Y, X) float32, or uint8 from 0 to 255 for 0 to 1
        Probabilities that they come from.
    spec : ModelSpec
        What the K classes mean.

    Returns
    -------
    ([Z,] Y, X) integer
        The same, with lines through background, a pixel wide, of the class that is likeliest there; pieces of
        background on both sides of one have no face in common.
    """
    from skimage.morphology import h_minima
    from skimage.segmentation import watershed

    background = has_background(spec, len(block))
    classes = block[1:] if background else block
    wall = 1 - _shares(block[0]) if background else _shares(classes.max(axis=0))
    wall = ndi.gaussian_filter(wall, SMOOTHING_PX)
    basins = watershed(wall, ndi.label(h_minima(wall, DEPTH))[0])
    line = _before_another(basins) & (labels == 0)
    return np.where(line, classes.argmax(axis=0) + 1, labels)


def are_walls(labels: npt.NDArray[Any], known: npt.NDArray[np.bool_]) -> bool:
    """Tell whether classes are lines that keep cells apart, as membranes are.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
        Classes, 0 for background.
    known : ([Z,] Y, X) bool
        Where they are certain.

    Returns
    -------
    bool
        False also where too little is known to tell.
    """
    drawn = known & (labels > 0)
    if not drawn.any():
        return False
    width = np.quantile(ndi.distance_transform_edt(labels > 0)[drawn], THIN_SHARE)
    return bool(width <= MOST_HALF_WIDTH_PX) and _pieces(known & (labels == 0)) - _pieces(known) >= MIN_CELLS


def _pieces(mask: npt.NDArray[np.bool_]) -> int:
    """Count the connected pieces of a size that matters."""
    return int((np.bincount(ndi.label(mask)[0].ravel())[1:] >= MIN_CELL_PX).sum())


def _shares(values: Probabilities) -> npt.NDArray[np.float32]:
    """Return probabilities from 0 to 1."""
    return values.astype(np.float32) / np.float32(255 if values.dtype == np.uint8 else 1)


def _before_another(basins: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where the next pixel along some axis lies in another basin."""
    line = np.zeros(basins.shape, bool)
    for axis in range(basins.ndim):
        along, values = np.moveaxis(line, axis, 0), np.moveaxis(basins, axis, 0)
        along[:-1] |= values[:-1] != values[1:]
    return line
