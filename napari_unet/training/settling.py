"""What becomes of trained weights: mixed with the old ones as far as needed, with fitting thresholds, and scored."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_unet.events import Event
from napari_unet.training.config import MAX_FORGOTTEN
from napari_unet.training.course import Course
from napari_unet.training.decoding import fit_objects_events
from napari_unet.training.evaluation import evaluate_events, score_events
from napari_unet.training.gate import Replay, Score
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import Field
from napari_unet.training.replay import ReplaySet
from napari_unet.weights.model import Model

# Shares of the new weights; the rest is of the old ones.
SHARES = (1.0, 0.75, 0.5)
# So that the loss on other images than those that tell stays within the limit, too.
TOLERATED = MAX_FORGOTTEN / 2


@dataclass(slots=True)
class Recall:
    """How the old model does on images that it came with; nothing if there are none.

    Attributes
    ----------
    known : ReplaySet, optional
    forgetting : bool
        Whether the new model may do worse on them.
    """

    known: ReplaySet | None
    forgetting: bool
    old: float = field(default=0.0, init=False)

    @property
    def rehearsed(self) -> tuple[Field, ...]:
        """What is learnt from again."""
        return () if self.known is None or self.forgetting else self.known.train

    def look_events(self, model: Model, device: torch.device) -> Generator[Event, None, None]:
        """Score the old model."""
        if self.known is not None:
            self.old = yield from self._score(model, device)

    def compare_events(self, model: Model, device: torch.device) -> Generator[Event, None, Replay | None]:
        """Score a new model."""
        if self.known is None:
            return None
        return Replay(self.old, (yield from self._score(model, device)), self.forgetting)

    def _score(self, model: Model, device: torch.device) -> Generator[Event, None, float]:
        assert self.known is not None
        found = yield from score_events(model, self.known.telling, device, "Checking what it knew before")
        return found.value


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A new model on the device, and how it does.

    Attributes
    ----------
    model : Model
    score : Score, optional
        On the held-out corrections.
    replay : Replay, optional
    """

    model: Model
    score: Score | None
    replay: Replay | None


def settle_events(trainer: Trainer, course: Course, recall: Recall) -> Generator[Event, None, Settled]:
    """Make a model of the weights that a course ended with.

    If it does worse on what the old model came with, the weights are moved back towards the old ones, which on such
    images gives more than it takes on the new ones. Then the settings for objects are fitted to what was trained on.

    Parameters
    ----------
    trainer : Trainer
    course : Course
        If it was stopped before it checked what is held out, the model is not scored on that either.
    recall : Recall

    References
    ----------
    Wortsman et al. (2022), Robust fine-tuning of zero-shot models, https://arxiv.org/abs/2109.01903.
    """
    old, weights = trainer.model.network.state_dict(), course.weights
    for share in SHARES:
        model = trainer.model_with(mixed(old, weights, share))
        replay = yield from recall.compare_events(model, trainer.device)
        if replay is None or recall.forgetting or replay.lost <= TOLERATED:
            break
    objects = yield from fit_objects_events(model, course.split.fields, trainer.device)
    model, score = model.with_spec(objects=objects), course.best_score
    if score is not None and (share < 1 or objects != trainer.model.spec.objects):
        score = yield from evaluate_events(model, course.split, trainer.device)
    if objects != trainer.model.spec.objects:
        replay = yield from recall.compare_events(model, trainer.device)
    return Settled(model, score, replay)


def mixed(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Mix two sets of weights of one network, a share of the new ones; what is no fraction is new."""
    return {
        name: old[name].to(tensor.device).lerp(tensor, share) if tensor.is_floating_point() and share < 1 else tensor
        for name, tensor in new.items()
    }
