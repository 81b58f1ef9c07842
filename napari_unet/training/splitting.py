"""Held-out corrections: what a new model is judged on is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_unet.training.pairs import Field
from napari_unet.weights.spec import Meaning

FEW_FIELDS = 5
HELD_OUT = 0.2
HELD_OUT_OF_ONE = 0.25
GAP_PX = 8
MOST_GAP = 1 / 8
MIN_PX = 1000
# With fewer, chance is larger than anything that a fine-tuning changes.
MIN_OBJECTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Fields with train and validation regions.

    Attributes
    ----------
    fields : tuple of Field
    held_out_px, held_out_objects : int
        Size of the validation region; both 0 if there are too few labels to judge by. An object
        that is seen in several slices counts once; classes have no objects to count.
    """

    fields: tuple[Field, ...]
    held_out_px: int
    held_out_objects: int


def hold_out(
    fields: Sequence[Field], rng: np.random.Generator, meaning: Meaning = "instances", gap_px: int = GAP_PX
) -> Split:
    """Hold out a part of the reviewed pixels.

    From five fields on, a fifth of them in a row is held out whole; the slices or time points next
    to those, and what other slices show of their objects, belong to neither side. Of fewer fields a
    quarter is held out, beyond one cut through all slices and time points of an image: pixels near
    the cut, and objects that it divides, belong to neither side. With fewer than 1000 pixels, or 8
    objects, held out a score would mean nothing: then all is trained on.

    Parameters
    ----------
    fields : sequence of Field
        With nothing held out yet.
    rng : numpy Generator
        Chooses the fields, or the side of the cut.
    meaning : "instances" | "semantic"
        Whether equal labels are one object.
    gap_px : int
        Distance from a cut to what is trained on: as far as the network sees, so that it has seen nothing of what it
        is judged on; at least 8 pixels, and at most an eighth of what is reviewed, so that enough is left.
    """
    instances = meaning == "instances"
    if len(fields) >= FEW_FIELDS:
        split = _row(fields, int(rng.integers(len(fields))), instances=instances)
    else:
        split = list(fields)
        for image in dict.fromkeys(field.place[0] for field in fields):
            members = [i for i, field in enumerate(fields) if field.place[0] == image]
            for i, cut in zip(
                members, _cut([fields[i] for i in members], rng, gap_px, instances=instances), strict=True
            ):
                split[i] = cut
    pixels = sum(int(field.validation.sum()) for field in split)
    objects = _count(split) if instances else 0
    enough = pixels >= MIN_PX and (objects >= MIN_OBJECTS or not instances)
    if not enough or not any(field.train.any() for field in split):
        return Split(tuple(fields), 0, 0)
    return Split(tuple(split), pixels, objects)


def _row(fields: Sequence[Field], first: int, *, instances: bool) -> list[Field]:
    """Hold out a fifth of the fields, in a row from `first`, and drop what shows the same."""
    count = max(1, round(HELD_OUT * len(fields)))
    chosen = {(first + i) % len(fields) for i in range(count)}
    split = []
    for i, field in enumerate(fields):
        if i in chosen:
            split.append(replace(field, train=np.zeros_like(field.train), validation=field.train))
            continue
        related = [fields[k] for k in chosen if fields[k].place[0] == field.place[0]]
        if any(_adjacent(field.place, other.place) for other in related):
            split.append(replace(field, train=np.zeros_like(field.train)))
        elif instances and related:
            split.append(_without(field, np.concatenate([_ids(other, other.train) for other in related])))
        else:
            split.append(field)
    return split


def _adjacent(place: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether a field shows the same place as another of the same image, or the next slice or time point."""
    return abs(place[1] - other[1]) + abs(place[2] - other[2]) <= 1


def _without(field: Field, ids: npt.NDArray[np.uint32]) -> Field:
    """Do not train on objects with these ids."""
    return replace(field, train=field.train & ~np.isin(field.labels, ids))


def _ids(field: Field, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    found: npt.NDArray[np.uint32] = np.unique(field.labels[where])
    return found[found > 0]


def _count(fields: Sequence[Field]) -> int:
    return len({(field.place[0], int(i)) for field in fields for i in _ids(field, field.validation)})


def _cut(fields: Sequence[Field], rng: np.random.Generator, gap_px: int, *, instances: bool) -> list[Field]:
    """Hold out the last quarter of the reviewed pixels of one image along the longer side of their box."""
    planar = [np.nonzero(field.train)[-2:] for field in fields]  # Y and X
    places = [
        np.concatenate([p[axis] + f.origin[axis] for p, f in zip(planar, fields, strict=True)]) for axis in (0, 1)
    ]
    spans = [int(np.ptp(place)) for place in places]
    axis = int(np.argmax(spans))
    gap = max(GAP_PX, min(gap_px, round(MOST_GAP * spans[axis])))
    flip = bool(rng.integers(2))
    cut = int(np.quantile(places[axis], HELD_OUT_OF_ONE if flip else 1 - HELD_OUT_OF_ONE))
    distances = [_distance(field, axis, cut) for field in fields]
    sides = [(d < 0) if flip else (d >= 0) for d in distances]
    divided = _divided(fields, sides) if instances else np.empty(0, np.uint32)
    split = []
    for field, distance, beyond in zip(fields, distances, sides, strict=True):
        kept = field.train & ~np.isin(field.labels, divided)
        split.append(replace(field, train=kept & ~beyond & (np.abs(distance) >= gap), validation=kept & beyond))
    return split


def _distance(field: Field, axis: int, cut: int) -> npt.NDArray[np.intp]:
    """Distance of each pixel from the cut along Y or X, in a shape that broadcasts with the field."""
    shape = [1] * field.train.ndim
    shape[axis - 2] = -1
    return (np.arange(field.train.shape[axis - 2]) + field.origin[axis] - cut).reshape(shape)


def _divided(fields: Sequence[Field], sides: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint32]:
    """Ids of objects that lie on both sides of the cut, in whatever slices."""
    beyond, before = (
        np.concatenate([_ids(f, f.train & (side if wanted else ~side)) for f, side in zip(fields, sides, strict=True)])
        for wanted in (True, False)
    )
    return np.intersect1d(beyond, before)
