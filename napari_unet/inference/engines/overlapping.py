"""Windows that overlap, and what each of them counts: geometry and weights of blending.

Along one axis, with windows of side w::

    image    |------------------------------------------|
    windows  |---------------|
                     |---------------|
                             |---------------|
                                        |---------------|     starts at multiples of the stride,
                                                               at most w / 2 apart
    weights  one where a single window shows a pixel; where there are more, those of Gaussians around
             the middles of the windows, divided by their sum

The windows of a plane or volume are all combinations of those along its axes. So a weight is the product of
one for each axis, and the weights add up to one at each pixel without being counted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from napari_unet.inference.exact.intervals import Interval, Window

# Of the Gaussian; at the ends of a window it has fallen to exp(-8).
SIDES_PER_SIGMA = 8


def spread_along(size: int, side: int, stride: int) -> list[Interval]:
    """Cover an axis with windows that overlap by half or more, and start at multiples of the stride.

    Parameters
    ----------
    size : int
        Of the image.
    side : int
        Of the windows, a multiple of `stride`. The last one lacks what would lie beyond the image, which
        is less than the stride.
    stride : int

    >>> spread_along(21, side=8, stride=2)
    [Interval(start=0, stop=8), Interval(start=2, stop=10), Interval(start=6, stop=14), Interval(start=10, stop=18),
    Interval(start=14, stop=21)]
    """
    if size <= side:
        return [Interval(0, size)]
    step = max(1, side // 2 // stride) * stride
    last = -(-(size - side) // stride) * stride
    count = -(-last // step)
    starts = [number * last // count // stride * stride for number in range(count + 1)]
    return [Interval(start, min(start + side, size)) for start in starts]


@dataclass(frozen=True, slots=True)
class AxisCover:
    """Windows along an axis.

    Attributes
    ----------
    windows : tuple of Interval
        From the first to the last.
    weights : tuple of (length,) float32
        Of each window, pixel by pixel; at each pixel of the axis they add up to one.
    shared : (size,) bool
        Where more than one window shows a pixel.
    """

    windows: tuple[Interval, ...]
    weights: tuple[Tensor, ...]
    shared: Tensor

    @classmethod
    def of(cls, windows: Sequence[Interval], device: torch.device) -> AxisCover:
        """Weigh windows that cover an axis.

        There is no floor below the Gaussian: its least product over three axes is exp(-24), far from the limits of
        float32. A floor would only give a say to the ends of windows, where the network sees least.
        """
        size = windows[-1].stop
        total, count = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.int64)
        raw = [_gaussian(window.length) for window in windows]
        for window, weight in zip(windows, raw, strict=True):
            total[slice(*window)] += weight
            count[slice(*window)] += 1
        parts = ((w / total[slice(*window)]).float() for window, w in zip(windows, raw, strict=True))
        return cls(tuple(windows), tuple(part.to(device) for part in parts), (count > 1).to(device))

    def touching(self, part: Interval) -> list[int]:
        """Return the numbers of the windows that show any pixel of a part."""
        return [n for n, window in enumerate(self.windows) if window.start < part.stop and window.stop > part.start]

    def weight(self, number: int, part: Interval) -> Tensor:
        """Return the weights of a window within a part of it."""
        start = self.windows[number].start
        return self.weights[number][part.start - start : part.stop - start]


def _gaussian(length: int) -> Tensor:
    away = torch.arange(length, dtype=torch.float64) + 0.5 - length / 2
    return torch.exp(-0.5 * (away * SIDES_PER_SIGMA / length) ** 2)


def product_of(vectors: Sequence[Tensor]) -> Tensor:
    """Return the outer product of vectors."""
    return reduce(lambda x, y: x[..., None] * y, vectors)


def shared_in(covers: Sequence[AxisCover], window: Window) -> Tensor:
    """Return where in a window more than one window shows a pixel, bool."""
    alone = [~cover.shared[slice(*part)] for cover, part in zip(covers, window, strict=True)]
    return ~product_of(alone)
