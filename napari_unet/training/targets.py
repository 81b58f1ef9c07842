"""What the network is taught: classes and weights from object labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor
from torch.nn import functional as F

BACKGROUND, INTERIOR, BORDER = 0, 1, 2
TOUCHING_WEIGHT = 3.0


def class_targets(labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Turn object labels into background, interior and border.

    The border is the outermost pixel of each object, so that touching objects are two pixels apart
    inside. The edge of the image is no border.

    Parameters
    ----------
    labels : ([Z,] Y, X) uint32

    Returns
    -------
    ([Z,] Y, X) uint8
        0 background, 1 interior, 2 border.

    >>> class_targets(np.array([[0, 1, 1, 1, 2, 2]], np.uint32)).tolist()
    [[0, 2, 1, 2, 2, 1]]
    """
    inside = ndi.maximum_filter(labels, size=3) == ndi.minimum_filter(labels, size=3)
    return np.where(labels == 0, BACKGROUND, np.where(inside, INTERIOR, BORDER)).astype(np.uint8)


def touching_weights(labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Weigh pixels within two pixels of two different objects, which decide about merging.

    Parameters
    ----------
    labels : ([Z,] Y, X) uint32

    Returns
    -------
    ([Z,] Y, X) float32
        1, or 3 where objects touch or nearly touch.
    """
    nothing = np.iinfo(np.uint32).max
    highest = ndi.maximum_filter(labels, size=5)
    lowest = ndi.minimum_filter(np.where(labels == 0, nothing, labels), size=5)
    return np.where((highest > 0) & (lowest < highest), TOUCHING_WEIGHT, 1.0).astype(np.float32)


def patch_targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Make classes and weights of patches of object labels, as `class_targets` and `touching_weights` do of one.

    Labels can be turned and resampled, and the border that is drawn then is as thin and whole as ever. Classes cannot:
    a turned border has gaps.

    Parameters
    ----------
    labels : (N, [Z,] Y, X)

    Returns
    -------
    target : (N, [Z,] Y, X) int64
    weight : (N, [Z,] Y, X) float32
    """
    objects = labels.float()[:, None]
    inside = _highest(objects, 3) == -_highest(-objects, 3)
    target = torch.where(objects == 0, BACKGROUND, torch.where(inside, INTERIOR, BORDER))
    lowest = -_highest(-objects.masked_fill(objects == 0, torch.inf), 5)
    highest = _highest(objects, 5)
    weight = torch.where((highest > 0) & (lowest < highest), TOUCHING_WEIGHT, 1.0)
    return target[:, 0], weight[:, 0]


def _highest(values: Tensor, side: int) -> Tensor:
    pool = F.max_pool2d if values.ndim == 4 else F.max_pool3d
    return pool(values, side, stride=1, padding=side // 2)
