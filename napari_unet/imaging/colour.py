"""Colour images reduced to the one channel that a network sees."""

from __future__ import annotations

from typing import Any, Literal, assert_never

import numpy as np
import numpy.typing as npt

Reduction = Literal["none", "luminance", "inverted", "haematoxylin"]

# ITU-R BT.709, as scikit-image's rgb2gray
LUMINANCE = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)
# Absorbance of haematoxylin and DAB in red, green and blue: Ruifrok and Johnston (2001), PMID 11531144.
# The third direction is at right angles to both, as in Fiji's "H DAB": what is neither goes there.
# On sections without DAB this leaves more of the nuclei than the vectors for three stains do.
_BLUE = np.array([0.65, 0.70, 0.29])
_BROWN = np.array([0.27, 0.57, 0.78])
HAEMATOXYLIN = np.linalg.inv([_BLUE, _BROWN, np.cross(_BLUE, _BROWN)])[:, 0].astype(np.float32)


def reduce_channels(block: npt.NDArray[Any], reduction: Reduction, white: float) -> npt.NDArray[np.float32]:
    """Reduce red, green and blue to one channel in which objects are bright.

    Parameters
    ----------
    block : (C, ...) any numeric dtype
        One channel, or three as red, green and blue; any number for "none".
    reduction : "none" | "luminance" | "inverted" | "haematoxylin"
        "inverted" is one minus the luminance, in units of `white`.
    white : float
        Pixel value of the brightest places.

    Returns
    -------
    (1, ...) float32, or (C, ...) for "none"
    """
    values = block.astype(np.float32)
    match reduction:
        case "none":
            return values
        case "luminance":
            return _luminance(values)
        case "inverted":
            return np.float32(white) - _luminance(values)
        case "haematoxylin":
            # A 255th of white keeps the logarithm of black finite and matters nowhere else.
            absorbance = -np.log(np.maximum(values / np.float32(white), 0) + np.float32(1 / 255))
            reduced: npt.NDArray[np.float32] = np.tensordot(HAEMATOXYLIN, absorbance, axes=1)[None]
            return reduced
        case _:
            assert_never(reduction)


def _luminance(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    reduced: npt.NDArray[np.float32] = values if len(values) == 1 else np.tensordot(LUMINANCE, values, axes=1)[None]
    return reduced
