"""Training pairs: an image, its corrected labels, and where they are vouched for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.events import Event, Progress
from napari_unet.imaging.image import Image, check_channels
from napari_unet.imaging.statistics import Statistics, check_input, statistics_events
from napari_unet.training.targets import class_targets, touching_weights
from napari_unet.weights.spec import ModelSpec

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """An image with corrected labels.

    Attributes
    ----------
    image : Image
    labels : (T, Z, Y, X) integer
        Object or class ids, as the model's output says; 0 is background.
    reviewed : (T, Z, Y, X) bool
        Pixels whose labels are vouched for; the rest carries no gradient and no score.
    emphasis : float
        How often its patches are drawn, compared with a pair of the same size.
    """

    image: Image
    labels: npt.NDArray[Any]
    reviewed: Bools
    emphasis: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A plane or volume with reviewed pixels, ready for the network; cropped to what is needed.

    Attributes
    ----------
    image : (C, [Z,] Y, X) float32
        Normalized with the statistics of the whole image.
    labels : ([Z,] Y, X) uint32
        As the user left them.
    target : ([Z,] Y, X) uint8
        Class ids.
    weight : ([Z,] Y, X) float32
        Of the cross-entropy; more where objects touch.
    train, validation : ([Z,] Y, X) bool
        Reviewed pixels to learn from, and those held out. They never overlap.
    emphasis : float
        Of the pair that it comes from.
    place : (pair, t, z)
        Where it comes from.
    """

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint32]
    target: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32]
    train: Bools
    validation: Bools
    emphasis: float = 1.0
    place: tuple[int, int, int] = (0, 0, 0)


def check_pairs(pairs: Sequence[TrainingPair], spec: ModelSpec) -> None:
    """Check that there is something to learn from.

    Raises
    ------
    LabelsError
        If shapes differ, nothing is reviewed, or a class id has no class.
    """
    if not pairs:
        raise LabelsError("There is no image with corrections. Start correcting an image first.")
    for pair in pairs:
        expected = tuple(pair.image.sizes[axis] for axis in "TZYX")
        for name, array in (("labels", pair.labels), ("reviewed region", pair.reviewed)):
            if array.shape != expected:
                raise LabelsError(
                    f'The {name} of "{pair.image.name}" have the shape {array.shape} and the image needs {expected} '
                    "(T, Z, Y, X). Use the labels of this image."
                )
    if not any(pair.reviewed.any() for pair in pairs):
        raise LabelsError(
            "No pixel is marked as reviewed, so there is nothing to learn from. Correct a region, "
            "mark it as reviewed, and start again."
        )
    if spec.meaning == "semantic":
        highest = max(int(pair.labels[pair.reviewed].max(initial=0)) for pair in pairs)
        count = len(spec.foreground_classes)
        if highest > count:
            raise LabelsError(
                f"The labels use class {highest}, and the model has {count}: {', '.join(spec.foreground_classes)}. "
                "Give the model new classes, or correct the labels."
            )
    elif not any((pair.labels[pair.reviewed] > 0).any() for pair in pairs):
        raise LabelsError("The reviewed region contains no object. Review a region that has some, and start again.")


def load_fields(
    pairs: Sequence[TrainingPair], spec: ModelSpec, margin_px: int, channels: Sequence[int] | None = None
) -> Generator[Event, None, list[Field]]:
    """Read and normalize the planes (2D) or volumes (3D) that hold reviewed pixels.

    Parameters
    ----------
    margin_px : int
        Context to keep around the reviewed pixels.
    channels : sequence of int, optional
        Which channels of each image feed the model.
    """
    fields = []
    for number, pair in enumerate(pairs, start=1):
        chosen = check_channels(pair.image, channels)
        check_input(pair.image.name, len(chosen), spec.normalization, spec.network.in_channels)
        statistics = yield from statistics_events(pair.image, spec.normalization, chosen)
        for t, z in _windows(pair, spec.dims):
            field = _field(pair, spec, statistics, (t, z), (margin_px, chosen))
            fields.append(replace(field, place=(number, t, z.start)))
            yield Progress("Reading the corrections", number, len(pairs))
    return fields


def _windows(pair: TrainingPair, dims: int) -> list[tuple[int, slice]]:
    times, depth = pair.reviewed.shape[:2]
    slabs = [slice(z, z + 1) for z in range(depth)] if dims == 2 else [slice(0, depth)]
    return [(t, z) for t in range(times) for z in slabs if pair.reviewed[t, z].any()]


def _field(
    pair: TrainingPair,
    spec: ModelSpec,
    statistics: Statistics,
    where: tuple[int, slice],
    how: tuple[int, Sequence[int]],
) -> Field:
    (t, z), (margin_px, channels) = where, how
    seen = pair.reviewed[t, z].any(axis=0)
    y, x = _span(np.any(seen, axis=1), margin_px), _span(np.any(seen, axis=0), margin_px)
    raw = pair.image.read(t, z, y, x, channels)
    labels = np.ascontiguousarray(pair.labels[t, z, y, x], dtype=np.uint32)
    reviewed = pair.reviewed[t, z, y, x] & np.isfinite(raw).all(axis=0)
    image = statistics.normalize(raw, t)
    if spec.dims == 2:
        image, labels, reviewed = image[:, 0], labels[0], reviewed[0]
    instances = spec.meaning == "instances"
    return Field(
        image,
        labels,
        class_targets(labels) if instances else labels.astype(np.uint8),
        touching_weights(labels) if instances else np.ones(labels.shape, np.float32),
        train=reviewed,
        validation=np.zeros_like(reviewed),
        emphasis=pair.emphasis,
    )


def _span(used: Bools, margin_px: int, grid: int = 64) -> slice:
    """Range that holds all True, with a margin, starting on a grid that suits every stride."""
    places = np.flatnonzero(used)
    start = max(0, int(places[0]) - margin_px) // grid * grid
    return slice(start, min(len(used), int(places[-1]) + 1 + margin_px))
