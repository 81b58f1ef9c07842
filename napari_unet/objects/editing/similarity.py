"""Where an image looks as it does at a click, for models that say nothing about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi


def similarity(image: npt.NDArray[Any], point: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return how much each pixel looks like that at a point, from 0 to 1.

    Brightness is compared after a little smoothing, in units of a quarter of the contrast around.

    Parameters
    ----------
    image : (C, [Z,] Y, X)
        A window around the point.
    point : sequence of int
        In the window.

    Returns
    -------
    similarity : ([Z,] Y, X) float32
    """
    far = np.zeros(image.shape[1:], np.float32)
    for channel in image:
        smooth = ndi.gaussian_filter(finite(channel), 1)
        far += ((smooth - smooth[tuple(point)]) / unit_of(smooth)) ** 2
    alike: npt.NDArray[np.float32] = np.exp(-far / (2 * len(image)))
    return alike


def finite(channel: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a channel in which what is no number, or infinite, is as dark as the darkest pixel that is known."""
    values = channel.astype(np.float32)
    known = np.isfinite(values)
    if not known.all():
        values[~known] = values[known].min() if known.any() else 0
    return values


def unit_of(channel: npt.NDArray[np.float32]) -> float:
    """Return a quarter of the contrast of a channel; above 0 also where there is none."""
    low, high = np.percentile(channel, (2, 98))
    return max((float(high) - float(low)) / 4, 1e-6 * max(1.0, abs(float(high))))
