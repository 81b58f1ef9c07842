"""A model scored on held-out corrections."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch

from napari_unet.events import Event, Progress
from napari_unet.inference.running import probabilities_of
from napari_unet.objects.labelling import decode
from napari_unet.training.gate import Score, score
from napari_unet.training.metrics import Tally, tally_classes, tally_instances
from napari_unet.training.pairs import Field
from napari_unet.training.splitting import Split
from napari_unet.weights.model import Model

# Enough to judge by, and little enough to be done often on a laptop
MAX_VALIDATION_PX = 2_000_000
MAX_SIDE_PX = 1536
CONTEXT_PX = 64


def evaluate_events(model: Model, split: Split, device: torch.device) -> Generator[Event, None, Score | None]:
    """Score a model on the validation regions of a split.

    Returns
    -------
    Score or None
        None if nothing is held out.
    """
    if not split.held_out_px:
        return None
    network = model.network.to(device).eval()
    fields = _enough([field for field in split.fields if field.validation.any()])
    total: Tally | None = None
    for number, held_out in enumerate(fields, start=1):
        field = _window(held_out)
        with torch.inference_mode():
            image = torch.from_numpy(field.image[None]).to(device)
            probabilities = probabilities_of(network(image), model.activation)[0].cpu().numpy()
        found = _tally(model, field, probabilities)
        total = found if total is None else total + found
        yield Progress("Checking on held-out corrections", number, len(fields))
    assert total is not None
    return score(total, model.spec.meaning)


def _window(field: Field) -> Field:
    """Crop a field to its validation region with some context."""
    window = tuple(
        _span(places, size) for places, size in zip(np.nonzero(field.validation), field.validation.shape, strict=True)
    )
    return Field(
        field.image[(slice(None), *window)],
        field.labels[window],
        field.target[window],
        field.weight[window],
        field.train[window],
        field.validation[window],
    )


def _span(places: npt.NDArray[np.intp], size: int) -> slice:
    start = max(0, int(places.min()) - CONTEXT_PX) // CONTEXT_PX * CONTEXT_PX
    return slice(start, min(size, int(places.max()) + 1 + CONTEXT_PX, start + MAX_SIDE_PX))


def _enough(fields: list[Field]) -> list[Field]:
    """Take every k-th field, so that all kinds of image are among them."""
    total = sum(field.validation.size for field in fields)
    return fields[:: max(1, round(total / MAX_VALIDATION_PX))]


def _tally(model: Model, field: Field, probabilities: npt.NDArray[np.float32]) -> Tally:
    labels, _ = decode(probabilities, model.spec, model.spec.objects)
    if model.spec.meaning == "instances":
        return tally_instances(labels, field.labels, field.validation)
    return tally_classes(labels, field.labels, field.validation, len(model.spec.foreground_classes))
