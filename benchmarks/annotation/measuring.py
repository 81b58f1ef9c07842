"""Fills one cell: correct, train, segment, score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.annotation.annotator import Corrected, correct
from benchmarks.annotation.cells import Cell
from benchmarks.annotation.classical import forest, otsu
from benchmarks.annotation.images import Kind, Sample, Split, divided
from benchmarks.annotation.networks import MEMBRANES, Trained, fine_tuned, from_scratch, segmenter, unchanged
from benchmarks.annotation.scoring import mean_scores, score_membranes, score_objects
from napari_unet.training.config import FineTuneConfig
from napari_unet.weights.model import Model

# Images that tell whether fluorescence is forgotten
REMEMBERED = 30
# That "ours-2.5d" is shown at once
SLICES = 3


@dataclass
class Bench:
    """The images and the base model; images are read once."""

    data: Path
    base: Model
    _images: dict[tuple[Kind, Split], tuple[list[Sample], list[Sample]]] = field(default_factory=dict)

    def images(self, kind: Kind, report: Split) -> tuple[list[Sample], list[Sample]]:
        """To correct, and to measure on."""
        if (kind, report) not in self._images:
            self._images[kind, report] = divided(self.data, kind, report)
        return self._images[kind, report]

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Return scores and facts of one cell."""
        to_correct, to_measure = self.images(cell.kind, cell.report)
        corrected = correct(to_correct, cell.k, cell.amount, cell.seed)
        begun = time.process_time()
        segment, trained = self._prepare(cell, corrected)
        spent = time.process_time() - begun
        membranes = cell.kind == "membrane"
        scores = score(segment, to_measure, membranes=membranes)
        found: dict[str, Any] = {"scores": scores, "prepared_cpu_s": round(spent, 1)}
        found["reviewed_px"] = int(sum(c.reviewed.sum() for c in corrected))
        if trained is not None:
            found["facts"] = trained.facts
            if cell.arm in ("ours", "forgetting", "unchanged") and cell.kind in ("colour", "bright"):
                found["fluorescence"] = self._remembered(trained.model, cell.report)
        return found

    def _prepare(
        self, cell: Cell, corrected: Sequence[Corrected]
    ) -> tuple[Callable[[Sample], np.ndarray], Trained | None]:
        membranes = cell.kind == "membrane"
        if cell.arm == "otsu":
            return otsu(corrected, membranes=membranes), None
        if cell.arm == "forest":
            return forest(corrected, cell.seed, membranes=membranes), None
        if cell.arm == "unchanged":
            trained = unchanged(self.base)
        else:
            classes = MEMBRANES if membranes else None
            config = FineTuneConfig(seconds=cell.seconds, clock="cpu", device="cpu", seed=cell.seed, classes=classes)
            if cell.arm == "forgetting":
                config = config.model_copy(update={"forget": True})
            if cell.arm == "ours-2.5d":
                config = config.model_copy(update={"slices": SLICES})
            train = from_scratch if cell.arm == "scratch" else fine_tuned
            trained = train(self.base, corrected, config)
        return segmenter(trained.model), trained

    def _remembered(self, model: Model, report: Split) -> dict[str, float]:
        samples = self.images("fluo", report)[1]
        return score(segmenter(model), samples[:: max(1, len(samples) // REMEMBERED)], membranes=False)


def score(segment: Callable[[Sample], np.ndarray], samples: Sequence[Sample], *, membranes: bool) -> dict[str, float]:
    """Mean scores over images."""
    compare = score_membranes if membranes else score_objects
    return mean_scores([compare(segment(sample), sample.labels) for sample in samples])
