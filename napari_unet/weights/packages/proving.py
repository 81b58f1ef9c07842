"""Whether an opened network gives what the author of a package got: the best proof there is."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.errors import ModelError
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.imaging.statistics import statistics_events
from napari_unet.weights.formats.limits import reason, shorten
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ClassActivation

MAX_BYTES = 2 * 1024**3
MAX_VALUES = 2**25
"""Larger examples are not run: it would take minutes."""
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Example:
    """An input and what the author's network made of it.

    Attributes
    ----------
    image : (C, Z, Y, X) array
    result : (K, Z, Y, X) array
    """

    image: npt.NDArray[np.generic]
    result: npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a model is from an example.

    Attributes
    ----------
    difference : float
        The largest one, relative to the spread of the example's result.
    activation : "none" | "sigmoid" | "softmax"
        What makes the example's result of the logits, or comes nearest to it.
    """

    difference: float
    activation: ClassActivation

    @property
    def holds(self) -> bool:
        """Whether it is the author's result."""
        return self.difference <= TOLERANCE

    @property
    def sentence(self) -> str:
        """For the report."""
        kind = "logits" if self.activation == "none" else "output"
        if self.holds:
            return (
                f"It gives the {kind} of the package's own test image (largest difference {self.difference:.1e} of its "
                "spread)."
            )
        return (
            f"Caution: it does NOT give the output of the package's own test image (largest difference "
            f"{self.difference:.2g} of its spread). Compare its results with those of its author before using it."
        )


def read_array(name: str, content: bytes) -> npt.NDArray[np.generic]:
    """Read a NumPy file of numbers.

    Raises
    ------
    ModelError
        If it is something else, or damaged.
    """
    try:
        array = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ModelError(f'The test image "{shorten(name)}" cannot be read: {reason(error)}.') from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise ModelError(f'The test image "{shorten(name)}" holds no array of numbers.')
    return array


def canonical(array: npt.NDArray[np.generic], letters: str) -> npt.NDArray[np.generic] | None:
    """Return the first sample as (C, Z, Y, X), or None if the axes do not say how.

    >>> canonical(np.zeros((1, 5, 6, 3)), "byxc").shape
    (3, 1, 5, 6)
    """
    if array.ndim != len(letters) or not set(letters) <= set("bczyx"):
        return None
    if "b" in letters:
        array = np.asarray(array.take(0, axis=letters.index("b")))
        letters = letters.replace("b", "")
    kept = [letter for letter in "czyx" if letter in letters]
    array = array.transpose([letters.index(letter) for letter in kept])
    return np.expand_dims(array, [n for n, letter in enumerate("czyx") if letter not in letters])


def prove(model: Model, example: Example) -> Proof | None:
    """Run a model on an example; None if that is not possible.

    Parameters
    ----------
    model : Model
    example : Example
    """
    channels = model.spec.network.in_channels
    if len(example.image) != channels or example.image.size > MAX_VALUES:
        return None
    if model.spec.dims == 2 and example.image.shape[1] != 1:
        return None
    logits = _logits(model, example)[: len(model.spec.classes)]
    expected = torch.from_numpy(np.ascontiguousarray(example.result, np.float32))
    names: list[ClassActivation] = [model.spec.class_activation, "none", "sigmoid"]
    if len(logits) > 1:
        names.append("softmax")
    differences = {name: _difference(_activated(logits, name), expected) for name in names}
    best = min(differences, key=lambda name: differences[name])
    return Proof(differences[best], best)


def _logits(model: Model, example: Example) -> Tensor:
    """Logits (K, Z, Y, X) of the whole image at once, as its author computed them."""
    image = open_image(example.image, "CZYX", name="the test image")
    statistics = finish(statistics_events(image, model.spec.normalization))
    block = torch.from_numpy(statistics.normalize(example.image, 0))[None]
    planar = model.spec.dims == 2
    with torch.inference_mode():
        block = block[:, :, 0] if planar else block
        try:
            logits = model.network(block)
        except (RuntimeError, ValueError, ModelError):
            logits = model.network.on_grid(block)
        if logits.shape[2:] != block.shape[2:] and example.result.shape[1:] == example.image.shape[1:]:
            logits = model.network.on_grid(block)  # its author, too, brought the output to the image
    sample: Tensor = logits[0]
    return sample[:, None] if planar else sample


def _activated(logits: Tensor, activation: ClassActivation) -> Tensor:
    match activation:
        case "softmax":
            return torch.softmax(logits, 0)
        case "sigmoid":
            return torch.sigmoid(logits)
        case _:
            return logits


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    spread = float(expected.max() - expected.min())
    largest = float((found - expected).abs().max()) / max(spread, 1e-6)
    return largest if largest == largest else float("inf")  # noqa: PLR0124  # no number
