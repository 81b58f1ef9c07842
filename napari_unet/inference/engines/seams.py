"""How much windows that overlap differ, measured while they are blended."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_unet.inference.engines.base import Seam

# Deviations are counted in bins, so many for each power of ten between the two: probabilities differ by
# at most 0.5, raw values by anything.
LEAST, MOST, PER_DECADE = -8, 6, 64
BINS = (MOST - LEAST) * PER_DECADE
HIGH_SHARE = 0.01


class SeamMeter:
    """Mean and high values of a stream of deviations, of which none is kept."""

    def __init__(self) -> None:
        self._count, self._sum = 0, 0.0
        self._bins = torch.zeros(BINS, dtype=torch.float64)

    def add(self, deviations: Tensor) -> None:
        """Take in deviations of any shape, float32, none below 0; those that are no numbers do not count."""
        deviations = deviations[deviations.isfinite()]
        if not deviations.numel():
            return
        self._count += deviations.numel()
        self._sum += float(deviations.mean()) * deviations.numel()
        powers = deviations.log10().clamp(LEAST, MOST - 1 / PER_DECADE)  # of 0 it is minus infinity
        self._bins += torch.histc(powers, BINS, LEAST, MOST).cpu()

    @property
    def seam(self) -> Seam | None:
        """What was found so far; None if nothing was."""
        if not self._count:
            return None
        return Seam(self._sum / self._count, self._high())

    def _high(self) -> float:
        """Of the hundredth of the deviations that are largest, the smallest, to a sixty-fourth of a power of ten."""
        at_least = self._bins.flip(0).cumsum(0).flip(0)
        place = int((at_least >= HIGH_SHARE * self._count).sum()) - 1
        return 0.0 if place == 0 else float(10 ** (LEAST + place / PER_DECADE))
