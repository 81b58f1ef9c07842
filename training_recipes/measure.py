"""Measure models on images with known objects, as they are, smaller and larger.

    python training_recipes/measure.py nuclei FILE ... --data FOLDER [--part test] [--scales 0.5 1 2]

Prints AP50, mAP over IoU 0.5 to 0.95 and Dice of the foreground, the means over the images of each kind: without a
diameter, with the median of the image's objects given, and with an estimate; on demand also of Otsu's threshold and a
watershed. The part `held-out` is the fifth of ``train`` that chooses settings; `test` is for reporting only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

import napari_unet as nu
from napari_unet.imaging.image import open_image
from napari_unet.imaging.rescaling import Rescaled
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import tidy
from napari_unet.objects.linking import find_overlaps
from napari_unet.weights.model import Model
from planes import KINDS, LUMINANCE, Sample, held_out_names, normalized, read_samples

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
Labels = npt.NDArray[Any]


def main() -> None:
    """Print one line for each model, kind, scale and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("held-out", "test"), default="held-out")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0])
    parser.add_argument("--turns", choices=("none", "flips", "all"), default="none")
    parser.add_argument("--every", type=int, default=1, help="take only every so many images")
    parser.add_argument("--otsu", action="store_true", help="measure Otsu's threshold and a watershed too")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    samples = read_samples(args.data / ("test" if args.part == "test" else "train"), args.kinds)
    if args.part == "held-out":
        names = held_out_names(args.data / "train")
        samples = [sample for sample in samples if sample.image.name in names]
    for scale in args.scales:
        shown = [resized(sample, scale) for sample in samples[:: args.every]]
        for name in args.models:
            model = nu.load_model(name)
            _report(f"{name}, scale {scale}", shown, [found(model, s, args.turns) for s in shown])
            given = [found(model, s, args.turns, s.diameter_px) for s in shown]
            _report(f"{name}, scale {scale}, diameter given", shown, given)
            told = [found(model, s, args.turns, estimated(model, s)) for s in shown]
            _report(f"{name}, scale {scale}, diameter estimated", shown, told)
        if args.otsu:
            _report(f"Otsu and watershed, scale {scale}", shown, [otsu_watershed(s) for s in shown])


def _report(title: str, samples: list[Sample], labels: list[Labels]) -> None:
    scores = [agreement(mine, sample.labels) for mine, sample in zip(labels, samples, strict=True)]
    for kind in dict.fromkeys(sample.kind for sample in samples):
        rows = np.array([score for score, sample in zip(scores, samples, strict=True) if sample.kind == kind])
        means = "  ".join(f"{value:.3f}" for value in rows.mean(axis=0))
        print(f"{title:50} {kind:7} {means}  {len(rows):4} images, AP50 ± {rows[:, 0].std():.3f}", flush=True)


def resized(sample: Sample, scale: float) -> Sample:
    """Resample an image as a prediction would, and its labels to the nearest pixel."""
    if scale == 1:
        return sample
    source, axes = Rescaled(sample.image, scale), sample.image.axes
    size = source.sizes
    block = source.read(0, slice(0, 1), slice(0, size["Y"]), slice(0, size["X"]))[:, 0]
    pixels = np.rint(block).astype(sample.image.dtype)
    picture = np.moveaxis(pixels, 0, -1) if "C" in axes else pixels[0]
    rows, columns = (
        np.minimum((np.arange(size[axis]) + 0.5) / scale, n - 1).astype(int)
        for axis, n in zip("YX", sample.labels.shape, strict=True)
    )
    image = open_image(picture, axes, name=sample.image.name)
    return Sample(sample.kind, image, sample.labels[np.ix_(rows, columns)])


def found(model: Model, sample: Sample, turns: str = "none", diameter: float | None = None) -> Labels:
    """Objects that a model finds."""
    image = np.asarray(sample.image.array)
    return nu.segment(model, image, axes=sample.image.axes, diameter=diameter, turns=turns)  # type: ignore[arg-type]


def estimated(model: Model, sample: Sample) -> float | None:
    """Diameter that the model tells; none if it cannot."""
    return nu.estimate_diameter(model, np.asarray(sample.image.array), axes=sample.image.axes)


def otsu_watershed(sample: Sample) -> Labels:
    """Segment as people do without a network: Otsu's threshold, then a watershed on the distance."""
    grey = ndi.gaussian_filter(normalized(sample.image, LUMINANCE), 1)
    mask = ndi.binary_fill_holes(grey > threshold_otsu(grey))
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
    peaks = peak_local_max(distance, min_distance=7, labels=ndi.label(mask)[0], exclude_border=False)
    seeds = np.zeros(mask.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return tidy(watershed(-distance, seeds, mask=mask), ObjectOptions(min_size_px=20))


def agreement(labels: Labels, truth: Labels) -> tuple[float, float, float]:
    """AP = TP / (TP + FP + FN) at IoU 0.5 and its mean over 0.5 to 0.95, and Dice of the foreground."""
    iou = find_overlaps(labels, truth).iou
    found_count, true_count = (int((np.unique(x) > 0).sum()) for x in (labels, truth))
    hits = [int((iou > t).sum()) for t in THRESHOLDS]
    precision = [h / max(1, found_count + true_count - h) for h in hits]
    dice = 2 * ((labels > 0) & (truth > 0)).sum() / max(1, (labels > 0).sum() + (truth > 0).sum())
    return precision[0], float(np.mean(precision)), float(dice)


if __name__ == "__main__":
    main()
