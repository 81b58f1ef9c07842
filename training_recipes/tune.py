"""Choose the thresholds of a model on the held-out fifth of ``train``.

    python training_recipes/tune.py FILE --data FOLDER [--every 2]

Prints the scores at each pair of a threshold and what parts objects, on demand also with the diameter given;
`publish.py` writes the chosen ones down. Of a model with flows both ways to objects are tried: its classes are what
other programs get.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import napari_unet as nu
from measure import agreement
from napari_unet.events import finish
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import predict_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode, find_instances
from planes import KINDS, held_out_names, read_samples

THRESHOLDS = (0.4, 0.5, 0.6, 0.7)
SEED_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
REACHES_PX = (1, 2, 3, 4, 5, 7)


def main() -> None:
    """Print one line for each pair of thresholds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--every", type=int, default=1, help="take only every so many images")
    parser.add_argument("--diameter", action="store_true", help="also with the diameter given")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, names = nu.load_model(args.model), held_out_names(args.data / "train")
    held_out = [s for s in read_samples(args.data / "train", args.kinds) if s.image.name in names][:: args.every]
    ways: list[tuple[str, float]] = [("seed_threshold", seed) for seed in SEED_THRESHOLDS]
    if model.activation == "flows":
        ways += [("reach_px", reach) for reach in REACHES_PX]
    for given in (False, True) if args.diameter else (False,):
        scores: dict[tuple[str, str, float, float], list[tuple[float, ...]]] = {}
        for sample in held_out:
            diameter = sample.diameter_px if given else None
            prediction = finish(predict_events(model, sample.image, InferenceConfig(diameter_px=diameter)))
            maps = np.asarray(prediction.probabilities)[:, 0, 0]
            for way, other in ways:
                for threshold in THRESHOLDS:
                    options = ObjectOptions(threshold=threshold, **{way: other})
                    found = decode(maps, model.spec, options)[0] if way == "reach_px" else find_instances(maps, options)
                    key = (sample.kind, way, threshold, other)
                    scores.setdefault(key, []).append(agreement(found, sample.labels))
        for (kind, way, threshold, other), rows in sorted(scores.items()):
            means = "  ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            title = f"diameter {'given' if given else 'not given':9}  {kind:7} threshold {threshold} {way} {other}"
            print(f"{title:60} {means}", flush=True)


if __name__ == "__main__":
    main()
