"""The course of a fine-tuning: steps, checks on what is held out, and what helps when a step fails."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_unet.errors import NapariUnetError, is_out_of_memory
from napari_unet.events import Event, Notice, StepDone, ValidationDone, ViewDone
from napari_unet.imaging.image import Image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import Window, Wish
from napari_unet.inference.segmentation import segment_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.training.budget import Budget
from napari_unet.training.checkpoints import Checkpoint, Saved
from napari_unet.training.evaluation import evaluate_events
from napari_unet.training.gate import LIKELY, Score, surely_better
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import Field
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.splitting import Split
from napari_unet.weights.model import Model

VALIDATIONS = 8  # aimed at within the budget
ODD_STEPS = 3
SLOWER = 0.1
REHEARSED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody looks at while the training runs; it is segmented anew after each check.

    Attributes
    ----------
    image : Image
    config : InferenceConfig
    region : (start, stop) along T, Z, Y and X
    labels : (T, Z, Y, X) uint32
        Of that region; is written.
    objects : ObjectOptions, optional
        How probabilities become labels; None as the model says.
    """

    image: Image
    config: InferenceConfig
    region: Window
    labels: Any
    objects: ObjectOptions | None = None


class Course:
    """Trains until the time is up, and knows the best so far: also when it is interrupted.

    Parameters
    ----------
    trainer : Trainer
    split : Split
        What to train on, and what is held out.
    rng : numpy Generator
        Of the patches.
    budget : Budget
    watch : Watch, optional
    checkpoint : Checkpoint, optional
        Saves now and then what is needed to go on after a crash.
    rehearsed : sequence of Field
        What the model knows already, and learns from again so as not to forget it.
    """

    def __init__(
        self,
        trainer: Trainer,
        split: Split,
        rng: np.random.Generator,
        budget: Budget,
        watch: Watch | None = None,
        checkpoint: Checkpoint | None = None,
        rehearsed: Sequence[Field] = (),
    ) -> None:
        self.trainer, self.split, self.rng, self.budget = trainer, split, rng, budget
        self.watch, self.checkpoint = watch, checkpoint
        shape = (trainer.config.patch_px, trainer.network.stride, rng)
        self.sampler = PatchSampler(split.fields, *shape, meaning=trainer.model.spec.meaning)
        self.rehearsal = PatchSampler(rehearsed, *shape) if rehearsed else None
        self.best: Mapping[str, torch.Tensor] | None = None
        self.best_score: Score | None = None
        self.steps = 0
        self.step_s = self.check_s = 0.0
        self.reserved_s = 0.0  # of the budget, for what follows the last step
        self.judging_s = 0.0  # of that, for the very end
        self.history: list[Event] = []
        self.stopped = False
        self._odd = self._restarts = 0

    def run(self) -> Generator[Event, None, None]:
        """Step until the time is up, checking now and then, and at the end."""
        yield from self._resume()
        checked = self.budget.elapsed
        while not self.stopped and (self.budget.has(self.check_s + self.step_s + self.reserved_s) or not self.steps):
            yield from self._step()
            if self.budget.elapsed - checked > max(self.budget.seconds / VALIDATIONS, 4 * self.check_s):
                yield from self.check()
                checked = self.budget.elapsed
            if self.checkpoint is not None:
                self.checkpoint.keep(self._saved)
        yield from self.check()

    def check(self) -> Generator[Event, None, None]:
        """Score the averaged weights on the held-out corrections, and keep them unless earlier ones were better.

        By chance one of many always looks best, and would be judged too kindly: so earlier weights are kept only if
        they are likely to be better.
        """
        begun = self.budget.elapsed
        model = self.trainer.averaged_model()
        found = yield from evaluate_events(model, self.split, self.trainer.footing)
        if found is not None:
            if self.best_score is None or not surely_better(found.tally, self.best_score.tally, LIKELY):
                self.best, self.best_score = self.trainer.averaged_weights(), found
            yield self._note(ValidationDone(self.steps, found.value, self.best_score.value, self.budget.elapsed))
        if self.watch is not None:
            yield from self._look(self.watch, model)
        self.check_s = self.budget.elapsed - begun

    def _look(self, watch: Watch, model: Model) -> Generator[Event, None, None]:
        """Segment what somebody looks at; if that fails, never again, for the training is not to end with it."""
        try:
            outputs, wish = (None, watch.labels), Wish(watch.region)
            yield from segment_events(model, watch.image, watch.config, watch.objects, outputs, wish)
            yield ViewDone(self.steps)
        except (NapariUnetError, MemoryError, RuntimeError):  # torch raises the last when memory runs out
            self.watch = None
            yield Notice("What you look at could not be segmented: the training goes on without showing it.")

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The best so far, or the average where nothing is held out."""
        return self.best if self.best is not None else self.trainer.averaged_weights()

    def in_time(self) -> bool:
        """Whether there is time for more than judging what was learnt."""
        return self.budget.has(self.judging_s)

    def _step(self) -> Generator[Event, None, None]:
        begun = self.budget.elapsed
        batch = self._batch(self.trainer.config.batch)
        try:
            loss = self.trainer.step(batch, self.budget.share)
        except Exception as error:
            if not is_out_of_memory(error) or not (sentence := self.trainer.spare_memory()):
                raise
            yield Notice(sentence)
            return
        self.steps += 1
        self.step_s = self.budget.elapsed - begun
        yield self._note(StepDone(self.steps, loss, self.budget.elapsed))
        if math.isfinite(loss):
            self._odd = 0
        else:
            yield from self._after_odd_step(batch)

    def _batch(self, count: int) -> Batch:
        """Draw patches of the corrections, and some of what is rehearsed."""
        again = round(REHEARSED_SHARE * count) if self.rehearsal is not None else 0
        batch = self.sampler.batch(count - again)
        return batch.followed_by(self.rehearsal.batch(again)) if self.rehearsal is not None and again else batch

    def _after_odd_step(self, batch: Batch) -> Generator[Event, None, None]:
        """Go back to the average after three steps whose loss is no number; after three more give up."""
        self._odd += 1
        if self._odd < ODD_STEPS:
            return
        self._odd, self._restarts = 0, self._restarts + 1
        where = f"Last seen: {', '.join(dict.fromkeys(batch.places))}."
        if self._restarts == 1:
            self.trainer.restart(self.best, SLOWER)
            yield Notice(
                f"The loss was infinite or no number in {ODD_STEPS} steps, so the training went back to its best, and "
                f"learns more slowly. {where}"
            )
        else:
            self.stopped = True
            yield Notice(
                "The training was stopped early, because the loss became infinite or no number again; what had been "
                f"learnt before is used. Check the image and its corrections for odd values. {where}"
            )

    def _note(self, event: Event) -> Event:
        self.history.append(event)
        return event

    def _saved(self) -> Saved:
        return Saved(
            self.trainer.state(), self.best, self.steps, self.budget.elapsed, self.rng.bit_generator.state, self.history
        )

    def _resume(self) -> Generator[Event, None, None]:
        saved = None if self.checkpoint is None else self.checkpoint.found()
        if saved is None:
            return
        self.trainer.restore(saved.trainer)
        self.steps, self.rng.bit_generator.state = saved.steps, saved.rng
        self.budget.started -= saved.elapsed_s
        self.history.extend(saved.history)
        yield Notice(f"Going on from step {saved.steps} of a training that was interrupted.")
        yield from saved.history
        if saved.best is not None:
            self.best = saved.best
            self.best_score = yield from evaluate_events(
                self.trainer.model_with(saved.best), self.split, self.trainer.footing
            )
