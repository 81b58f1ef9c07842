"""Measure what finds the nuclei of a volume with known objects, as it is and as a start for fine-tuning.

    python training_recipes/measure_3d.py FILE --data FOLDER [--seconds 60] [--seeds 0 1 2]

``FOLDER`` holds ``volume.tif`` and ``labels.tif``, which are for reporting only. Prints AP50, mAP over IoU 0.5 to
0.95, Dice of the foreground and the mean IoU of each true object with the best that was found. Then the half of the
volume with small x is corrected, each start is fine-tuned on it for so many seconds of CPU time, and the nuclei that
lie wholly in the other half are measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

import napari_unet as nu
from measure import agreement
from napari_unet.events import finish_warning
from napari_unet.inference.diameters import median_diameter
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import tidy
from napari_unet.objects.linking import find_overlaps
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import as_pair, finetune_events
from napari_unet.weights.model import Model

FLAT = ("nuclei", "nuclei-fluorescence")
# Distances of the seeds of the watershed, in voxels.
DISTANCES = (2, 3, 4, 5, 7)
PATCH_PX, BATCH = 64, 2

Labels = npt.NDArray[Any]


class Scene(NamedTuple):
    """A volume (Z, Y, X), its labels, and the median diameter of its nuclei in the planes."""

    image: npt.NDArray[Any]
    labels: Labels
    diameter: float


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--starts", nargs="*", choices=("synthetic", "scratch", *FLAT), default=["synthetic", "scratch"]
    )
    parser.add_argument("--only-starts", action="store_true", help="measure nothing as it is")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image, labels = (tifffile.imread(args.data / f"{name}.tif") for name in ("volume", "labels"))
    diameters = [size for plane in labels if (size := median_diameter(plane)) is not None]
    scene = Scene(image, labels, float(np.median(diameters)))
    print(f"diameter in the planes: {scene.diameter:.1f} pixels")
    model = nu.load_model(args.model)
    if not args.only_starts:
        as_they_are(model, scene)
    for seed in args.seeds:
        for start in args.starts:
            finetuned(start, model, scene, args.seconds, seed)


def as_they_are(model: Model, scene: Scene) -> None:
    """Measure models and Otsu's threshold on the whole volume and on the second half."""
    for name, one in {"synthetic": model, **{name: nu.load_model(name) for name in FLAT}}.items():
        report(f"{name}", scene, nu.segment(one, scene.image))
        report(f"{name}, diameter given", scene, nu.segment(one, scene.image, diameter=scene.diameter))
        told = nu.estimate_diameter(one, scene.image)
        words = "none" if told is None else f"{told:.1f}"
        report(f"{name}, diameter estimated: {words}", scene, nu.segment(one, scene.image, diameter=told))
    for distance in DISTANCES:
        report(f"Otsu and watershed, seeds {distance} apart", scene, otsu_watershed(scene.image, distance))


def otsu_watershed(image: npt.NDArray[Any], apart: int) -> Labels:
    """Segment a volume without a network: Otsu's threshold, then a watershed on the distance."""
    grey = ndi.gaussian_filter(image.astype(np.float32), 1)
    mask = grey > threshold_otsu(grey)
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
    peaks = peak_local_max(distance, min_distance=apart, labels=ndi.label(mask)[0], exclude_border=False)
    seeds = np.zeros(mask.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return tidy(watershed(-distance, seeds, mask=mask), ObjectOptions(min_size_px=20))


def finetuned(start: str, model: Model, scene: Scene, seconds: float, seed: int) -> None:
    """Fine-tune on the first half and measure what comes out."""
    base = model if start == "synthetic" else untrained(model, seed) if start == "scratch" else nu.load_model(start)
    reviewed = np.zeros(scene.labels.shape, bool)
    reviewed[..., : scene.labels.shape[-1] // 2] = True
    flat = base.spec.dims == 2
    config = FineTuneConfig(
        seconds=seconds,
        clock="cpu",
        device="cpu",
        seed=seed,
        patch_px=PATCH_PX,
        batch=4 * BATCH if flat else BATCH,
        diameter_px=scene.diameter if flat else None,
    )
    pair = as_pair((scene.image, scene.labels, reviewed), "ZYX", "volume")
    result = finish_warning(finetune_events(base, [pair], config))
    found = nu.segment(result.candidate, scene.image, diameter=config.diameter_px)
    report(f"{start}, seed {seed}, {result.steps} steps, accepted {result.accepted}", scene, found)


def untrained(model: Model, seed: int) -> Model:
    """Return the same network with random weights, and nothing else changed."""
    torch.manual_seed(seed)
    network = nu.new_model(
        model.spec.network.variant, in_channels=model.spec.network.in_channels, **model.spec.network.options
    ).network
    return Model(network, model.spec).with_spec(trained=False)


def report(title: str, scene: Scene, labels: Labels) -> None:
    """Print how many objects were found, and the scores of the whole volume and of the second half."""
    whole, half = scores(labels, scene.labels), scores(*second_half(labels, scene.labels))
    words = ["  ".join(f"{value:.3f}" for value in part) for part in (whole, half)]
    counts = f"{len(np.unique(labels)) - 1:3} of {len(np.unique(scene.labels)) - 1}"
    print(f"{title:52} {counts}  whole: {words[0]}   second half: {words[1]}", flush=True)


def second_half(labels: Labels, truth: Labels) -> tuple[Labels, Labels]:
    """Leave what lies in the half with large x, without true objects that reach into the other one."""
    middle = truth.shape[-1] // 2
    seen = np.unique(truth[..., :middle])
    counts = ~np.isin(truth, seen[seen > 0])
    counts[..., :middle] = False
    return np.where(counts, labels, 0), np.where(counts, truth, 0)


def scores(labels: Labels, truth: Labels) -> tuple[float, float, float, float]:
    """AP50, mAP, Dice of the foreground, and the mean over true objects of the best IoU."""
    overlaps = find_overlaps(labels, truth)
    best = [overlaps.iou[overlaps.b == i].max(initial=0) for i in np.unique(truth[truth > 0])]
    return (*agreement(labels, truth), float(np.mean(best)))


if __name__ == "__main__":
    main()
