"""Settings for objects that suit a new model: fitted on what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_unet.events import Event, Progress
from napari_unet.objects.closing import are_walls
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode
from napari_unet.training.evaluation import Footing, crop_field, predict_field, tally_labels
from napari_unet.training.gate import LIKELY, surely_better
from napari_unet.training.metrics import Tally
from napari_unet.training.pairs import Field
from napari_unet.weights.model import Model

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
SEED_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
REACHES_PX = (1, 2, 3, 5, 7)
CLASS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
# Of the size that all but the smallest twentieth of the objects have
SMALL, SIZE_SHARES = 0.05, (0.1, 0.25, 0.5)
MIN_OBJECTS = 8
MAX_PX, MOST_FIELDS = 500_000, 10
STAGE, TRIES = "Fitting thresholds", 4

Floats = npt.NDArray[np.float32]
Seen: TypeAlias = list[tuple[Floats, Field]]
Setting: TypeAlias = tuple[str, Sequence[float]]


def fit_objects_events(
    model: Model,
    fields: Sequence[Field],
    footing: Footing,
    rehearsed: Sequence[Field] = (),
    in_time: Callable[[], bool] = lambda: True,
    sure: float = LIKELY,
) -> Generator[Event, None, ObjectOptions]:
    """Choose thresholds, or how near flows end, and the smallest size by the corrections that were trained on.

    What is held out is not looked at, so that a score on it stays honest. The model's own settings stay if there are
    too few objects, or others are not likely to be better. Gaps of classes that are walls in the corrections will be
    closed: whether that helps cannot be seen there, for a network leaves hardly any gaps where it was trained.

    Parameters
    ----------
    model : Model
    fields : sequence of Field
    footing : Footing
        With what the networks are run.
    rehearsed : sequence of Field
        What was learnt again; counts as much as the corrections.
    in_time : callable
        Whether there is time to try one more setting.
    sure : float
        In which share of redraws other settings have to be better.
    """
    own, instances = model.spec.objects, model.spec.meaning == "instances"
    chosen = _some([field for field in fields if field.train.any()])
    if not chosen or (instances and sum(_areas(field).size for field in chosen) < MIN_OBJECTS):
        return own
    if not instances and any(are_walls(field.labels, field.train) for field in chosen):
        own = own.model_copy(update={"close_gaps": True})
    seen = yield from _seen(model, chosen, footing)
    known = yield from _seen(model, _some(rehearsed), footing)
    first = best = _tried(model, seen, known, own)
    settings: list[Setting] = _settings(model, chosen) if instances else [("threshold", CLASS_THRESHOLDS)]
    if model.spec.pixel_size_um is not None and any(field.source.scale != (1.0, 1.0) for field in fields):
        # The smallest size is meant in pixels of the image, and these are those of the network.
        settings = [(name, values) for name, values in settings if name != "min_size_px"]
    # One setting after the other: all of them together would take too long.
    for number, (name, values) in enumerate(settings):
        yield Progress(STAGE, number, TRIES)
        options = best.options
        for value in values:
            if in_time():
                tried = _tried(model, seen, known, options.model_copy(update={name: value}))
                best = max(best, tried, key=lambda one: one.value)
    return best.options if surely_better(first.tally, best.tally, sure) else own


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """Settings, how they do on the corrections, and their value in all."""

    options: ObjectOptions
    tally: Tally
    value: float


def _tried(model: Model, seen: Seen, known: Seen, options: ObjectOptions) -> _Tried:
    tally = _tally(model, seen, options)
    value = (tally.value + _tally(model, known, options).value) / 2 if known else tally.value
    return _Tried(options, tally, value)


def _seen(model: Model, fields: Sequence[Field], footing: Footing) -> Generator[Event, None, Seen]:
    found = []
    for number, field in enumerate(fields):
        yield Progress(STAGE, number, len(fields))
        maps = yield from predict_field(model, field.image, footing, STAGE)
        found.append((maps, field))
    return found


def _settings(model: Model, fields: Sequence[Field]) -> list[Setting]:
    """Say what is tried, in this order."""
    smallest = float(np.quantile(np.concatenate([_areas(field) for field in fields]), SMALL))
    follows = model.activation == "flows"
    parting: Setting = ("reach_px", REACHES_PX) if follows else ("seed_threshold", SEED_THRESHOLDS)
    sizes = [max(1, round(share * smallest)) for share in SIZE_SHARES]
    return [parting, ("threshold", THRESHOLDS), ("min_size_px", sizes), parting]


def _tally(model: Model, seen: Seen, options: ObjectOptions) -> Tally:
    tallies = [
        tally_labels(decode(maps, model.spec, options)[0], field.labels, field.train, model.spec)
        for maps, field in seen
    ]
    return sum(tallies[1:], start=tallies[0])


def _areas(field: Field) -> npt.NDArray[np.intp]:
    """Pixels of each object that is trained on."""
    return np.asarray(np.unique_counts(field.labels[field.train & (field.labels > 0)]).counts)


def _some(fields: Sequence[Field]) -> list[Field]:
    """Take a part of every k-th field, so that all kinds of image are among them."""
    few = fields[:: max(1, math.ceil(len(fields) / MOST_FIELDS))]
    return [crop_field(field, field.train, MAX_PX // len(few)) for field in few]
