"""What each single pixel is, by its probabilities alone."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from napari_unet.objects.config import ObjectOptions

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Decodable(Protocol):
    """What must be known of a model to read its probabilities."""

    @property
    def meaning(self) -> Literal["instances", "semantic"]: ...  # noqa: D102
    @property
    def activation(self) -> Literal["none", "sigmoid", "softmax"]: ...  # noqa: D102
    @property
    def dims(self) -> Literal[2, 3]: ...  # noqa: D102


def foreground_and_seeds(block: Floats, options: ObjectOptions) -> tuple[Mask, Mask]:
    """Return where (3, [Z,] Y, X) probabilities of background, interior and border are foreground, and where seeds."""
    foreground = (1 - block[0]) > options.threshold
    return foreground, (block[1] > options.seed_threshold) & foreground


def classify(block: Floats, spec: Decodable, options: ObjectOptions) -> npt.NDArray[Any]:
    """Return the class of each pixel of (K, [Z,] Y, X) outputs: 0, or its index from 1."""
    if spec.activation == "none" and len(block) > 1:
        # Raw outputs have no scale that a threshold could be on; which one is largest says enough.
        block = softmax(block, axis=0)
    background = has_background(spec, len(block))
    classes = block[1:] if background else block
    foreground = (1 - block[0]) if background else classes.max(axis=0)
    return np.where(foreground > options.threshold, classes.argmax(axis=0) + 1, 0)


def has_background(spec: Decodable, classes: int) -> bool:
    """Return whether the first of so many classes is the background."""
    return spec.activation != "sigmoid" and classes > 1
