"""A model scored on held-out corrections."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from napari_unet.events import Event, Notice, Progress
from napari_unet.inference.engines.choosing import choose_engine
from napari_unet.inference.engines.ladder import Ladder
from napari_unet.inference.engines.means import Means
from napari_unet.inference.exact.intervals import view, whole
from napari_unet.objects.labelling import decode
from napari_unet.training.gate import Score, score
from napari_unet.training.metrics import Tally, tally_classes, tally_instances
from napari_unet.training.pairs import Field
from napari_unet.training.splitting import Split
from napari_unet.weights.model import Model
from napari_unet.weights.spec import ModelSpec

# Enough to judge by, and little enough to be done often on a laptop
MAX_VALIDATION_PX = 2_000_000
CONTEXT_PX = 64

Floats = npt.NDArray[np.float32]


class Footing:
    """With what networks are run while a model is trained: with less, once memory has run out.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    means : Means
        That sufficed last.
    """

    def __init__(self, device: torch.device) -> None:
        self.means = Means(device, "float32")


def evaluate_events(model: Model, split: Split, footing: Footing) -> Generator[Event, None, Score | None]:
    """Score a model on the validation regions of a split, tile by tile.

    Returns
    -------
    Score or None
        None if nothing is held out.
    """
    if not split.held_out_px:
        return None
    return (yield from score_events(model, split.fields, footing, "Checking on held-out corrections"))


def score_events(model: Model, fields: Sequence[Field], footing: Footing, stage: str) -> Generator[Event, None, Score]:
    """Score a model on the validation regions of fields, of which there must be at least one.

    Parameters
    ----------
    model : Model
    fields : sequence of Field
    footing : Footing
        Its means change where memory runs out, which is told.
    stage : str
        What is being done, for people.
    """
    chosen = _enough([field for field in fields if field.validation.any()])
    total: Tally | None = None
    for number, held_out in enumerate(chosen, start=1):
        field = crop_field(held_out, held_out.validation, MAX_VALIDATION_PX)
        probabilities = yield from predict_field(model, field.image, footing, stage)
        labels, _ = decode(probabilities, model.spec, model.spec.objects)
        found = tally_labels(labels, field.labels, field.validation, model.spec)
        total = found if total is None else total + found
        yield Progress(stage, number, len(chosen))
    assert total is not None
    return score(total, model.spec.meaning)


def predict_field(model: Model, image: Floats, footing: Footing, stage: str) -> Generator[Event, None, Floats]:
    """All outputs (K, [Z,] Y, X) for a normalized image (C, [Z,] Y, X); where memory runs out, `footing` changes."""
    size = image.shape[1:]
    ladder = Ladder(partial(choose_engine, model, size), footing.means)
    pixels, window = torch.from_numpy(image)[None], whole(size)
    out, number = torch.empty((len(model.spec.outputs), *size)), 0
    for found in ladder.run(lambda wanted: view(pixels, window, wanted), window):
        footing.means = ladder.means
        if isinstance(found, Notice):
            yield found
            continue
        piece, values = found
        view(out, window, piece).copy_(values[0])
        number += 1
        if number + ladder.pieces_left > 1:
            yield Progress(stage, number, number + ladder.pieces_left)
    return out.numpy()


def crop_field(field: Field, where: npt.NDArray[np.bool_], most_px: int) -> Field:
    """Crop a field to a region with some context, as far as that is not too large.

    Parameters
    ----------
    field : Field
    where : ([Z,] Y, X) bool
        The region.
    most_px : int
        If it is larger than that, a part around some pixel of the region is taken.
    """
    places = np.nonzero(where)
    spans = [
        (max(0, int(place.min()) - CONTEXT_PX) // CONTEXT_PX * CONTEXT_PX, min(size, int(place.max()) + 1 + CONTEXT_PX))
        for place, size in zip(places, where.shape, strict=True)
    ]
    centre = [int(place[len(place) // 2]) for place in places]
    window = tuple(slice(start, stop) for start, stop in _shrunk(spans, centre, most_px))
    return Field(
        field.image[(slice(None), *window)],
        field.labels[window],
        field.train[window],
        field.validation[window],
    )


def _shrunk(spans: Sequence[tuple[int, int]], centre: Sequence[int], most_px: int) -> list[tuple[int, int]]:
    """Halve the longest side around a pixel until the window is small enough."""
    shrunk = list(spans)
    while np.prod([stop - start for start, stop in shrunk]) > most_px:
        axis = int(np.argmax([stop - start for start, stop in shrunk]))
        start, stop = shrunk[axis]
        half = (stop - start) // 2
        grid = min(CONTEXT_PX, 1 << (half.bit_length() - 1))
        first = int(np.clip(centre[axis] - half // 2, start, stop - half)) // grid * grid
        beyond = max(0, centre[axis] + 1 - first - half)  # the grid may have moved it away from the pixel
        first = max(start, first + -(-beyond // grid) * grid)
        shrunk[axis] = (first, min(stop, first + half))
    return shrunk


def _enough(fields: list[Field]) -> list[Field]:
    """Take every k-th field, so that all kinds of image are among them."""
    total = sum(field.validation.size for field in fields)
    return fields[:: max(1, round(total / MAX_VALIDATION_PX))]


def tally_labels(
    labels: npt.NDArray[np.uint32], truth: npt.NDArray[np.uint32], where: npt.NDArray[np.bool_], spec: ModelSpec
) -> Tally:
    """Compare labels with the truth in a region, as objects or as classes."""
    if spec.meaning == "instances":
        return tally_instances(labels, truth, where)
    return tally_classes(labels, truth, where, len(spec.foreground_classes))
