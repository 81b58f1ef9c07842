"""Choose the thresholds of a model on the held-out fifth of ``train``.

    python training_recipes/tune.py FILE --data FOLDER [--every 2]

Prints the scores at each pair of thresholds, without a diameter and with it; `publish.py` writes the chosen ones down.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch

import napari_unet as nu
from measure import agreement
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import find_instances
from planes import KINDS, held_out_names, read_samples

THRESHOLDS = (0.5, 0.6, 0.7)
SEED_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """Print one line for each pair of thresholds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--every", type=int, default=1, help="take only every so many images")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, names = nu.load_model(args.model), held_out_names(args.data / "train")
    held_out = [s for s in read_samples(args.data / "train", args.kinds) if s.image.name in names][:: args.every]
    for given in (False, True):
        scores: dict[tuple[float, float, str], list[tuple[float, ...]]] = {}
        for sample in held_out:
            diameter = sample.diameter_px if given else None
            maps = nu.predict(model, np.asarray(sample.image.array), axes=sample.image.axes, diameter=diameter)
            for threshold, seed in product(THRESHOLDS, SEED_THRESHOLDS):
                labels = find_instances(maps, ObjectOptions(threshold=threshold, seed_threshold=seed))
                scores.setdefault((threshold, seed, sample.kind), []).append(agreement(labels, sample.labels))
        for (threshold, seed, kind), rows in sorted(scores.items(), key=lambda item: item[0][2]):
            means = "  ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            print(f"diameter {'given' if given else 'not given':9}  {kind:7} {threshold} {seed}  {means}", flush=True)


if __name__ == "__main__":
    main()
