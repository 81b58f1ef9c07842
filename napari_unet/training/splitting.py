"""Held-out corrections: what a new model is judged on is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_unet.training.pairs import Field

FEW_FIELDS = 5
HELD_OUT = 0.2
HELD_OUT_OF_ONE = 0.25
GAP_PX = 8
MIN_PX = 1000
MIN_OBJECTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Fields with train and validation regions.

    Attributes
    ----------
    fields : tuple of Field
    held_out_px, held_out_objects : int
        Size of the validation region; both 0 if there are too few labels to judge by.
    """

    fields: tuple[Field, ...]
    held_out_px: int
    held_out_objects: int


def hold_out(fields: Sequence[Field], rng: np.random.Generator) -> Split:
    """Hold out a part of the reviewed pixels.

    From five fields on, a fifth of them in a row is held out whole, and neighbouring slices or time
    points of those belong to neither side, since they show the same objects. Of fewer fields a
    quarter of each is held out, beyond a cut: pixels near the cut, and objects that it divides,
    belong to neither side. With fewer than 1000 pixels or 3 objects held out a score would mean
    nothing: then all is trained on.

    Parameters
    ----------
    fields : sequence of Field
        With nothing held out yet.
    rng : numpy Generator
        Chooses the fields, or the side of the cut.
    """
    if len(fields) >= FEW_FIELDS:
        split = _row(fields, int(rng.integers(len(fields))))
    else:
        split = [_cut(field, rng) for field in fields]
    pixels = sum(int(field.validation.sum()) for field in split)
    objects = sum(_count(field) for field in split)
    trains = any(field.train.any() for field in split)
    if pixels < MIN_PX or objects < MIN_OBJECTS or not trains:
        return Split(tuple(fields), 0, 0)
    return Split(tuple(split), pixels, objects)


def _row(fields: Sequence[Field], first: int) -> list[Field]:
    """Hold out a fifth of the fields, in a row from `first`, and drop what is next to it."""
    count = max(1, round(HELD_OUT * len(fields)))
    chosen = {(first + i) % len(fields) for i in range(count)}
    places = [fields[i].place for i in chosen]
    return [
        _all_validation(field) if i in chosen else _nothing(field) if _adjacent(field.place, places) else field
        for i, field in enumerate(fields)
    ]


def _adjacent(place: tuple[int, int, int], others: Sequence[tuple[int, int, int]]) -> bool:
    """Whether a field is the next slice or time point of another."""
    return any(place[0] == other[0] and abs(place[1] - other[1]) + abs(place[2] - other[2]) == 1 for other in others)


def _nothing(field: Field) -> Field:
    return replace(field, train=np.zeros_like(field.train))


def _count(field: Field) -> int:
    ids = np.unique(field.labels[field.validation])
    return int((ids > 0).sum())


def _all_validation(field: Field) -> Field:
    return replace(field, train=np.zeros_like(field.train), validation=field.train)


def _cut(field: Field, rng: np.random.Generator) -> Field:
    """Hold out the last quarter of the reviewed pixels along the longer side of their box."""
    places = np.nonzero(field.train)[-2:]  # Y and X
    axis = int(np.argmax([np.ptp(place) for place in places]))
    flip = bool(rng.integers(2))
    share = HELD_OUT_OF_ONE if flip else 1 - HELD_OUT_OF_ONE
    cut = int(np.quantile(places[axis], share))
    shape = [1] * field.train.ndim
    shape[axis - 2] = -1
    distance = (np.arange(field.train.shape[axis - 2]) - cut).reshape(shape)
    beyond = (distance < 0) if flip else (distance >= 0)
    near = np.abs(distance) < GAP_PX
    divided = np.intersect1d(
        np.unique(field.labels[field.train & beyond]), np.unique(field.labels[field.train & ~beyond])
    )
    neither = near | (np.isin(field.labels, divided[divided > 0]))
    return replace(field, train=field.train & ~beyond & ~neither, validation=field.train & beyond & ~neither)
