"""Training pairs: an image, its corrected labels, and where they are vouched for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.events import Event, Progress
from napari_unet.imaging.fingerprints import fingerprints
from napari_unet.imaging.image import Image, check_channels
from napari_unet.imaging.neighbours import Neighbours
from napari_unet.imaging.rescaling import positions
from napari_unet.imaging.statistics import Readable, Statistics, check_input, statistics_events
from napari_unet.inference.pipeline import rescale, scale_factor
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
    marks : tuple of str
        Fingerprints of the image that `image` is a part of; those of `image` where none are given.
    """

    image: Image
    labels: npt.NDArray[Any]
    reviewed: Bools
    emphasis: float = 1.0
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """The image that a field comes from.

    Attributes
    ----------
    sizes : tuple of int
        Along T, Z, Y and X, in its own pixels.
    marks : tuple of str
        Fingerprints of its channels: an image is known again by them, or by its name and sizes.
    scale : (y, x)
        Pixels of the image for each pixel of the network's grid.
    """

    sizes: tuple[int, int, int, int] = (1, 1, 1, 1)
    marks: tuple[str, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A plane or volume with reviewed pixels, ready for the network; cropped to what is needed.

    Attributes
    ----------
    image : (S · C, [Z,] Y, X) float32
        Normalized with the statistics of the whole image. A plane comes with as many neighbouring slices as the model
        is shown, whether they are reviewed or not.
    labels : ([Z,] Y, X) uint32
        As the user left them.
    train, validation : ([Z,] Y, X) bool
        Reviewed pixels to learn from, and those held out. They never overlap.
    emphasis : float
        Of the pair that it comes from.
    place : (image, t, z)
        Where it comes from; two pairs of one image share its number.
    origin : (y, x)
        Where the crop begins in that image, in pixels of the network's grid.
    name : str
        Of the image.
    source : Source
        That image.
    unreviewed : ([Z,] Y, X) bool, optional
        Pixels that nobody vouches for; None if there are none to learn from.
    """

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint32]
    train: Bools
    validation: Bools
    emphasis: float = 1.0
    place: tuple[int, int, int] = (0, 0, 0)
    origin: tuple[int, int] = (0, 0)
    name: str = ""
    source: Source = Source()
    unreviewed: Bools | None = None


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
        if pair.labels.min(initial=0) < 0:
            raise LabelsError(
                f'The labels of "{pair.image.name}" contain the negative number {pair.labels.min()}. Leave out of the '
                "reviewed region what is to be ignored, and label it 0."
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
    pairs: Sequence[TrainingPair],
    spec: ModelSpec,
    margin_px: int,
    channels: Sequence[int] | None = None,
    diameter_px: float | None = None,
) -> Generator[Event, None, list[Field]]:
    """Read, rescale and normalize the planes (2D) or volumes (3D) that hold reviewed pixels.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    spec : ModelSpec
        Of the model that is to learn from them: they are brought to it as for a prediction.
    margin_px : int
        Context to keep around the reviewed pixels.
    channels : sequence of int, optional
        Which channels of each image feed the model.
    diameter_px : float, optional
        Of the objects in the images.
    """
    fields: list[Field] = []
    groups: list[tuple[str, Source]] = []
    for number, pair in enumerate(pairs, start=1):
        chosen = check_channels(pair.image, channels)
        check_input(pair.image.name, len(chosen), spec.normalization, spec.image_channels)
        source = rescale(pair.image, scale_factor(spec, pair.image.pixel_size, diameter_px))
        windows = _windows(pair, spec.dims)
        times = sorted({t for t, _ in windows})
        statistics = yield from statistics_events(source, spec.normalization, chosen, times)
        origin = _source(pair, source)
        reader = _Reader(pair, spec, source, statistics, chosen, margin_px, (_group(groups, pair, origin), origin))
        for t, z in windows:
            fields.append(reader.field(t, z))
            yield Progress("Reading the corrections", number, len(pairs))
    return _reviewed_once(fields)


def _reviewed_once(fields: Sequence[Field]) -> list[Field]:
    """Take what one pair of an image calls reviewed from what another one calls unreviewed."""
    planes: dict[tuple[int, int, int], list[Field]] = {}
    for one in fields:
        planes.setdefault(one.place, []).append(one)
    return [_without(one, [other for other in planes[one.place] if other is not one]) for one in fields]


def _without(field: Field, others: Sequence[Field]) -> Field:
    """Take what others call reviewed from what a field calls unreviewed."""
    if field.unreviewed is None or not others:
        return field
    unreviewed = field.unreviewed.copy()
    for other in others:
        down, right = (its - own for own, its in zip(field.origin, other.origin, strict=True))
        reviewed = other.train[..., max(0, -down) :, max(0, -right) :]
        here = unreviewed[..., max(0, down) :, max(0, right) :]
        height, width = (min(a, b) for a, b in zip(here.shape[-2:], reviewed.shape[-2:], strict=True))
        here[..., :height, :width] &= ~reviewed[..., :height, :width]
    return replace(field, unreviewed=unreviewed)


def _source(pair: TrainingPair, grid: Readable) -> Source:
    sizes, new = pair.image.sizes, grid.sizes
    t, z, y, x = (sizes[axis] for axis in "TZYX")
    return Source((t, z, y, x), pair.marks or fingerprints(pair.image), (y / new["Y"], x / new["X"]))


def _group(known: list[tuple[str, Source]], pair: TrainingPair, source: Source) -> int:
    """Return the number of an image: two are the same if their name and sizes are, or their pixels."""
    for number, (name, other) in enumerate(known):
        if (name, other.sizes) == (pair.image.name, source.sizes) or set(other.marks) & set(source.marks):
            return number
    known.append((pair.image.name, source))
    return len(known) - 1


def _windows(pair: TrainingPair, dims: int) -> list[tuple[int, slice]]:
    times, depth = pair.reviewed.shape[:2]
    slabs = [slice(z, z + 1) for z in range(depth)] if dims == 2 else [slice(0, depth)]
    return [(t, z) for t in range(times) for z in slabs if pair.reviewed[t, z].any()]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the fields of one pair."""

    pair: TrainingPair
    spec: ModelSpec
    source: Readable
    statistics: Statistics
    channels: Sequence[int]
    margin_px: int
    origin: tuple[int, Source]

    def field(self, t: int, z: slice) -> Field:
        """Read the plane or volume of time point `t`, cropped to what is reviewed."""
        rows, columns = (self._nearest(axis) for axis in "YX")
        seen = self.pair.reviewed[t, z].any(axis=0)
        y, x = (_span(np.any(seen, axis=other)[places], self.margin_px) for other, places in ((1, rows), (0, columns)))
        near = Neighbours.of(z, self.source.sizes["Z"], self.spec.slices)
        raw = self.source.read(t, near.read, y, x, self.channels)
        mesh = (slice(None), rows[y][:, None], columns[x])
        labels = np.asarray(self.pair.labels[t, z])[mesh]
        reviewed, known = np.asarray(self.pair.reviewed[t, z])[mesh], np.isfinite(raw[:, near.own]).all(axis=0)
        image = near.stacked(self.statistics.normalize(raw, t))
        if self.spec.dims == 2:
            image, labels, reviewed, known = image[:, 0], labels[0], reviewed[0], known[0]
        if self.spec.meaning == "semantic":
            # What nobody has reviewed may be any number, and must not be taken for a class.
            labels = np.where(reviewed, labels, 0)
        regions = reviewed & known, ~reviewed & known
        return self._labelled(image, labels.astype(np.uint32), regions, (t, z.start, y.start, x.start))

    def _labelled(
        self,
        image: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint32],
        regions: tuple[Bools, Bools],
        start: tuple[int, int, int, int],
    ) -> Field:
        reviewed, unreviewed = regions
        return Field(
            image,
            labels,
            train=reviewed,
            validation=np.zeros_like(reviewed),
            emphasis=self.pair.emphasis,
            place=(self.origin[0], start[0], start[1]),
            origin=start[2:],
            name=self.pair.image.name,
            source=self.origin[1],
            unreviewed=unreviewed if unreviewed.any() else None,
        )

    def _nearest(self, axis: str) -> npt.NDArray[np.intp]:
        """Find the nearest pixels of the labels for each pixel of the network's grid."""
        new, old = self.source.sizes[axis], self.pair.image.sizes[axis]
        return np.rint(positions(slice(0, new), old, new)).astype(np.intp)


def _span(used: Bools, margin_px: int, grid: int = 64) -> slice:
    """Range that holds all True, with a margin, starting on a grid that suits every stride."""
    places = np.flatnonzero(used)
    start = max(0, int(places[0]) - margin_px) // grid * grid
    return slice(start, min(len(used), int(places[-1]) + 1 + margin_px))
