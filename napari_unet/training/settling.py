"""What becomes of trained weights: mixed with the old ones as far as these are good, with fitted thresholds, scored."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from napari_unet.events import Event
from napari_unet.training.course import Course
from napari_unet.training.decoding import fit_objects_events
from napari_unet.training.evaluation import Footing, evaluate_events, score_events
from napari_unet.training.gate import LIKELY, SURE, Replay, Score, surely_better
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import Field
from napari_unet.training.replay import ReplaySet
from napari_unet.weights.model import Model

# Shares of the new weights; the rest is of the old ones.
SHARES = (0.25, 0.5, 0.75, 1.0)
MIXING = "Mixing old and new"
# In less time not all images are looked at that tell what is forgotten; at least every fourth is.
SHORT_S, MOST_SKIPPED = 60.0, 4


@dataclass(slots=True)
class Recall:
    """How the old model does on images that it came with; nothing if there are none.

    Attributes
    ----------
    known : ReplaySet, optional
    forgetting : bool
        Whether the new model may do worse on them.
    budget_s : float
        Of the fine-tuning: in a short one fewer images are looked at.
    """

    known: ReplaySet | None
    forgetting: bool
    budget_s: float = math.inf
    old: float = field(default=0.0, init=False)

    @property
    def rehearsed(self) -> tuple[Field, ...]:
        """What is learnt from again."""
        return () if self.known is None or self.forgetting else self.known.train

    def look_events(self, model: Model, footing: Footing) -> Generator[Event, None, None]:
        """Score the old model."""
        if self.known is not None:
            self.old = yield from self._score(model, footing)

    def compare_events(self, model: Model, footing: Footing) -> Generator[Event, None, Replay | None]:
        """Score a new model."""
        if self.known is None:
            return None
        return Replay(self.old, (yield from self._score(model, footing)), self.forgetting)

    def _score(self, model: Model, footing: Footing) -> Generator[Event, None, float]:
        assert self.known is not None
        every = max(1, math.ceil(min(MOST_SKIPPED, SHORT_S / self.budget_s)))
        found = yield from score_events(model, self.known.telling[::every], footing, "Checking what it knew before")
        return found.value


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A new model, and how it does.

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


def mixes(trainer: Trainer) -> bool:
    """Whether there are old weights that new ones can be mixed with: a new head has none."""
    return trainer.model.trained and trainer.config.classes is None


def settle_events(
    trainer: Trainer, course: Course, recall: Recall, old_score: Score | None
) -> Generator[Event, None, Settled]:
    """Make a model of the weights that a course ended with.

    They are mixed with those that it began with, by the smallest share of new weights that is not surely worse than the
    best one: so where the old model is good, a few corrections change it little. Where it is surely worse than the new
    weights, these are taken as they are: a mixture with something useless may look good on a few corrections, and be
    useless elsewhere. Then settings for objects are fitted to what was trained on, and stay if they are not worse on
    what is held out.

    Parameters
    ----------
    trainer : Trainer
    course : Course
        If it was stopped before it checked what is held out, the model is not scored on that either.
    recall : Recall
    old_score : Score, optional
        Of the old model on what is held out.

    References
    ----------
    Wortsman et al. (2022), Robust fine-tuning of zero-shot models, https://arxiv.org/abs/2109.01903 (mixing weights);
    Breiman et al. (1984), Classification and Regression Trees (the simplest that is not surely worse).
    """
    model, score = trainer.model_with(course.weights), course.best_score
    if mixes(trainer):
        model, score = yield from _mixed_model(trainer, course, old_score)
    instances = model.spec.meaning == "instances"
    # Many settings are tried for objects: by chance some look good, where nothing else can tell.
    sure = SURE if instances and score is None else LIKELY
    fit = fit_objects_events(model, course.split.fields, trainer.footing, recall.rehearsed, course.in_time, sure)
    fitted = model.with_spec(objects=(yield from fit))
    if score is None or fitted.spec.objects == model.spec.objects:
        model = fitted
    else:
        found = yield from evaluate_events(fitted, course.split, trainer.footing)
        assert found is not None
        # Gaps that are closed in classes hardly show in their score.
        if not instances or found.value >= score.value:
            model, score = fitted, found
    return Settled(model, score, (yield from recall.compare_events(model, trainer.footing)))


def _mixed_model(
    trainer: Trainer, course: Course, old_score: Score | None
) -> Generator[Event, None, tuple[Model, Score | None]]:
    """Mix old and new weights; if nothing is held out, what was trained on decides, and there is no score."""
    fields, old, before = course.split.fields, trainer.model.network.state_dict(), old_score
    if course.best_score is None:
        fields = tuple(replace(field, validation=field.train) for field in fields)
        before = yield from score_events(trainer.model_with(old), fields, trainer.footing, MIXING)
    assert before is not None
    mixtures = list[tuple[Model, Score]]()
    for share in SHARES:
        model = trainer.model_with(mixed(old, course.weights, share))
        mixtures.append((model, (yield from score_events(model, fields, trainer.footing, MIXING))))
    chosen, score = mixtures[-1]
    if not surely_better(before.tally, score.tally):
        best = max((score for _, score in mixtures), key=lambda score: score.value)
        chosen, score = next(one for one in mixtures if not surely_better(one[1].tally, best.tally))
    return chosen, None if course.best_score is None else score


def mixed(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Mix two sets of weights of one network, a share of the new ones; what is no fraction is new."""
    return {
        name: old[name].to(tensor.device).lerp(tensor, share) if tensor.is_floating_point() and share < 1 else tensor
        for name, tensor in new.items()
    }
