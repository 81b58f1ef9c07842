"""How often does the gate err? Random runs of fine-tuning, some on bad labels, and what each is truly worth.

    python -m benchmarks.annotation.gate --data FOLDER [--report train|test] [--runs 50] [--first 0] [--out FOLDER]
        [--base nuclei-fluorescence] [--weak nuclei-small] [--seconds 20 40 80] [--images 20] [--threads 1]

Each run is drawn from its number: kind of image, images corrected, how much of them, budget in seconds of CPU time,
model to start from, and whether the labels are good or spoiled in one of six ways. What is held out is spoiled with
the rest, as it is when a user errs. The gate's verdict stands beside the AP at an IoU of 0.5 of the old and the new
model on images of that kind that nobody corrected, at most ``--images`` of them, evenly over all (0: all). Worse and
better mean by more than 0.02.

FOLDER and ``--report`` are those of ``python -m benchmarks.annotation``. Each run is kept in a file of its own under
``--out``: the same command goes on where it was interrupted, and ``--first`` lets others work on other numbers side by
side. Files of runs that are to be measured again have to be removed; other settings need another folder. At the end
``results.json`` and ``results.md`` are written, from all kept runs that were measured on the same split.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_unet as nu
from benchmarks.annotation.annotator import Corrected, correct
from benchmarks.annotation.cells import keep, kept, read
from benchmarks.annotation.damage import damage
from benchmarks.annotation.drawing import SECONDS, Run, draw
from benchmarks.annotation.gate_report import write
from benchmarks.annotation.images import Kind, Sample, Split, divided
from benchmarks.annotation.networks import segmenter, tuned
from benchmarks.annotation.scoring import mean_scores, score_objects
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import FineTuneResult
from napari_unet.training.gate import Score, judge
from napari_unet.weights.model import Model

REMEMBERED: Kind = "fluo"


@dataclass(frozen=True, slots=True)
class Known:
    """Scores of a model that is not trained, which several runs need.

    Attributes
    ----------
    report : "train" | "test"
    kind : str
    sha256 : str
        The beginning of that of the weights.
    images : int
        At most so many are measured on; 0 for all.
    """

    report: Split
    kind: Kind
    sha256: str
    images: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.report}_{self.kind}_{self.sha256}_{self.images}"


@dataclass
class Trial:
    """Images and models, read once, and where results are kept."""

    data: Path
    out: Path
    most_images: int
    _images: dict[tuple[Kind, Split], tuple[list[Sample], list[Sample]]] = field(default_factory=dict)
    _models: dict[str, Model] = field(default_factory=dict)

    def measure(self, run: Run) -> dict[str, Any]:
        """Fine-tune, and score both models where nobody corrected."""
        base = self._model(run.base)
        to_correct = self._read(run.kind, run.report)[0]
        true = correct(to_correct, run.k, run.amount, run.seed)
        given = damage(true, run.labels, to_correct, run.seed)
        config = FineTuneConfig(seconds=run.seconds, clock="cpu", device="cpu", seed=run.seed)
        result = tuned(base, given, config)
        found = {**verdict(result), **quality(true, given), "old": self._known(base, run.kind, run.report)}
        found["new"] = self._score(result.candidate, run.kind, run.report)
        if run.kind != REMEMBERED:
            found["old_fluorescence"] = self._known(base, REMEMBERED, run.report)
            found["new_fluorescence"] = self._score(result.candidate, REMEMBERED, run.report)
        return {**found, "base_sha256": base.sha256, "images": self.most_images}

    def _model(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = nu.load_model(name)
        return self._models[name]

    def _read(self, kind: Kind, report: Split) -> tuple[list[Sample], list[Sample]]:
        if (kind, report) not in self._images:
            self._images[kind, report] = divided(self.data, kind, report)
        return self._images[kind, report]

    def _known(self, base: Model, kind: Kind, report: Split) -> dict[str, Any]:
        known = Known(report, kind, base.sha256[:12], self.most_images)
        found = read(self.out / "old", known)
        if found is None:
            keep(self.out / "old", known, {"scores": self._score(base, kind, report)})
            found = read(self.out / "old", known)
            assert found is not None
        scores: dict[str, Any] = found["scores"]
        return scores

    def _score(self, model: Model, kind: Kind, report: Split) -> dict[str, Any]:
        """Mean scores, and AP50 of each image."""
        samples = evenly(self._read(kind, report)[1], self.most_images)
        segment = segmenter(model)
        scores = [score_objects(segment(sample), sample.labels) for sample in samples]
        return {**mean_scores(scores), "each_ap50": [round(s["ap50"], 4) for s in scores]}


def evenly(samples: list[Sample], most: int) -> list[Sample]:
    """Take so many, evenly over all; 0 takes all."""
    if not most or len(samples) <= most:
        return samples
    return [samples[i] for i in np.linspace(0, len(samples) - 1, most).round().astype(int)]


def verdict(result: FineTuneResult) -> dict[str, Any]:
    """Return what the gate said, and what it knew."""
    replay = getattr(result, "replay", None)
    return {
        "accepted": result.accepted,
        # Differs where only what was forgotten speaks against the new model
        "accepted_on_corrections": judge(result.old_score, result.new_score, result.held_out_px).accepted,
        "held_out": {"old": _plain(result.old_score), "new": _plain(result.new_score), "px": result.held_out_px},
        "replay": None if replay is None else {"old": _value(replay.old), "new": _value(replay.new)},
        "steps": result.steps,
        "tuned_cpu_s": round(result.seconds, 1),
        "sentence": result.sentence,
    }


def _plain(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    names = ("value", "low", "high", "dice", "f1", "pixels", "objects")
    return {name: getattr(score, name) for name in names}


def _value(score: Score | float) -> float:
    return score.value if isinstance(score, Score) else float(score)


def quality(true: list[Corrected], given: list[Corrected]) -> dict[str, Any]:
    """How much of the truth the labels hold that the annotator vouches for; 1 for good labels."""
    scores = [
        score_objects(np.where(t.reviewed, g.sample.labels, 0), np.where(t.reviewed, t.sample.labels, 0))
        for t, g in zip(true, given, strict=True)
    ]
    return {"given": mean_scores(scores), "reviewed_px": int(sum(t.reviewed.sum() for t in true))}


def main() -> None:
    """Measure what is not yet known, then write tables."""
    args = parsed()
    torch.set_num_threads(args.threads)
    trial = Trial(args.data, args.out, args.images)
    for number in range(args.first, args.first + args.runs):
        run = draw(number, args.report, (args.base, args.weak), args.seconds)
        if read(args.out / "runs", run) is None:
            found = trial.measure(run)
            keep(args.out / "runs", run, {**found, "threads": args.threads})
            values = {name: found[name]["ap50"] for name in ("old", "new")}
            print(f"{run.name}: {json.dumps({'accepted': found['accepted'], **values})}", flush=True)
    print(write((r for r in kept(args.out / "runs") if r["report"] == args.report), args.out))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--report", choices=("train", "test"), default="train")
    parser.add_argument("--out", type=Path, default=Path("gate-results"))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--base", default="nuclei-fluorescence", help="name or file of the model to start from")
    parser.add_argument("--weak", default="nuclei-small", help="name or file of a weaker one, for a part of the runs")
    parser.add_argument("--seconds", nargs="+", type=float, default=list(SECONDS), help="budgets to draw from")
    parser.add_argument("--images", type=int, default=20, help="most images of a kind to measure on; 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
