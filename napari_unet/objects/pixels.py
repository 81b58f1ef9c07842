"""What each single pixel is, by its probabilities alone."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from napari_unet.objects.config import ObjectOptions

# float32 from 0 to 1, or uint8 from 0 to 255 that mean the same
Probabilities = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Decodable(Protocol):
    """What must be known of a model to read its probabilities."""

    @property
    def meaning(self) -> Literal["instances", "semantic"]: ...  # noqa: D102
    @property
    def activation(self) -> Literal["none", "sigmoid", "softmax", "flows"]: ...  # noqa: D102
    @property
    def dims(self) -> Literal[2, 3]: ...  # noqa: D102


def follows(spec: Decodable) -> bool:
    """Return whether flows make the objects, and no watershed."""
    return spec.activation == "flows"


def exceeds(values: Probabilities, threshold: float) -> Mask:
    """Return where probabilities exceed a threshold from 0 to 1."""
    if values.dtype == np.uint8:
        # compared as integers; the tiny bit makes up for thresholds that are rounded down
        return values > int(255 * threshold + 1e-9)
    return values > threshold


def complement(values: Probabilities) -> Probabilities:
    """Return one minus the probabilities, in their type."""
    return 255 - values if values.dtype == np.uint8 else 1 - values


def foreground_of(block: Probabilities, options: ObjectOptions) -> Mask:
    """Return where (K, [Z,] Y, X) probabilities, the background first, are foreground."""
    return exceeds(complement(block[0]), options.threshold)


def foreground_and_seeds(block: Probabilities, options: ObjectOptions) -> tuple[Mask, Mask]:
    """Return where (2 or 3, [Z,] Y, X) probabilities of background, interior (and border) are foreground, and seeds."""
    foreground = foreground_of(block, options)
    return foreground, exceeds(block[1], options.seed_threshold) & foreground


def classify(block: Probabilities, spec: Decodable, options: ObjectOptions) -> npt.NDArray[Any]:
    """Return the class of each pixel of (K, [Z,] Y, X) outputs: 0, or its index from 1."""
    if spec.activation == "none" and len(block) > 1:
        # Raw outputs have no scale that a threshold could be on; which one is largest says enough.
        block = softmax(block, axis=0).astype(np.float32, copy=False)
    background = has_background(spec, len(block))
    classes = block[1:] if background else block
    foreground = exceeds(complement(block[0]) if background else classes.max(axis=0), options.threshold)
    return np.where(foreground, classes.argmax(axis=0).astype(np.int32) + 1, 0)


def has_background(spec: Decodable, classes: int) -> bool:
    """Return whether the first of so many classes is the background."""
    return spec.activation != "sigmoid" and classes > 1
