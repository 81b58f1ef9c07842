"""Which part of an image is worth a look next: fields, what looking at one may gain, and what it took."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_unet.objects.editing.changes import Box

Order = Literal["most uncertain", "least stable", "random", "in turn"]

FIELD_PX = 256
# Pixels whose class the network is sure of tell nothing: the mean is taken of the most uncertain share.
TELLING_SHARE = 0.1
# A field whose neighbour has been reviewed is worth less: by half right beside it, less so with distance.
NEAR_FIELDS = 1.5
BYTE_MAX = 255
# Doubt is as wide as an edge is long: every other row and column tell of it.
STEP_PX = 2
# Correcting more hardly pays when the middle one of the last fields changed less than these shares.
LAST_FIELDS = 5
FEW_PIXELS, FEW_OBJECTS = 0.01, 0.05


@dataclass(frozen=True, slots=True)
class Gain:
    """What looking at a field may teach.

    Attributes
    ----------
    uncertainty : float
        0 if the network is sure of every pixel, 1 if it knows nothing; or 0 if its answer for no pixel changes when
        the image is flipped.
    classes : tuple of float
        Share of each class among the pixels.
    """

    uncertainty: float
    classes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """What correcting a field took.

    Attributes
    ----------
    pixels : float
        Share of the pixels that were changed.
    objects : float
        Share of the objects that were changed, removed or added.
    """

    pixels: float
    objects: float


def divide(shape: Sequence[int], side: int = FIELD_PX) -> list[Box]:
    """Divide an image (T, Z, Y, X) into fields: windows of a slice, about equally large.

    >>> len(divide((1, 3, 500, 700)))
    18
    """
    times, depth, height, width = (int(n) for n in shape)
    rows, columns = (_parts(n, side) for n in (height, width))
    return [((t, t + 1), (z, z + 1), y, x) for t, z, y, x in product(range(times), range(depth), rows, columns)]


def gain_of(probabilities: npt.NDArray[Any]) -> Gain:
    """Estimate what a field may teach by the entropy of the probabilities (K, ...) in it, float or uint8.

    It is the mean over the tenth of the pixels of which the network is least sure: a single doubtful object
    in an empty field counts as much as in a crowded one.
    """
    p = probabilities.astype(np.float32)
    if probabilities.dtype == np.uint8:
        p /= BYTE_MAX
    if len(p) == 1:
        p = np.concatenate([1 - p, p])
    p = p.reshape(len(p), -1)
    p /= np.maximum(p.sum(axis=0), 1e-6)
    entropy = -(p * np.log(np.maximum(p, 1e-6))).sum(axis=0) / math.log(len(p))
    count = max(1, round(TELLING_SHARE * entropy.size))
    telling = np.partition(entropy, entropy.size - count)[-count:]
    return Gain(float(telling.mean()), _shares(p))


def instability_of(answers: npt.NDArray[Any]) -> Gain:
    """Estimate what a field may teach by how often the network changes its answer when the image is flipped.

    Parameters
    ----------
    answers : (M, K, ...) float
        Probabilities of the same pixels, of M versions of the image; at least two classes.

    Returns
    -------
    Gain
        Its uncertainty is the mean share of pixels whose class is another one than that of the mean of all versions.
    """
    p = answers.reshape(*answers.shape[:2], -1)
    mean = p.mean(axis=0)
    return Gain(float((p.argmax(axis=1) != mean.argmax(axis=0)).mean()), _shares(mean))


def gains_of(probabilities: Any, fields: Sequence[Box]) -> Iterator[Gain]:  # noqa: ANN401
    """Estimate the gain of each field of an image with probabilities (K, T, Z, Y, X), one at a time."""
    for t, z, y, x in fields:
        yield gain_of(np.asarray(probabilities[:, slice(*t), slice(*z), slice(*y, STEP_PX), slice(*x, STEP_PX)]))


def next_field(
    fields: Sequence[Box],
    gains: Mapping[int, Gain],
    seen: Collection[int],
    order: Order = "most uncertain",
    seed: int = 0,
) -> int | None:
    """Choose the field to look at next.

    Fields near to those that have been seen count less, and so do fields of whose classes many have been seen: what
    is looked at is spread over the image and over what the network finds in it.

    Parameters
    ----------
    fields : sequence of Box
    gains : mapping of int to Gain
        By field, as far as they are known.
    seen : collection of int
        Fields that have been reviewed or skipped.
    order : str
        "most uncertain" or "least stable", by gains, "random", to compare with, or "in turn".
    seed : int
        Of the random order.

    Returns
    -------
    int or None
        None if all have been seen.
    """
    left = sorted(set(range(len(fields))) - set(seen))
    if not left:
        return None
    if order == "in turn":
        return left[0]
    if order == "random":
        shuffled = np.random.default_rng(seed).permutation(len(fields))
        unseen = set(left)
        return next(int(index) for index in shuffled if int(index) in unseen)
    known = [index for index in left if index in gains]
    if not known:
        return left[0]
    worth = np.array([gains[index].uncertainty for index in known])
    return known[int(np.argmax(worth * _novelty(fields, known, seen) * _rarity(gains, known, seen)))]


def effort_of(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Effort:
    """Measure what was changed in a field between two label images of it."""
    changed = before != after
    ids = [np.unique(labels) for labels in (before, after)]
    there = np.union1d(*ids)
    touched = np.union1d(before[changed], after[changed])
    objects = np.count_nonzero(there)
    share = np.count_nonzero(touched) / objects if objects else 0.0
    return Effort(float(changed.mean()), float(share))


def recent(efforts: Sequence[Effort]) -> Effort | None:
    """Return what the middle one of the last fields took; None as long as there are too few of them."""
    if len(efforts) < LAST_FIELDS:
        return None
    last = efforts[-LAST_FIELDS:]
    return Effort(median(one.pixels for one in last), median(one.objects for one in last))


def pays(effort: Effort) -> bool:
    """Whether correcting more still changes something."""
    return effort.pixels >= FEW_PIXELS or effort.objects >= FEW_OBJECTS


def widened(mask: npt.NDArray[np.bool_], margin: int, axes: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Widen what is true by a margin along some axes, within the array.

    >>> widened(np.array([[0, 0, 0, 1]], bool), 2, (1,)).astype(int).tolist()
    [[0, 1, 1, 1]]
    """
    wide = mask.copy()
    for axis in axes:
        reached = 0
        while reached < margin:  # each pass doubles how far it reaches
            step = min(reached + 1, margin - reached)
            before = np.moveaxis(wide.copy(), axis, 0)
            line = np.moveaxis(wide, axis, 0)
            line[step:] |= before[:-step]
            line[:-step] |= before[step:]
            reached += step
    return wide


