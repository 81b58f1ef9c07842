"""What people do without a network: a threshold and a watershed, and a random forest on features of each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features, peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed
from sklearn.ensemble import RandomForestClassifier

from benchmarks.annotation.annotator import Corrected
from benchmarks.annotation.images import Sample
from benchmarks.annotation.scoring import mean_scores, score_membranes, score_objects
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode, tidy
from napari_unet.training.targets import class_targets

Segmenter = Callable[[Sample], np.ndarray]

SMOOTHINGS, FACTORS, DISTANCES = (0.5, 1.0, 2.0), (0.8, 0.9, 1.0, 1.1, 1.2), (4, 6, 8, 10, 13)
TREES, MOST_PIXELS = 100, 60_000
FOREST_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)


def otsu(corrected: Sequence[Corrected], *, membranes: bool) -> Segmenter:
    """Tune smoothing, threshold and distance between seeds on what was corrected."""
    if membranes:
        grid = list(product(SMOOTHINGS, FACTORS, [0]))
        return best([_threshold(*g) for g in grid], corrected, membranes=True)
    return best([_watershed(*g) for g in product(SMOOTHINGS, FACTORS, DISTANCES)], corrected, membranes=False)


def best(segmenters: Sequence[Segmenter], corrected: Sequence[Corrected], *, membranes: bool) -> Segmenter:
    """Return the one that does best where the annotator vouches for the labels."""

    def value(segment: Segmenter) -> float:
        scores = []
        for c in corrected:
            found, truth = (np.where(c.reviewed, x, 0) for x in (segment(c.sample), c.sample.labels))
            scores.append(score_membranes(found, truth) if membranes else score_objects(found, truth))
        mean = mean_scores(scores)
        return mean["dice"] - mean["rand_error"] if membranes else mean["ap50"] + mean["map"]

    return max(segmenters, key=value)


def _threshold(sigma: float, factor: float, _: int) -> Segmenter:
    def segment(sample: Sample) -> np.ndarray:
        grey = ndi.gaussian_filter(sample.grey, sigma)
        return (grey > factor * threshold_otsu(grey)).astype(np.uint32)

    return segment


def _watershed(sigma: float, factor: float, distance_px: int) -> Segmenter:
    def segment(sample: Sample) -> np.ndarray:
        grey = ndi.gaussian_filter(sample.grey, sigma)
        mask = ndi.binary_fill_holes(grey > factor * threshold_otsu(grey))
        depth = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
        peaks = peak_local_max(depth, min_distance=distance_px, labels=ndi.label(mask)[0], exclude_border=False)
        seeds = np.zeros(mask.shape, int)
        seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        return tidy(watershed(-depth, seeds, mask=mask), ObjectOptions(min_size_px=20))

    return segment


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What the maps of the forest mean."""

    meaning: str
    activation: str = "softmax"
    dims: int = 2


def forest(corrected: Sequence[Corrected], seed: int, *, membranes: bool) -> Segmenter:
    """Train a random forest on features of several scales, as ilastik does, and tune its thresholds."""
    rng = np.random.default_rng(seed)
    features, classes = zip(*(_pixels(c, rng, len(corrected), membranes=membranes) for c in corrected), strict=True)
    trees = RandomForestClassifier(TREES, min_samples_leaf=2, n_jobs=1, random_state=seed)
    trees.fit(np.concatenate(features), np.concatenate(classes))
    maps: dict[str, np.ndarray] = {}
    outputs = _Outputs("semantic" if membranes else "instances")

    def with_thresholds(foreground: float, seeds: float) -> Segmenter:
        options = ObjectOptions(threshold=foreground, seed_threshold=seeds, min_size_px=0 if membranes else 20)

        def segment(sample: Sample) -> np.ndarray:
            if sample.name not in maps:
                maps[sample.name] = _probabilities(trees, sample, classes=2 if membranes else 3)
            return decode(maps[sample.name], outputs, options)[0]

        return segment

    seeds = (0.5,) if membranes else FOREST_THRESHOLDS
    return best([with_thresholds(*g) for g in product(FOREST_THRESHOLDS, seeds)], corrected, membranes=membranes)


def _features(sample: Sample) -> np.ndarray:
    """(Y, X, F) intensities, edges and second derivatives at several scales."""
    channel = -1 if sample.pixels.ndim == 3 else None
    pixels = sample.pixels if channel else sample.grey
    return multiscale_basic_features(pixels.astype(np.float32), sigma_min=0.7, sigma_max=12, channel_axis=channel)


def _pixels(
    corrected: Corrected, rng: np.random.Generator, images: int, *, membranes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes of reviewed pixels, a share of those that the forest may have."""
    labels = corrected.sample.labels
    classes = labels if membranes else class_targets(labels)
    places = np.flatnonzero(corrected.reviewed)
    places = rng.choice(places, min(len(places), MOST_PIXELS // images), replace=False)
    features = _features(corrected.sample)
    return features.reshape(-1, features.shape[-1])[places], classes.ravel()[places]


def _probabilities(trees: RandomForestClassifier, sample: Sample, classes: int) -> np.ndarray:
    features = _features(sample)
    found = trees.predict_proba(features.reshape(-1, features.shape[-1]))
    maps = np.zeros((classes, *features.shape[:2]), np.float32)
    for column, number in enumerate(trees.classes_):
        maps[int(number)] = found[:, column].reshape(features.shape[:2])
    return maps
