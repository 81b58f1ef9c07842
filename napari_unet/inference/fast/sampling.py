"""Windows of an image that have most in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import torch
from torch import Tensor

from napari_unet.inference.exact.intervals import Interval, Window

# Side of the windows: a few of them hold all that an image shows, and take a second.
SIDE_PX = {2: 256, 3: 48}
# That ranges are measured on, and that the change is measured on.
CALIBRATING, MEASURING = 8, 3
# Of a window, for ranges: each pixel of them costs as much as many later on.
CALIBRATING_PX = {2: 160, 3: 32}
# That are looked at to choose from.
CANDIDATES = 48
GOLDEN = (5**0.5 - 1) / 2
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Places:
    """The planes that a 2D network is run on, or the volumes of a 3D one.

    Attributes
    ----------
    pixels : callable
        From a time point and a window along Z, Y, X to its normalized pixels on a device, (Z, C, Y, X) or
        (1, C, Z, Y, X) float32.
    times : Interval
    slices : Interval, optional
        None for volumes.
    size : tuple of int
        ([Z,] Y, X) of each.
    """

    pixels: Callable[[int, Window, torch.device], Tensor]
    times: Interval
    slices: Interval | None
    size: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return self.times.length * (1 if self.slices is None else self.slices.length)

    def read(self, place: int, window: Window) -> Tensor:
        """Read a window of one of them: (1, C, *size) float32."""
        if self.slices is None:
            return self.pixels(self.times.start + place, window, CPU)
        t, z = divmod(place, self.slices.length)
        plane = Interval(self.slices.start + z, self.slices.start + z + 1)
        return self.pixels(self.times.start + t, (plane, *window), CPU)


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
    """What to measure ranges on, (C, *size) float32 each, and windows to measure the change on."""

    calibrating: tuple[Tensor, ...]
    measuring: tuple[Sample, ...]


def draw_samples(places: Places) -> Samples:
    """Look at windows spread over planes or volumes, and take those of most contrast.

    Where an image shows nothing, nothing can change. Of the best windows every third is for measuring; if
    there are too few, they serve for both.
    """
    spots = _spots(places.count, places.size, SIDE_PX[len(places.size)])
    samples = [Sample(place, window, places.read(place, window)[0]) for place, window in spots]
    samples.sort(key=lambda sample: _contrast(sample.pixels), reverse=True)
    measuring = samples[1 : 3 * MEASURING : 3] or samples[:1]
    rest = [sample for sample in samples[: CALIBRATING + MEASURING] if all(sample is not one for one in measuring)]
    chosen = (rest or measuring)[:CALIBRATING]
    return Samples(tuple(_densest(sample.pixels) for sample in chosen), tuple(measuring))


def _spots(places: int, size: Sequence[int], side: int) -> list[tuple[int, Window]]:
    """Spread windows that do not overlap over all places, at most so many."""
    sides = [min(n, side) for n in size]
    shape = (places, *(n // s for n, s in zip(size, sides, strict=True)))
    total = prod(shape)
    # Multiples of the golden ratio leave no large gap, neither in the row of all windows nor in its columns.
    numbers = sorted({int(total * (k * GOLDEN % 1)) for k in range(CANDIDATES)})
    cells = (tuple(int(i) for i in np.unravel_index(number, shape)) for number in numbers)
    return [(at[0], tuple(Interval(i * s, (i + 1) * s) for i, s in zip(at[1:], sides, strict=True))) for at in cells]


def _densest(pixels: Tensor) -> Tensor:
    """Return the corner of a window that has most contrast."""
    sides = [min(n, CALIBRATING_PX[pixels.ndim - 1]) for n in pixels.shape[1:]]
    starts = product(*((0, n - side) for n, side in zip(pixels.shape[1:], sides, strict=True)))
    corners = (pixels[(slice(None), *(slice(a, a + side) for a, side in zip(at, sides, strict=True)))] for at in starts)
    return max(corners, key=_contrast).contiguous()


def _contrast(pixels: Tensor) -> float:
    return float(torch.std(pixels))