def _shares(p: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the share of the pixels (K, n) in which each class is most probable."""
    counts = np.bincount(p.argmax(axis=0), minlength=len(p))
    return tuple(float(count) / p.shape[1] for count in counts)


def _parts(size: int, side: int) -> list[tuple[int, int]]:
    """Divide an axis into about equal parts of about a side."""
    count = max(1, round(size / side))
    cuts = [size * i // count for i in range(count + 1)]
    return list(pairwise(cuts))


def _novelty(fields: Sequence[Box], indices: Sequence[int], seen: Collection[int]) -> npt.NDArray[np.float64]:
    """Return 1 far away from what has been seen, and one half right beside it."""
    if not seen:
        return np.ones(len(indices))
    side = max(1, *(stop - start for start, stop in fields[0]))
    centres = np.array([[(start + stop) / 2 for start, stop in field] for field in fields])
    # A slice or a time point further on counts like a field further on.
    centres = centres / [1, 1, side, side]
    apart, _ = cKDTree(centres[list(seen)]).query(centres[list(indices)])
    novelty: npt.NDArray[np.float64] = 1 - 0.5 * np.exp(-((apart / NEAR_FIELDS) ** 2))
    return novelty


def _rarity(gains: Mapping[int, Gain], indices: Sequence[int], seen: Collection[int]) -> npt.NDArray[np.float64]:
    """Return more for fields that show classes of which little has been seen."""
    shown = [gains[index].classes for index in seen if index in gains]
    if not shown:
        return np.ones(len(indices))
    mean = np.mean(shown, axis=0)
    wanted = (1 - mean) / max(1e-6, float((1 - mean).sum()))
    rarity: npt.NDArray[np.float64] = 1 + np.array([gains[index].classes for index in indices]) @ wanted
    return rarity
