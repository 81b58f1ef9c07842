"""What adapting a model without labels does: ``python -m benchmarks.adapting --data FOLDER [--seeds 0 1 2]``.

FOLDER holds ``nuclei/train/fluo|colour|bright/images|labels``; only training images are looked at, of fluorescence
those that the bundled models were not trained on. Each seed draws images and a window of each. AP at an intersection
over union of 0.5 of the model as it is, adapted to each image alone, and adapted to all images together, for several
priors. The windows are so small that one forward pass is what `napari_unet.segment` gives. One thread; takes about four
minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

import napari_unet as nu
from benchmarks.annotation.images import NUCLEI, Kind, Sample, read_samples
from benchmarks.annotation.scoring import score_objects
from napari_unet.events import finish
from napari_unet.imaging.statistics import statistics_events
from napari_unet.objects.labelling import decode
from napari_unet.training.adaptation import adapt_events
from napari_unet.weights.model import Model
from training_recipes.planes import held_out_names

SIDE_PX = 384
IMAGES = {"fluo": 4, "colour": 8, "bright": 2}
NOTICEABLE = 0.02


@dataclass(frozen=True)
class Shown:
    """An image, and what is found in it."""

    sample: Sample
    base: Model

    @cached_property
    def pixels(self) -> torch.Tensor:
        """What the network sees, (1, C, Y, X)."""
        image, spec = self.sample.image, self.base.spec
        size = image.sizes
        block = image.read(0, slice(0, 1), slice(0, size["Y"]), slice(0, size["X"]))
        statistics = finish(statistics_events(image, spec.normalization))
        return torch.from_numpy(statistics.normalize(block, 0)[:, 0])[None]

    def ap50(self, model: Model) -> float:
        """AP at an intersection over union of 0.5."""
        with torch.inference_mode():
            probabilities = model.network.on_grid(self.pixels).softmax(dim=1)[0].numpy()
        labels, _ = decode(probabilities, model.spec, model.spec.objects)
        return score_objects(labels, self.sample.labels)["ap50"]


def main() -> None:
    """Print a table: means over the images of all seeds, and the gain of each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nuclei-fluorescence")
    parser.add_argument("--kinds", nargs="+", choices=NUCLEI, default=NUCLEI)
    parser.add_argument("--priors", nargs="+", type=float, default=[0, 4, 16, 64, 256])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = nu.load_model(args.model)
    print("| kind | prior | adapted to | before | after | gain of each seed | better, worse |")
    print("|---|---|---|---|---|---|---|")
    for kind in args.kinds:
        drawn = [_drawn(args.data, kind, seed, base) for seed in args.seeds]
        before = [np.array([one.ap50(base) for one in shown]) for shown in drawn]
        for prior in args.priors:
            ways = {"each alone": _alone, "all together": _together}
            for way, measure in ways.items():
                after = [measure(base, shown, prior) for shown in drawn]
                print(f"| {kind} | {prior:g} | {way} | {_row(before, after)} |", flush=True)
    print(f"{time.process_time():.0f} s of CPU time")


def _drawn(data: Path, kind: Kind, seed: int, base: Model) -> list[Shown]:
    """Draw images, and a window of each."""
    samples = read_samples(data, kind, "train")
    if kind == "fluo":
        unseen = held_out_names(data / "nuclei" / "train")
        samples = [sample for sample in samples if sample.name in unseen]
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(samples))[: IMAGES[kind]]
    return [Shown(_window(samples[i], rng), base) for i in chosen]


def _window(sample: Sample, rng: np.random.Generator) -> Sample:
    y, x = (int(rng.integers(max(1, size - SIDE_PX + 1))) for size in sample.labels.shape)
    place = np.s_[y : y + SIDE_PX, x : x + SIDE_PX]
    return Sample(sample.name, sample.pixels[place], sample.labels[place])


def _alone(base: Model, shown: list[Shown], prior: float) -> np.ndarray:
    return np.array([one.ap50(finish(adapt_events(base, [one.sample.image], prior=prior))) for one in shown])


def _together(base: Model, shown: list[Shown], prior: float) -> np.ndarray:
    model = finish(adapt_events(base, [one.sample.image for one in shown], prior=prior))
    return np.array([one.ap50(model) for one in shown])


def _row(before: list[np.ndarray], after: list[np.ndarray]) -> str:
    gains = [new - old for old, new in zip(before, after, strict=True)]
    each = np.concatenate(gains)
    spread = " ".join(f"{gain.mean():+.3f}" for gain in gains)
    changed = f"{(each > NOTICEABLE).sum()}, {(each < -NOTICEABLE).sum()} of {len(each)}"
    return f"{np.concatenate(before).mean():.3f} | {np.concatenate(after).mean():.3f} | {spread} | {changed}"


if __name__ == "__main__":
    main()
