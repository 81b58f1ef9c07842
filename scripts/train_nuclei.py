"""Train the bundled starter model `nuclei`; ``training_recipes/measure.py`` says how good it is.

    python scripts/train_nuclei.py --data FOLDER [--seconds 3600] [--out FILE]

FOLDER holds the images of the 2018 Data Science Bowl, BBBC038 of the Broad Bioimage Benchmark
Collection (https://bbbc.broadinstitute.org/BBBC038, CC0), sorted as
``train|test/fluo|colour|bright/images|labels/NAME.tif``: fluorescence, stained tissue (RGB) and
brightfield; labels are instance ids. It trains on ``train``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch

import napari_unet as nu
from napari_unet.events import Event, StepDone, ValidationDone
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.objects.config import ObjectOptions
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import FineTuneResult, as_pair, finetune_events
from napari_unet.training.pairs import TrainingPair
from napari_unet.weights.spec import Provenance

KINDS = ("fluo", "colour", "bright")
NORMALIZATION = Normalization(channels="grey", polarity="bright-objects", stain="haematoxylin")
PATCH_PX, BATCH = 128, 6
# Of 0.5, 0.7, 0.8 and 0.9 the best compromise between crowded and faint nuclei, on ``train``.
SEED_THRESHOLD = 0.7
# Stained tissue and brightfield are rarer in the set, and harder, than fluorescence.
EMPHASIS = {"fluo": 1.0, "colour": 1.5, "bright": 2.0}


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("napari_unet/weights/models/nuclei.safetensors"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.data, args.seconds, args.out)


def read_pairs(folder: Path) -> list[tuple[str, TrainingPair]]:
    """Read all image and label pairs of a split, with their kind."""
    pairs = []
    for kind in KINDS:
        for path in sorted((folder / kind / "images").glob("*.tif")):
            pixels = tifffile.imread(path)
            image = open_image(pixels, "YXC" if pixels.ndim == 3 else "YX", name=path.stem)
            labels = tifffile.imread(folder / kind / "labels" / path.name)
            pairs.append((kind, as_pair((image, labels), None, path.stem)))
    return pairs


def train(data: Path, seconds: float, out: Path) -> None:
    """Train from scratch, and save the best on the held-out fifth of ``train``."""
    pairs = read_pairs(data / "train")
    # Tissue is shown twice: as haematoxylin, which people get, and as inverted luminance.
    weighted = [replace(pair, emphasis=EMPHASIS[kind]) for kind, pair in pairs]
    shown = [both for pair in weighted for both in (pair, in_luminance(pair))[: 1 + ("C" in pair.image.axes)]]
    shown = [shown[i] for i in shuffled(shown)]
    model = nu.new_model("unet-small", in_channels=1).with_spec(normalization=NORMALIZATION)
    config = FineTuneConfig(seconds=seconds, patch_px=PATCH_PX, batch=BATCH)
    result = watched(finetune_events(model, shown, config))
    print(result.sentence)
    diameters = np.concatenate([diameters_px(pair.labels) for _, pair in pairs])
    counts = Counter(kind for kind, _ in pairs)
    described = result.candidate.with_spec(
        name="Nuclei",
        diameter_px=round(float(np.median(diameters)), 1),
        channel_names=("nuclei",),
        objects=ObjectOptions(seed_threshold=SEED_THRESHOLD),
        provenance=Provenance(
            trained_on=f"{len(pairs)} images of nuclei: {counts['fluo']} in fluorescence, {counts['colour']} of "
            f"stained tissue, {counts['bright']} in brightfield; a fifth of them chose the best moment",
            source="2018 Data Science Bowl, BBBC038v1, https://bbbc.broadinstitute.org/BBBC038 (Caicedo et al. 2019, "
            "https://doi.org/10.1038/s41592-019-0612-7), with community corrections of the labels",
            license="CC0-1.0",
            created=result.candidate.spec.provenance.created,
            version=nu.__version__,
            notes=f"scripts/train_nuclei.py, {result.steps} steps of {BATCH} patches of {PATCH_PX} x {PATCH_PX} pixels",
        ),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    described.save(out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def watched(work: Generator[Event, None, FineTuneResult]) -> FineTuneResult:
    """Run a fine-tuning and print how it goes."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if isinstance(event, ValidationDone):
            print(f"{event.elapsed_s:6.0f} s, step {event.step}: score {event.score:.4f}", flush=True)
        elif isinstance(event, StepDone) and event.step % 50 == 0:
            print(f"{event.elapsed_s:6.0f} s, step {event.step}: loss {event.loss:.3f}", flush=True)


def in_luminance(pair: TrainingPair) -> TrainingPair:
    """Return the pair with its colour image reduced to inverted luminance."""
    grey = np.asarray(pair.image.array) @ np.array([0.2125, 0.7154, 0.0721]) if "C" in pair.image.axes else None
    if grey is None:
        return pair
    bright = np.median(grey) > np.percentile(grey, 99.8) / 3
    return replace(
        pair, image=open_image((255 - grey if bright else grey).astype(np.float32), "YX", name=pair.image.name)
    )


def shuffled(pairs: list[TrainingPair]) -> list[int]:
    """Order that mixes the kinds but keeps the two looks of one image together."""
    names = sorted({pair.image.name for pair in pairs})
    rank = dict(zip(names, np.random.default_rng(0).permutation(len(names)).tolist(), strict=True))
    return sorted(range(len(pairs)), key=lambda i: rank[pairs[i].image.name])


def diameters_px(labels: np.ndarray) -> np.ndarray:
    """Diameters of discs with the areas of the objects."""
    return np.sqrt(np.bincount(labels.ravel())[1:] * 4 / np.pi)


if __name__ == "__main__":
    main()
