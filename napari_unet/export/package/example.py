"""The test image of a package, what the model makes of it, and the picture that people see first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_unet.events import finish
from napari_unet.export.answering import Answering
from napari_unet.imaging.colour import reduce_channels
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import Image, check_channels, open_image
from napari_unet.imaging.samples import open_sample
from napari_unet.imaging.statistics import check_input, statistics_events
from napari_unet.imaging.synthetic import nuclei_stack
from napari_unet.weights.spec import ModelSpec

Floats = npt.NDArray[np.float32]
# Okabe and Ito's colours, which can be told apart by everybody.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True, slots=True)
class Example:
    """A test image and what the network makes of it.

    Attributes
    ----------
    image : (C, [Z,] Y, X) float32
        As the user would give it, objects bright where the model wants them so.
    result : (K, [Z,] Y, X) float32
    """

    image: Floats
    result: Floats


def example_image(
    spec: ModelSpec, sides: tuple[int, ...], image: Image | None = None, channels: tuple[int, ...] | None = None
) -> Floats:
    """Take a piece of an image, or of one that comes with this program, as a model sees it.

    Parameters
    ----------
    spec : ModelSpec
    sides : ([Z,] Y, X)
        Of the piece. A smaller image is mirrored.
    image : Image, optional
        Its middle is taken, at the first time point.
    channels : tuple of int, optional
        Which of its channels feed the model; all by default.

    Returns
    -------
    (C, *sides) float32

    Raises
    ------
    ChannelError
        If the image does not have the channels that the model takes.
    """
    shown = image or _usual(spec, sides)
    wanted = None if image is None else check_channels(image, channels)
    check_input(shown.name, len(wanted) if wanted else shown.sizes["C"], spec.normalization, spec.network.in_channels)
    piece = _middle(shown, (1,) * (3 - len(sides)) + sides, wanted)
    if spec.normalization.channels == "grey":
        cut = open_image(piece, "CZYX", name=shown.name)
        found = finish(statistics_events(cut, spec.normalization))
        piece = reduce_channels(piece, found.reduction, found.white)
    values: Floats = np.ascontiguousarray(piece[:, 0] if spec.dims == 2 else piece, np.float32)
    return values


def run_example(answering: Answering, image: Floats, normalization: Normalization) -> Example:
    """Compute what a network makes of an image (C, [Z,] Y, X), normalized as a package does it."""
    axes = "CZYX" if image.ndim == 4 else "CYX"
    opened = open_image(image, axes, name="the test image")
    block = image if image.ndim == 4 else image[:, None]
    normalized = finish(statistics_events(opened, normalization)).normalize(block, 0)
    with torch.inference_mode():
        result = answering(torch.from_numpy(normalized.reshape(image.shape))[None])[0]
    return Example(image, result.numpy())


def cover(example: Example, answering: Answering) -> npt.NDArray[np.uint8]:
    """Draw image and result side by side (Y, 2 X, 3), of a volume the slice in its middle."""
    image, result = (_plane(values) for values in (example.image, example.result))
    low, high = np.percentile(image, (0.2, 99.8), axis=(1, 2), keepdims=True)
    grey = np.clip((image - low) / np.maximum(high - low, 1e-12), 0, 1)
    shown = grey if len(grey) == 3 else np.repeat(grey[:1], 3, axis=0)
    left = np.rint(255 * shown.transpose(1, 2, 0)).astype(np.uint8)
    # Of a softmax or of logits one class is the background, which stays as it is.
    single = len(result) == 1 or answering.activation == "sigmoid"
    chosen = np.where(result.max(0) > 0.5, result.argmax(0) + 1, 0) if single else result.argmax(0)
    right = left // 2
    for number in range(1, int(chosen.max()) + 1):
        right[chosen == number] = COLOURS[(number - 1) % len(COLOURS)]
    return np.ascontiguousarray(np.concatenate([left, right], axis=1))


def _plane(values: Floats) -> Floats:
    return values if values.ndim == 3 else values[:, values.shape[1] // 2]


def _usual(spec: ModelSpec, sides: tuple[int, ...]) -> Image:
    """Open an image that may be given away, with as many channels as the model takes."""
    count = 1 if spec.normalization.channels == "grey" else spec.network.in_channels
    if len(sides) == 2 and count in {1, 3}:
        sample = open_sample("fluorescence" if count == 1 else "tissue")
        return open_image(sample.image, sample.axes, name="the sample image")
    z, y, x = sides if len(sides) == 3 else (8, *sides)
    stacks = [nuclei_stack((z, y, x), seed=seed).image for seed in range(count)]
    planes = stacks if len(sides) == 3 else [stack[len(stack) // 2] for stack in stacks]
    return open_image(np.stack(planes), "CZYX" if len(sides) == 3 else "CYX", name="a made image")


def _middle(image: Image, sides: tuple[int, ...], channels: tuple[int, ...] | None) -> npt.NDArray[Any]:
    """Read the middle of an image (C, Z, Y, X), mirrored where it is smaller than the sides."""
    found = [image.sizes[axis] for axis in "ZYX"]
    starts = [max(0, (have - want) // 2) for have, want in zip(found, sides, strict=True)]
    z, y, x = (slice(start, start + min(have, want)) for start, have, want in zip(starts, found, sides, strict=True))
    block = image.read(0, z, y, x, channels)
    lacking = [max(0, want - have) for have, want in zip(found, sides, strict=True)]
    return np.pad(block, [(0, 0), *((0, more) for more in lacking)], mode="symmetric")
