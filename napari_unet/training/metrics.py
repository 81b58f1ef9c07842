"""How well labels agree with the truth, counted so that chance can be told from progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.linking import find_overlaps, match

Floats = npt.NDArray[np.float64]

THRESHOLDS = np.linspace(0.5, 0.8, 7)
"""Intersections over union at which an object counts as found: outlines matter, but not their last pixel."""
BLOCK_PX = 32
AGREED, PREDICTED, TRUE = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts of what was compared, unit by unit.

    A unit is what a score may be redrawn from to see how much of it is chance: a true object with whatever was
    predicted nearest to it, or, for classes, a block of pixels.

    Attributes
    ----------
    units : (unit, class, 3) float64
        Agreed, predicted and true: objects (those agreed averaged over `THRESHOLDS`), or pixels of each class.
    areas : (class, 3) int64
        Agreed, predicted and true pixels.
    objects : (3,) int64
        Matched at an intersection over union of 0.5, predicted, true.
    pixels : int
        That were compared.
    """

    units: Floats
    areas: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int64]
    pixels: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            np.concatenate([self.units, other.units]),
            self.areas + other.areas,
            self.objects + other.objects,
            self.pixels + other.pixels,
        )

    @property
    def value(self) -> float:
        """The score by which models are compared; see `values`."""
        return float(values(self.units.sum(axis=0)))

    @property
    def dice(self) -> float:
        """Mean Dice of the foreground classes that occur in truth or prediction; 1 if none does."""
        return float(values(self.areas))

    @property
    def f1(self) -> float:
        """F1 of objects at an intersection over union of 0.5; 1 if there are none."""
        return float(values(self.objects[None]))


def values(sums: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Twice what agrees over what is predicted and true, averaged over the classes that occur.

    Of pixels this is Dice's coefficient, of objects F1.

    Parameters
    ----------
    sums : (..., class, 3)

    Returns
    -------
    (...) float64
        1 where nothing is predicted and nothing is true.

    >>> values(np.array([[3, 4, 4], [0, 0, 0]])).item()
    0.75
    """
    total = sums[..., PREDICTED] + sums[..., TRUE]
    ratios = 2 * sums[..., AGREED] / np.maximum(total, 1e-12)
    occur = total > 0
    means: npt.NDArray[np.float64] = (ratios * occur).sum(axis=-1) / np.maximum(occur.sum(axis=-1), 1)
    return np.where(occur.any(axis=-1), means, 1.0)


def tally_instances(predicted: npt.NDArray[Any], true: npt.NDArray[Any], counts: npt.NDArray[np.bool_]) -> Tally:
    """Compare object labels where `counts`; both are cut to it alike."""
    a, b = (np.where(counts, labels, 0) for labels in (predicted, true))
    overlaps = find_overlaps(a, b)
    found, present = (np.unique(labels[labels > 0]) for labels in (a, b))
    units = np.zeros((len(present), 1, 3))
    units[:, 0, TRUE] = 1
    hits = match(overlaps, overlaps.iou >= THRESHOLDS[0])
    iou = {(int(i), int(j)): overlap for i, j, overlap in zip(overlaps.a, overlaps.b, overlaps.iou, strict=True)}
    for i, j in hits:
        units[np.searchsorted(present, j), 0, AGREED] = (iou[i, j] >= THRESHOLDS - 1e-9).mean()
    if len(present) == 0:
        units = np.zeros((1, 1, 3))
    np.add.at(units[:, 0, PREDICTED], _nearest(a, found, b, present), 1)
    areas = np.array([[((a > 0) & (b > 0)).sum(), (a > 0).sum(), (b > 0).sum()]])
    return Tally(units, areas, np.array([len(hits), len(found), len(present)]), int(counts.sum()))


def _nearest(
    a: npt.NDArray[Any], found: npt.NDArray[Any], b: npt.NDArray[Any], present: npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """Find the row of the true object whose centre is nearest to that of each predicted one."""
    if len(found) == 0 or len(present) == 0:
        return np.zeros(len(found), np.intp)
    centres, true_centres = (
        np.array(ndi.center_of_mass(labels > 0, labels, ids)) for labels, ids in ((a, found), (b, present))
    )
    distances = ((centres[:, None] - true_centres[None]) ** 2).sum(axis=-1)
    nearest: npt.NDArray[np.intp] = distances.argmin(axis=1)
    return nearest


def tally_classes(
    predicted: npt.NDArray[Any], true: npt.NDArray[Any], counts: npt.NDArray[np.bool_], classes: int
) -> Tally:
    """Compare class ids 1 to `classes` where `counts`, in blocks of 32 x 32 pixels of each plane."""
    block = _blocks(counts.shape)[counts]
    a, b = predicted[counts], true[counts]
    blocks = int(block.max(initial=0)) + 1
    units = np.zeros((blocks, classes, 3))
    for number in range(classes):
        value = number + 1
        for column, chosen in ((AGREED, (a == value) & (b == value)), (PREDICTED, a == value), (TRUE, b == value)):
            units[:, number, column] = np.bincount(block[chosen], minlength=blocks)
    units = units[np.bincount(block, minlength=blocks) > 0]
    areas = units.sum(axis=0).astype(np.int64)
    return Tally(units, areas, np.zeros(3, np.int64), int(counts.sum()))


def _blocks(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Give each pixel of an array ([Z,] Y, X) the number of its block."""
    sides = (*(1 for _ in shape[:-2]), BLOCK_PX, BLOCK_PX)
    places = [np.arange(size) // side for size, side in zip(shape, sides, strict=True)]
    numbers: npt.NDArray[np.intp] = np.zeros(shape, np.intp)
    for axis, place in enumerate(places):
        numbers = numbers * (int(place[-1]) + 1) + place.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return numbers
