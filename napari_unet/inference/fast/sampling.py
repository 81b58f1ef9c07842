"""Windows of an image that have most in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from napari_unet.inference.exact.intervals import Interval, Window

# Side of the windows: a few of them hold all that an image shows, and take a second.
SIDE_PX = {2: 256, 3: 48}
# That ranges are measured on, and that the change is measured on.
CALIBRATING, MEASURING = 6, 3
# That are looked at to choose from.
CANDIDATES = 48
GOLDEN = (5**0.5 - 1) / 2


class Source(Protocol):
    """Gives the normalized pixels of a plane or volume."""

    def __call__(self, place: int, window: Window) -> Tensor:
        """Read a window of one plane or volume: (C, *size) float32."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """A window of one plane or volume.

    Attributes
    ----------
    place : int
        Which plane or volume.
    window : Window
    pixels : (C, *size) float32
    """

    place: int
    window: Window
    pixels: Tensor


@dataclass(frozen=True, slots=True)
class Samples:
    """Windows to measure ranges on, and others to measure the change on."""

    calibrating: tuple[Sample, ...]
    measuring: tuple[Sample, ...]


def draw_samples(source: Source, places: int, size: Sequence[int]) -> Samples:
    """Look at windows spread over planes or volumes, and take those of most contrast.

    Where an image shows nothing, nothing can change. Of the best windows every third is for measuring; if
    there are too few, they serve for both.

    Parameters
    ----------
    source : Source
    places : int
        How many planes or volumes there are.
    size : sequence of int
        ([Z,] Y, X) of each.
    """
    spots = _spots(places, size, SIDE_PX[len(size)])
    samples = [Sample(place, window, source(place, window)) for place, window in spots]
    samples.sort(key=_contrast, reverse=True)
    measuring = samples[1 : 3 * MEASURING : 3] or samples[:1]
    rest = [sample for sample in samples[: CALIBRATING + MEASURING] if all(sample is not one for one in measuring)]
    return Samples(tuple(rest or measuring)[:CALIBRATING], tuple(measuring)[:MEASURING])


def _spots(places: int, size: Sequence[int], side: int) -> list[tuple[int, Window]]:
    """Spread windows that do not overlap over all places, at most so many."""
    sides = [min(n, side) for n in size]
    shape = (places, *(n // s for n, s in zip(size, sides, strict=True)))
    total = prod(shape)
    # Multiples of the golden ratio leave no large gap, neither in the row of all windows nor in its columns.
    numbers = sorted({int(total * (k * GOLDEN % 1)) for k in range(CANDIDATES)})
    cells = (tuple(int(i) for i in np.unravel_index(number, shape)) for number in numbers)
    return [(at[0], tuple(Interval(i * s, (i + 1) * s) for i, s in zip(at[1:], sides, strict=True))) for at in cells]


def _contrast(sample: Sample) -> float:
    return float(torch.std(sample.pixels))
