"""Levels of an OME-Zarr image: which there are, and how each is made from the one before.

    level 0 ── every second pixel, or the mean of two, along Y and X (and Z) ── level 1 ── … ── 256 pixels a side

Images are averaged, which keeps them smooth. Labels are not: the mean of object 3 and object 5 would be object 4. Of
them every second pixel is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize

SMALLEST_PX = 256
"""A level whose sides are no longer than that is the last one."""

Reduction = Literal["mean", "nearest"]
Array = npt.NDArray[Any]
Sizes = dict[str, int]
Box = dict[str, slice]
"""Along T, C, Z, Y and X."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of an image.

    Attributes
    ----------
    sizes : dict
        In pixels, along T, C, Z, Y and X.
    factors : dict
        How many pixels of the full resolution one of its pixels takes the place of, along Z, Y and X.
    steps : dict
        The same for the level before: 1 or 2.
    """

    sizes: Sizes
    factors: Sizes
    steps: Sizes

    @property
    def chunks(self) -> Sizes:
        """Shape of its chunks: of planes as large as a viewer shows, of volumes cubes."""
        deep = self.sizes["Z"] > 1
        side = 256 if deep else 1024
        limits = {"T": 1, "C": 1, "Z": 16, "Y": side, "X": side}
        return {axis: min(limit, self.sizes[axis]) for axis, limit in limits.items()}

    def boxes(self) -> Iterator[Box]:
        """Yield the box of each chunk, in order."""
        ranges = (range(0, self.sizes[axis], side) for axis, side in self.chunks.items())
        for starts in itertools.product(*ranges):
            yield {
                axis: slice(start, min(start + side, self.sizes[axis]))
                for (axis, side), start in zip(self.chunks.items(), starts, strict=True)
            }

    def count(self) -> int:
        """How many chunks it has."""
        return int(np.prod([-(-self.sizes[axis] // side) for axis, side in self.chunks.items()]))

    def offsets(self, reduction: Reduction) -> dict[str, float]:
        """Where its first pixel lies, in pixels of the full resolution: a mean lies between those that it is of."""
        return {axis: (factor - 1) / 2 if reduction == "mean" else 0.0 for axis, factor in self.factors.items()}


def levels_of(sizes: Sizes, pixel_size: PixelSize) -> tuple[Level, ...]:
    """Choose the levels of an image; equal sizes have equal levels.

    Z is halved where slices are no further apart than pixels, as far as that is known.

    >>> [level.factors["Y"] for level in levels_of({"T": 1, "C": 1, "Z": 1, "Y": 600, "X": 90}, PixelSize())]
    [1, 2, 4]
    """
    none = dict.fromkeys("ZYX", 1)
    levels = [Level(sizes, none, none)]
    while max(levels[-1].sizes[axis] for axis in "YX") > SMALLEST_PX:
        levels.append(_next(levels[-1], pixel_size))
    return tuple(levels)


def _next(level: Level, pixel_size: PixelSize) -> Level:
    steps = {axis: 2 if level.sizes[axis] > 1 else 1 for axis in "ZYX"}
    z, y, _ = pixel_size.along("ZYX")
    if z is None or y is None or z * level.factors["Z"] > y * level.factors["Y"]:
        steps["Z"] = 1
    factors = {axis: level.factors[axis] * step for axis, step in steps.items()}
    return Level({axis: -(-n // steps.get(axis, 1)) for axis, n in level.sizes.items()}, factors, steps)


def source_box(box: Box, steps: Sizes, sizes: Sizes) -> Box:
    """Return the box of the level before that a box is made of."""
    return {
        axis: slice(part.start * steps.get(axis, 1), min(part.stop * steps.get(axis, 1), sizes[axis]))
        for axis, part in box.items()
    }


def reduced(block: Array, steps: Sequence[int], reduction: Reduction) -> Array:
    """Make a block of a level from that of the level before.

    Parameters
    ----------
    block : array
    steps : sequence of int
        1 or 2 along each axis. At a border with an odd number of pixels, the last one stands for itself.
    reduction : "mean" | "nearest"

    >>> reduced(np.array([[1, 3, 8]]), (1, 2), "mean"), reduced(np.array([[1, 3, 8]]), (1, 2), "nearest")
    (array([[2, 8]]), array([[1, 8]]))
    """
    if reduction == "nearest" or set(steps) == {1}:
        return block[tuple(slice(None, None, step) for step in steps)]
    mean = block.astype(np.float64 if block.dtype.itemsize >= 4 else np.float32)
    for axis, step in enumerate(steps):
        if step == 2:
            mean = _halved(mean, axis)
    whole = block.dtype.kind in "uib"
    rounded: Array = (np.rint(mean) if whole else mean).astype(block.dtype)
    return rounded


def _halved(block: Array, axis: int) -> Array:
    """Average neighbours along an axis; the last of an odd number is its own mean."""
    pairs = np.moveaxis(block, axis, 0)
    mean = pairs[::2].copy()
    second = pairs[1::2]
    mean[: len(second)] += second
    mean[: len(second)] /= 2
    return np.moveaxis(mean, 0, axis)
