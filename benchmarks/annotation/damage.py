"""Deliberately bad labels: what careless or mistaken annotators leave behind. Nothing here changes what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage as ndi
from skimage.draw import line
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from skimage.morphology import disk
from skimage.segmentation import expand_labels

from benchmarks.annotation.annotator import Corrected
from benchmarks.annotation.images import Sample

# Neighbours are merged whose centres are at most so many mean diameters apart,
MERGED_DIAMETERS = 3.0
# by a bridge of this radius.
BRIDGE_RADIUS = 2
RADII_PX = (3, 4)
SHIFT_PX = 6
MISSING_SHARE = 1 / 3


def merged(labels: np.ndarray) -> np.ndarray:
    """Join each object with its nearest neighbour that is still alone, by a bridge between their centres."""
    found = labels.copy()
    objects = regionprops(labels)
    centres = np.array([o.centroid for o in objects]).reshape(-1, 2)
    diameters = np.array([o.equivalent_diameter_area for o in objects])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    distances[distances > MERGED_DIAMETERS * (diameters[:, None] + diameters[None]) / 2] = np.inf
    np.fill_diagonal(distances, np.inf)
    for i in range(len(objects)):
        if not np.isfinite(distances[i]).any():
            continue
        k = int(distances[i].argmin())
        found[labels == objects[k].label] = objects[i].label
        bridge = _bridge(labels.shape, centres[i], centres[k])
        found[bridge & (labels == 0)] = objects[i].label
        for taken in (i, k):
            distances[taken] = distances[:, taken] = np.inf
    return found


def _bridge(shape: tuple[int, ...], start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    drawn = np.zeros(shape, bool)
    drawn[line(*np.rint(start).astype(int), *np.rint(stop).astype(int))] = True
    return ndi.binary_dilation(drawn, iterations=BRIDGE_RADIUS)


def eroded(labels: np.ndarray, radius: int) -> np.ndarray:
    """Keep pixels of an object that lie deeper in it than a radius; small objects vanish, as with a tight outline."""
    footprint = disk(radius)
    least, most = (f(labels, footprint=footprint, mode="nearest") for f in (ndi.minimum_filter, ndi.maximum_filter))
    return np.where(least == most, labels, 0).astype(labels.dtype)


def dilated(labels: np.ndarray, radius: int) -> np.ndarray:
    """Let objects grow by a radius, until they meet."""
    return expand_labels(labels, radius)


def shifted(labels: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Move all objects by (Y, X) pixels; nothing comes in from outside."""
    height, width = labels.shape
    found = np.zeros_like(labels)
    (into_y, from_y), (into_x, from_x) = _spans(offset[0], height), _spans(offset[1], width)
    found[into_y, into_x] = labels[from_y, from_x]
    return found


def _spans(offset: int, size: int) -> tuple[slice, slice]:
    """Where pixels go along an axis, and where they come from."""
    kept = max(0, size - abs(offset))
    into, origin = max(0, offset), max(0, -offset)
    return slice(into, into + kept), slice(origin, origin + kept)


def without_a_third(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Forget a third of the objects."""
    ids = np.unique(labels[labels > 0])
    forgotten = rng.choice(ids, round(MISSING_SHARE * len(ids)), replace=False)
    return np.where(np.isin(labels, forgotten), 0, labels).astype(labels.dtype)


def of_another(labels: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Put the labels of another image where those of this one belong, repeated or cut to its shape."""
    missing = [(0, max(0, a - b)) for a, b in zip(labels.shape, other.shape, strict=True)]
    height, width = labels.shape
    # What is repeated is another object.
    found: np.ndarray = label(np.pad(other, missing, mode="wrap")[:height, :width]).astype(labels.dtype)
    return found


def thresholded(sample: Sample) -> np.ndarray:
    """Call everything an object that is brighter than Otsu's threshold, with all specks, touching objects in one."""
    return ndi.label(sample.grey > threshold_otsu(sample.grey))[0].astype(sample.labels.dtype)


def _resized(sample: Sample, _: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
    change = (eroded, dilated)[rng.integers(2)]
    return change(sample.labels, int(rng.choice(RADII_PX)))


def _shifted(sample: Sample, _: Sequence[Sample], rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return shifted(sample.labels, (round(SHIFT_PX * np.sin(angle)), round(SHIFT_PX * np.cos(angle))))


def _swapped(sample: Sample, samples: Sequence[Sample], _: np.random.Generator) -> np.ndarray:
    number = [s.name for s in samples].index(sample.name)
    return of_another(sample.labels, samples[number - 1].labels)


DAMAGES: dict[str, Callable[[Sample, Sequence[Sample], np.random.Generator], np.ndarray]] = {
    "merged": lambda sample, _, __: merged(sample.labels),
    "resized": _resized,
    "shifted": _shifted,
    "missing": lambda sample, _, rng: without_a_third(sample.labels, rng),
    "swapped": _swapped,
    "otsu": lambda sample, _, __: thresholded(sample),
}


def damage(corrected: Sequence[Corrected], how: str, samples: Sequence[Sample], seed: int) -> list[Corrected]:
    """Spoil the labels of all corrected images in one way.

    Parameters
    ----------
    corrected : sequence of Corrected
    how : str
        "good", or one of `DAMAGES`.
    samples : sequence of Sample
        All that might have been corrected: labels of the one before are swapped in.
    seed : int
        Which way, how much, and which objects; the same way and as much in all images.
    """
    if how == "good":
        return list(corrected)
    found = []
    for c in corrected:
        # Made anew each time: an annotator makes the same mistake everywhere.
        rng = np.random.default_rng(3000 + seed)
        spoiled = DAMAGES[how](c.sample, samples, rng)
        found.append(replace(c, sample=Sample(c.sample.name, c.sample.pixels, spoiled)))
    return found
