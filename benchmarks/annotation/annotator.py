"""What the scripted annotator corrects: which images, and which of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from benchmarks.annotation.images import Sample

AMOUNTS = ("whole", "window-128", "window-256", "strokes")
# A stroke session: so much of the objects are drawn, each with the pixels around it
OBJECT_SHARE, MARGIN_PX = 0.25, 4
# and so many strokes say "nothing here" (or "inside of a cell", where there are no objects).
STROKES, STROKE_PX, STROKE_RADIUS = 6, 60, 3


@dataclass(frozen=True, eq=False)
class Corrected:
    """A sample with the region (Y, X) that the annotator vouches for."""

    sample: Sample
    reviewed: np.ndarray


def correct(samples: Sequence[Sample], k: int, amount: str, seed: int) -> list[Corrected]:
    """Correct `k` images drawn by a seed: the first of more are those of fewer."""
    order = np.random.default_rng(1000 + seed).permutation(len(samples))[:k]
    rng = np.random.default_rng(2000 + seed)
    return [Corrected(samples[i], reviewed_region(samples[i], amount, rng)) for i in order]


def reviewed_region(sample: Sample, amount: str, rng: np.random.Generator) -> np.ndarray:
    """Return the pixels that the annotator vouches for: all, a window that holds objects, or strokes.

    Raises
    ------
    ValueError
        If there is no such amount.
    """
    if amount == "whole":
        return np.ones(sample.labels.shape, bool)
    if amount.startswith("window-"):
        return _window(sample.labels, int(amount.removeprefix("window-")), rng)
    if amount == "strokes":
        return _strokes(sample.labels, rng)
    raise ValueError(amount)


def _window(labels: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Of a few windows at random that with most objects: nobody corrects where nothing is."""
    best = np.zeros(labels.shape, bool)
    most = -1
    for _ in range(4):
        corner = [int(rng.integers(0, max(1, size - side + 1))) for size in labels.shape]
        place = tuple(slice(start, start + side) for start in corner)
        count = len(np.unique(labels[place]))
        if count > most:
            best, most = np.zeros(labels.shape, bool), count
            best[place] = True
    return best


def _strokes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vouch for a quarter of the objects with what surrounds them, and strokes through what is not object."""
    ids = np.unique(labels[labels > 0])
    reviewed = np.zeros(labels.shape, bool)
    if len(ids) > 1:
        drawn = rng.choice(ids, max(1, round(OBJECT_SHARE * len(ids))), replace=False)
        reviewed |= ndi.binary_dilation(np.isin(labels, drawn), iterations=MARGIN_PX)
        through = labels == 0
    else:
        through = np.ones(labels.shape, bool)  # classes: a stroke vouches for whatever lies under it
    for _ in range(STROKES if len(ids) > 1 else 4 * STROKES):
        reviewed |= _stroke(labels.shape, rng) & through
    return reviewed


def _stroke(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw a straight line at random."""
    start = np.array([rng.integers(0, size) for size in shape])
    angle = rng.uniform(0, 2 * np.pi)
    along = np.arange(STROKE_PX)[:, None] * np.array([np.sin(angle), np.cos(angle)])
    points = np.rint(start + along).astype(int)
    inside = np.all((points >= 0) & (points < shape), axis=1)
    drawn = np.zeros(shape, bool)
    drawn[tuple(points[inside].T)] = True
    return ndi.binary_dilation(drawn, iterations=STROKE_RADIUS)
