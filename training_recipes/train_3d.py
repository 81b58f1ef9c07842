"""Train a model of nuclei in volumes on synthetic ones alone.

    python training_recipes/train_3d.py --work FOLDER [--steps N] [--out FOLDER]

The work folder keeps a checkpoint: the same command goes on where it was interrupted. Every random choice comes from
the seed and the number of the step. When all steps are done the thresholds are chosen on volumes that were not trained
on, and with ``--out`` the described model is written there as ``nuclei-3d.safetensors``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch.utils.data import DataLoader

import napari_unet as nu
from measure import agreement
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.imaging.statistics import statistics_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import find_instances
from napari_unet.training.augmentation import vary_intensity
from napari_unet.training.targets import INTERIOR, class_targets, touching_weights
from napari_unet.weights.model import Model
from napari_unet.weights.spec import Provenance
from patches import DISTANCE_PX, Batch
from planes import NORMALIZATION
from train import Recipe, Run
from tune import SEED_THRESHOLDS, THRESHOLDS
from volumes import draw_settings, make_volume

NAME = "nuclei-3d"
RECIPE = Recipe(steps=8000, batch=2, shares={}, variant="unet-3d", options={"widths": (8, 16, 32), "depth": 2})
PATCH_PX = (16, 48, 48)
DEPTHS, SIDE_PX = (20, 36), 96
# Patches of a step come from so many volumes; one of them is replaced every so many steps.
POOL, STEPS_A_VOLUME = 32, 6
FOREGROUND_SHARE = 0.8
# The geometric middle of the diameters in the plane.
DIAMETER_PX = 13.5
# Seeds of volumes that are never trained on; they choose the thresholds.
CHOOSING = range(10**6, 10**6 + 6)


class Volume(NamedTuple):
    """A volume as the network learns from it; all (Z, Y, X)."""

    image: npt.NDArray[np.float32]
    target: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32]
    distance: npt.NDArray[np.float32]


def main() -> None:
    """Train until all steps are done, then choose the thresholds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--out", type=Path, help="folder of the described model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw patches; 0: this one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    run = Run(RECIPE, RECIPE.start, args.steps, flows=False, device=torch.device(args.device))
    run.resume(args.work / f"{NAME}.pt")
    steps = range(run.step, run.steps)
    run.train(DataLoader(VolumeSampler(RECIPE.batch, seed=0), batch_size=None, sampler=steps, num_workers=args.workers))
    model = described(run.averaged(), run.step)
    if args.out is not None:
        model.save(args.out / f"{NAME}.safetensors")


class VolumeSampler:
    """Draws the patches of a step; the same ones for the same step.

    Parameters
    ----------
    batch : int
    seed : int
    """

    def __init__(self, batch: int, seed: int) -> None:
        self.count, self.seed = batch, seed

    def __getitem__(self, step: int) -> Batch:
        """Draw the patches of a step."""
        rng = np.random.default_rng([self.seed, 1, step])
        # Half a pool is known at the first step, so that it begins soon.
        first = max(0, step // STEPS_A_VOLUME - POOL // 2)
        chosen = rng.integers(first, step // STEPS_A_VOLUME + POOL // 2, self.count)
        drawn = [cut(volume(self.seed, int(number)), rng) for number in chosen]
        image, target, weight, distance = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        return Batch(image[:, None], target.long(), weight, distance)


@lru_cache(maxsize=POOL + 8)
def volume(seed: int, number: int) -> Volume:
    """Make one of the volumes to learn from."""
    image, labels = synthesize(seed, number)
    wide = labels.astype(np.uint32)
    target = class_targets(wide)
    distance = ndi.distance_transform_edt(target == INTERIOR).clip(max=DISTANCE_PX).astype(np.float32)
    return Volume(normalized(image), target, touching_weights(wide), distance)


def synthesize(seed: int, number: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Make a volume and its labels."""
    rng = np.random.default_rng([seed, 0, number])
    return make_volume(*draw_settings(rng, DEPTHS, SIDE_PX), rng)


def normalized(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return what a network sees of a whole volume, (Z, Y, X)."""
    image = open_image(pixels, "ZYX", name="synthetic")
    statistics = finish(statistics_events(image, NORMALIZATION))
    return statistics.normalize(pixels[None], 0)[0]


def cut(whole: Volume, rng: np.random.Generator) -> Volume:
    """Cut a patch, mostly around a nucleus, turned by right angles and mirrored at random."""
    shape = np.array(whole.target.shape)
    places = np.flatnonzero(whole.target)
    if rng.random() < FOREGROUND_SHARE and len(places):
        middle = np.unravel_index(int(rng.choice(places)), tuple(shape)) + rng.uniform(-0.4, 0.4, 3) * PATCH_PX
        start = np.clip((middle - np.array(PATCH_PX) / 2).astype(int), 0, shape - PATCH_PX)
    else:
        start = rng.integers(0, shape - PATCH_PX + 1)
    box = tuple(slice(a, a + n) for a, n in zip(start, PATCH_PX, strict=True))
    turns, mirrored = int(rng.integers(4)), [axis for axis in range(3) if rng.integers(2)]
    parts = [np.flip(np.rot90(part[box], turns, (1, 2)), mirrored) for part in whole]
    varied = vary_intensity(parts[0][None], rng)[0]
    return Volume(varied, *(np.ascontiguousarray(part) for part in parts[1:]))


def described(model: Model, step: int) -> Model:
    """Choose the thresholds and say where the model comes from."""
    return model.with_spec(
        name="Nuclei in volumes",
        normalization=NORMALIZATION,
        diameter_px=DIAMETER_PX,
        patch_px=PATCH_PX,
        channel_names=("nuclei",),
        objects=choose_thresholds(model),
        provenance=Provenance(
            trained_on="synthetic images of nuclei in volumes, with modelled optics and noise; no real image",
            source="training_recipes/volumes.py of napari-unet",
            license="CC0-1.0",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=nu.__version__,
            notes=f"training_recipes/train_3d.py, {step} steps of {RECIPE.batch} patches of {PATCH_PX} voxels",
        ),
    )


def choose_thresholds(model: Model) -> ObjectOptions:
    """Find the thresholds with the best mean AP on volumes that were not trained on, and print what each gives."""
    seen = [(nu.predict(model, image), labels) for image, labels in choosing_volumes()]
    scores = {}
    for threshold, seed in product(THRESHOLDS, SEED_THRESHOLDS):
        options = ObjectOptions(threshold=threshold, seed_threshold=seed)
        rows = [agreement(find_instances(maps, options), labels) for maps, labels in seen]
        scores[threshold, seed] = np.mean(rows, axis=0)
        print(threshold, seed, "  ".join(f"{value:.3f}" for value in scores[threshold, seed]), flush=True)
    best = max(scores, key=lambda pair: scores[pair][1])
    return ObjectOptions(threshold=best[0], seed_threshold=best[1])


def choosing_volumes() -> Iterator[tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]]:
    """Make the volumes that choose thresholds."""
    return (synthesize(0, number) for number in CHOOSING)


if __name__ == "__main__":
    main()
