"""Cut the replay sets that come with the bundled models: labelled crops against forgetting.

    python training_recipes/replay.py --data FOLDER [--out FOLDER]

A fine-tuning learns again from some of them, and the rest tells whether the new model has forgotten what the old one
knew. Those that tell come from the fifth of ``train`` that no bundled model was trained on. The crops hold what the
networks are shown: one channel, normalized with the whole image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_unet.training.replay import SIDE_PX, SUFFIX, write_crops
from planes import NORMALIZATION, Sample, as_planes, held_out_names, read_samples

# Names of the sets: the kind of image, and how many crops are learnt from and tell.
SETS = {
    "nuclei-fluorescence": ("fluo", 52, 36),
    "nuclei-tissue": ("colour", 20, 12),
    "nuclei-brightfield": ("bright", 6, 4),
}
TRIES = 20


def main() -> None:
    """Write one file for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("napari_unet/weights/models/replay"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = held_out_names(args.data / "train")
    for name, (kind, learnt, telling) in SETS.items():
        samples = read_samples(args.data / "train", [kind])
        rng = np.random.default_rng(0)
        parts = [
            crops([s for s in samples if (s.image.name in names) is tells], count, rng)
            for tells, count in ((False, learnt), (True, telling))
        ]
        path = args.out / f"{name}{SUFFIX}"
        pixels, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        write_crops(path, pixels, labels, np.arange(len(labels)) >= len(parts[0][1]), NORMALIZATION)
        print(f"{path}: {len(labels)} crops, {path.stat().st_size / 1e6:.2f} MB")


def crops(
    samples: Sequence[Sample], count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Cut `count` crops: images are drawn as often as a training draws them, each as rarely as may be."""
    planes = [p for i, p in enumerate(as_planes(samples, {s.kind: 1.0 for s in samples})) if _first_look(samples, i)]
    order: list[int] = []
    while len(order) < count:
        shares = np.array([plane.share for plane in planes])
        take = min(count - len(order), len(planes))
        order += rng.choice(len(planes), take, replace=False, p=shares / shares.sum()).tolist()
    found = [_crop(planes[i].image, planes[i].labels, rng) for i in order]
    pixels, labels = zip(*found, strict=True)
    return np.stack(pixels), np.stack(labels)


def _first_look(samples: Sequence[Sample], number: int) -> bool:
    """Tissue is shown in two ways, and only the first is how a prediction shows it."""
    return "C" not in samples[0].image.axes or number % 2 == 0


def _crop(
    image: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Cut a crop at random; once in two that of many with most objects, for crops without any tell nothing."""
    best, most = (image[:SIDE_PX, :SIDE_PX], labels[:SIDE_PX, :SIDE_PX]), -1
    for _ in range(TRIES if rng.integers(2) else 3):
        y, x = (int(rng.integers(0, n - SIDE_PX + 1)) for n in labels.shape)
        place = (slice(y, y + SIDE_PX), slice(x, x + SIDE_PX))
        objects = len(np.unique(labels[place]))
        if objects > most:
            best, most = (image[place], labels[place]), objects
    return best


if __name__ == "__main__":
    main()
