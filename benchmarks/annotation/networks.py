"""The arms with a network: the base model as it is, from scratch, and fine-tuned by this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import napari_unet as nu
from benchmarks.annotation.annotator import Corrected
from benchmarks.annotation.images import Sample
from napari_unet.events import finish
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import FineTuneResult, as_pair, finetune_events
from napari_unet.training.pairs import TrainingPair
from napari_unet.weights.model import Model, model_from_spec

MEMBRANES = ("cell", "membrane")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, and what is known of its training."""

    model: Model
    facts: dict[str, float | str | bool | None]


def unchanged(base: Model) -> Trained:
    """Return the base model."""
    return Trained(base, {})


def from_scratch(base: Model, corrected: Sequence[Corrected], config: FineTuneConfig) -> Trained:
    """Train the same network from random weights."""
    return _trained(model_from_spec(base.spec, config.seed), corrected, config)


def fine_tuned(base: Model, corrected: Sequence[Corrected], config: FineTuneConfig) -> Trained:
    """Fine-tune as the program does; the candidate is measured, whether it was accepted or not."""
    return _trained(base, corrected, config)


def tuned(start: Model, corrected: Sequence[Corrected], config: FineTuneConfig) -> FineTuneResult:
    """Train on what was corrected, and judge the result."""
    if config.slices is None:
        pairs = [as_pair((c.sample.image, c.sample.labels, c.reviewed), None, c.sample.name) for c in corrected]
    else:
        pairs = stacked(corrected)
    return finish(finetune_events(start, pairs, config))


def stacked(corrected: Sequence[Corrected]) -> list[TrainingPair]:
    """Make one pair of each stack: its sections that were not corrected are context.

    Raises
    ------
    ValueError
        If a sample is no section of a stack.
    """
    stacks: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for one in corrected:
        stack, z = one.sample.stack, one.sample.z
        if stack is None:
            raise ValueError(one.sample.name)
        empty = stack, np.zeros(stack.shape, np.uint32), np.zeros(stack.shape, bool)
        _, labels, reviewed = stacks.setdefault(id(stack), empty)
        labels[z], reviewed[z] = one.sample.labels, one.reviewed
    return [as_pair(arrays, "ZYX", f"stack {number}") for number, arrays in enumerate(stacks.values(), start=1)]


def _trained(start: Model, corrected: Sequence[Corrected], config: FineTuneConfig) -> Trained:
    result = tuned(start, corrected, config)
    facts = {"steps": result.steps, "accepted": result.accepted, "held_out_px": result.held_out_px}
    return Trained(result.candidate, {**facts, "objects": result.candidate.spec.objects.model_dump_json()})


def segmenter(model: Model) -> Callable[[Sample], np.ndarray]:
    """Segment as the program does; a stack whose sections are seen together is segmented once."""
    stacks: dict[int, np.ndarray] = {}

    def segment(sample: Sample) -> np.ndarray:
        if model.spec.slices > 1 and sample.stack is not None:
            known = id(sample.stack)
            if known not in stacks:
                stacks[known] = np.asarray(nu.segment(model, sample.stack, axes="ZYX"))
            return stacks[known][sample.z]
        return np.asarray(nu.segment(model, sample.pixels, axes=sample.axes))

    return segment
