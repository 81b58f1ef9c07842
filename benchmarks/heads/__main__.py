"""Would another head find more objects: ``python -m benchmarks.heads --data FOLDER [--seconds 100] [--out FOLDER]``.

FOLDER holds ``nuclei/train/fluo|colour/images|labels``; only training images are looked at, a part of which is never
trained on but measured on (of fluorescence such as the bundled model has not seen either). The network of a bundled
model learns for so many seconds of CPU time on one thread, from random weights ("scratch") and from its own ("bundled",
its last layer new in all arms):

- classes: background, interior and border, as now;
- distance: these and how far a pixel is from the edge of its object, as a share of the largest such distance in it;
- flows: these and, as Cellpose has it, in which direction the middle of the object lies.

Each is then turned into objects by its own decoder, and by that of the classes, all with 24 settings tried on
images that were trained on. Each cell is kept in a file of its own under ``--out``, so that the same command goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import napari_unet as nu
from benchmarks.annotation.cells import keep, read
from benchmarks.annotation.images import Kind, Sample, divided
from benchmarks.annotation.scoring import mean_scores, score_objects
from benchmarks.heads.decoding import Seen, decoded, fitted
from benchmarks.heads.targets import Array
from benchmarks.heads.training import OUTPUTS, HeadCell, trained
from napari_unet.events import finish
from napari_unet.training.fit import as_pair
from napari_unet.training.pairs import Field, load_fields
from napari_unet.weights.model import Model
from training_recipes.planes import held_out_names

FITTED_ON, FITTED_PX, MEASURED_ON, MEASURED_PX = 8, 256, 20, 512


def measured(to_fit: Seen, seen: Seen, way: str) -> dict[str, Any]:
    """Score one decoder on (maps, truth), with settings that were fitted on others."""
    settings, begun = fitted(to_fit, way), time.process_time()
    found = [decoded(maps, way, *settings) for maps, _ in seen]
    decoding_s = (time.process_time() - begun) / sum(true.size / 1e6 for _, true in seen)
    scores = [score_objects(labels, true) for labels, (_, true) in zip(found, seen, strict=True)]
    each = [round(score["ap50"], 4) for score in scores]
    return {**mean_scores(scores), "each_ap50": each, "decoding_s_per_mpx": decoding_s, "settings": settings}


class Images:
    """Fields to learn from and to measure on, of each kind, read once."""

    def __init__(self, data: Path, base: Model) -> None:
        self.data, self.base = data, base
        self._known: dict[Kind, tuple[list[Field], list[Field]]] = {}

    def of(self, kind: Kind) -> tuple[list[Field], list[Field]]:
        """Return what is learnt from, and what is measured on."""
        if kind not in self._known:
            self._known[kind] = self._read(kind)
        return self._known[kind]

    def _read(self, kind: Kind) -> tuple[list[Field], list[Field]]:
        learnt, others = divided(self.data, kind, "train")
        if kind == "fluo":
            unseen = held_out_names(self.data / "nuclei" / "train")
            others = [sample for sample in others if sample.name in unseen]
        return self._fields(learnt), self._fields(others[:MEASURED_ON])

    def _fields(self, samples: Sequence[Sample]) -> list[Field]:
        pairs = [as_pair((sample.pixels, sample.labels), sample.axes, sample.name) for sample in samples]
        return finish(load_fields(pairs, self.base.spec, 0))

    def measure(self, cell: HeadCell) -> dict[str, Any]:
        """Train, and score by the head's own decoder and by that of the classes."""
        learnt, others = self.of(cell.kind)
        predict, steps = trained(self.base, learnt, cell)
        some = learnt[:: max(1, len(learnt) // FITTED_ON)][:FITTED_ON]
        to_fit, seen = (_seen(predict, *each) for each in ((some, FITTED_PX), (others, MEASURED_PX)))
        ways = {way: measured(to_fit, seen, way) for way in dict.fromkeys((cell.head, "classes"))}
        return {"steps": steps, "ways": ways}


def _seen(predict: Callable[[Tensor], Array], fields: Sequence[Field], most_px: int) -> Seen:
    crop = np.s_[..., :most_px, :most_px]
    return [(predict(torch.from_numpy(field.image[crop])), field.labels[crop]) for field in fields]


def row(found: list[dict[str, Any]], plain: list[dict[str, Any]], way: str) -> str:
    """Means over seeds with half of their range, and what is gained over the classes, 95 % of redraws of the images."""
    ways, base = [one["ways"][way] for one in found], [one["ways"]["classes"] for one in plain]
    steps = f"{np.mean([one['steps'] for one in found]):.0f}"
    columns = [[one[name] for one in ways] for name in ("ap50", "map", "dice")]
    scores = [f"{np.mean(column):.3f} ± {np.ptp(column) / 2:.3f}" for column in columns]
    decoding_s = f"{np.mean([one['decoding_s_per_mpx'] for one in ways]):.2f}"
    gains = np.mean([np.subtract(a["each_ap50"], b["each_ap50"]) for a, b in zip(ways, base, strict=True)], axis=0)
    redrawn = np.random.default_rng(0).choice(gains, (2000, len(gains))).mean(axis=1)
    low, high = np.quantile(redrawn, (0.025, 0.975))
    gain = "" if ways == base else f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    return " | ".join([steps, *scores, decoding_s, gain])


def main() -> None:
    """Measure what is not yet known, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("heads-results"))
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    for name, all_of_them in (("kinds", ("colour", "fluo")), ("starts", ("scratch", "bundled")), ("heads", OUTPUTS)):
        parser.add_argument(f"--{name}", nargs="+", choices=list(all_of_them), default=list(all_of_them))
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = Images(args.data, nu.load_model("nuclei-fluorescence"))
    wanted = list(product(args.kinds, args.starts, dict.fromkeys(("classes", *args.heads))))
    known: dict[HeadCell, dict[str, Any]] = {}
    for seed, combination in product(args.seeds, wanted):
        cell = HeadCell(*combination, args.seconds, seed)
        found = read(args.out, cell)
        if found is None:
            found = images.measure(cell)
            keep(args.out, cell, found)
            print(cell.name, found["ways"][cell.head]["ap50"], flush=True)
        known[cell] = found
    print("\n| kind | start | head | decoded by | steps | AP50 | mAP | Dice | s per Mpx | AP50 gained |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, start, head in wanted:
        arms = [[known[HeadCell(kind, start, one, args.seconds, s)] for s in args.seeds] for one in (head, "classes")]
        for way in dict.fromkeys((head, "classes")):
            print(f"| {kind} | {start} | {head} | {way} | {row(*arms, way)} |")


if __name__ == "__main__":
    main()
