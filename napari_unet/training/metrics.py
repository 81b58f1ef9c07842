"""How well labels agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.objects.linking import find_overlaps, match


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts that add up over fields before any ratio is taken.

    Attributes
    ----------
    shared, predicted, true : tuple of int
        Pixels of each foreground class: in both, in the prediction, in the truth.
    pixels : int
        That were compared.
    hits, false_alarms, misses : int
        Objects matched at an intersection over union of 0.5, predicted only, true only.
    """

    shared: tuple[int, ...]
    predicted: tuple[int, ...]
    true: tuple[int, ...]
    pixels: int
    hits: int = 0
    false_alarms: int = 0
    misses: int = 0

    def __add__(self, other: Tally) -> Tally:
        def add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(i + j for i, j in zip(a, b, strict=True))

        return Tally(
            add(self.shared, other.shared),
            add(self.predicted, other.predicted),
            add(self.true, other.true),
            self.pixels + other.pixels,
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
        )

    @property
    def dice(self) -> float:
        """Mean Dice of the foreground classes that occur in truth or prediction; 1 if none does."""
        totals = [(2 * s, p + t) for s, p, t in zip(self.shared, self.predicted, self.true, strict=True) if p + t]
        return float(np.mean([part / total for part, total in totals])) if totals else 1.0

    @property
    def f1(self) -> float:
        """F1 of objects at an intersection over union of 0.5; 1 if there are none."""
        total = 2 * self.hits + self.false_alarms + self.misses
        return 2 * self.hits / total if total else 1.0


def tally_instances(predicted: npt.NDArray[Any], true: npt.NDArray[Any], counts: npt.NDArray[np.bool_]) -> Tally:
    """Compare object labels where `counts`; both are cut to it alike."""
    a, b = (np.where(counts, labels, 0) for labels in (predicted, true))
    overlaps = find_overlaps(a, b)
    hits = len(match(overlaps, overlaps.iou >= 0.5))
    found, present = (int((np.unique(x) > 0).sum()) for x in (a, b))
    both = int(((a > 0) & (b > 0)).sum())
    areas = ((both,), (int((a > 0).sum()),), (int((b > 0).sum()),))
    return Tally(*areas, int(counts.sum()), hits, found - hits, present - hits)


def tally_classes(
    predicted: npt.NDArray[Any], true: npt.NDArray[Any], counts: npt.NDArray[np.bool_], classes: int
) -> Tally:
    """Compare class ids 1 to `classes` where `counts`."""
    a, b = predicted[counts], true[counts]
    values = range(1, classes + 1)
    return Tally(
        tuple(int(((a == v) & (b == v)).sum()) for v in values),
        tuple(int((a == v).sum()) for v in values),
        tuple(int((b == v).sum()) for v in values),
        int(counts.sum()),
    )
