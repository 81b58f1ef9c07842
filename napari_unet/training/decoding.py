"""Settings for objects that suit a new model: fitted on what it was trained on."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from napari_unet.events import Event, Progress
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode
from napari_unet.training.evaluation import crop_field, predict_field, tally_labels
from napari_unet.training.pairs import Field
from napari_unet.weights.model import Model

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
SEED_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
CLASS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
# Of the size that all but the smallest twentieth of the objects have
SMALL, SIZE_SHARES = 0.05, (0.1, 0.25, 0.5)
MIN_OBJECTS = 8
MAX_PX = 500_000
STAGE, TRIES = "Fitting thresholds", 4

Floats = npt.NDArray[np.float32]


def fit_objects_events(
    model: Model, fields: Sequence[Field], device: torch.device
) -> Generator[Event, None, ObjectOptions]:
    """Choose thresholds and the smallest size by the corrections that were trained on.

    What is held out is not looked at, so that a score on it stays honest. The model's own settings stay if there are
    too few objects, or none does better.

    Parameters
    ----------
    model : Model
    fields : sequence of Field
    device : torch.device
    """
    own, instances = model.spec.objects, model.spec.meaning == "instances"
    chosen = _enough([crop_field(field, field.train, MAX_PX) for field in fields if field.train.any()])
    if not chosen or (instances and sum(_areas(field).size for field in chosen) < MIN_OBJECTS):
        return own
    seen: list[tuple[Floats, Field]] = []
    for number, field in enumerate(chosen):
        yield Progress(STAGE, number, len(chosen) + TRIES)
        maps = yield from predict_field(model, field.image, device, STAGE)
        seen.append((maps, field))
    best, most = own, _value(model, seen, own)
    # One setting after the other: all of them together would take too long.
    for number, (name, values) in enumerate(_settings(chosen) if instances else [("threshold", CLASS_THRESHOLDS)]):
        yield Progress(STAGE, len(chosen) + number, len(chosen) + TRIES)
        for tried in [best.model_copy(update={name: value}) for value in values]:
            value = _value(model, seen, tried)
            if value > most:
                best, most = tried, value
    return best


def _settings(fields: Sequence[Field]) -> list[tuple[str, Sequence[float]]]:
    """Say what is tried, in this order."""
    smallest = float(np.quantile(np.concatenate([_areas(field) for field in fields]), SMALL))
    seeds = ("seed_threshold", SEED_THRESHOLDS)
    sizes = [max(1, round(share * smallest)) for share in SIZE_SHARES]
    return [seeds, ("threshold", THRESHOLDS), ("min_size_px", sizes), seeds]


def _value(model: Model, seen: Sequence[tuple[Floats, Field]], options: ObjectOptions) -> float:
    tallies = [
        tally_labels(decode(maps, model.spec, options)[0], field.labels, field.train, model.spec)
        for maps, field in seen
    ]
    return sum(tallies[1:], start=tallies[0]).value


def _areas(field: Field) -> npt.NDArray[np.intp]:
    """Pixels of each object that is trained on."""
    return np.asarray(np.unique_counts(field.labels[field.train & (field.labels > 0)]).counts)


def _enough(fields: list[Field]) -> list[Field]:
    """Take every k-th field, so that all kinds of image are among them."""
    total = sum(field.train.size for field in fields)
    return fields[:: max(1, round(total / MAX_PX))]
