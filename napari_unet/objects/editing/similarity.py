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
        smooth = ndi.gaussian_filter(channel.astype(np.float32), 1)
        low, high = np.percentile(smooth, (2, 98))
        unit = max((float(high) - float(low)) / 4, 1e-6 * max(1.0, abs(float(high))))
        far += ((smooth - smooth[tuple(point)]) / unit) ** 2
    alike: npt.NDArray[np.float32] = np.exp(-far / (2 * len(image)))
    return alike
