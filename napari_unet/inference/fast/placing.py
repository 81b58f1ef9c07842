"""Tiles of one shape, pure geometry.

Integers are quick at shapes that are known beforehand, so all tiles of a window have one. Along an
axis, with a halo of h pixels, for a network that adds what it needs at the borders itself::

    image   |--------------------------------|...|     filled up to a size that fits the network
    reads   |-----------------|
            |        |-----------------|
            |               |--------------------|     shifted inwards: the last one ends where the image does
    writes  |-------------|------------|---------|

Reads start at multiples of the network's stride, so that pooling falls on the same pixels as in the
whole image, and no read goes beyond the image, so that its borders are what the network knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

from napari_unet.inference.exact.intervals import Interval, Window
from napari_unet.networks.options.base import NetworkOptions

# Sides of tiles are rounded up to multiples of it, so that windows of about one size share a shape.
GRAIN = 32
# More pieces than this along an axis are not tried: then tiles are as large as they may be.
MOST_PIECES = 64


@dataclass(frozen=True, slots=True)
class Axis:
    """How tiles lie along one axis.

    Attributes
    ----------
    starts : tuple of int
        Where reads start, in the framed image: there its first pixel is at `margin`.
    side : int
        What each of them reads.
    writes : tuple of Interval
        In the image; they partition the window.
    """

    starts: tuple[int, ...]
    side: int
    writes: tuple[Interval, ...]

    @property
    def read(self) -> int:
        """Pixels that all tiles read."""
        return len(self.starts) * self.side


@dataclass(frozen=True, slots=True)
class Placed:
    """One tile.

    Attributes
    ----------
    starts : tuple of int
        Of what is read, in the framed image; also where its output starts in the image.
    write : Window
        In the image.
    """

    starts: tuple[int, ...]
    write: Window


@dataclass(frozen=True, slots=True)
class Placement:
    """How tiles cover a window."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of what each tile reads."""
        return tuple(axis.side for axis in self.axes)

    @property
    def read(self) -> int:
        """Pixels that all tiles read."""
        return prod(axis.read for axis in self.axes)

    def tiles(self) -> Iterator[Placed]:
        """Yield the tiles row by row."""
        for along in product(*(zip(axis.starts, axis.writes, strict=True) for axis in self.axes)):
            starts, write = zip(*along, strict=True)
            yield Placed(starts, write)


def place(geometry: NetworkOptions, size: Sequence[int], window: Window, halo: int, most_px: float) -> Placement:
    """Choose the tiles that read fewest pixels in all.

    Parameters
    ----------
    geometry : NetworkOptions
        Of the network.
    size : sequence of int
        ([Z,] Y, X) of the image.
    window : Window
        What of it is wanted.
    halo : int
        Context on each side.
    most_px : float
        Largest tile.

    Returns
    -------
    Placement
        Where even the smallest tiles are larger, it is these.
    """
    choices = [_choices(geometry, axis, n, part, halo) for axis, (n, part) in enumerate(zip(size, window, strict=True))]
    placements = [Placement(axes) for axes in product(*choices)]
    fitting = [placement for placement in placements if prod(placement.shape) <= most_px]
    if not fitting:
        return min(placements, key=lambda placement: prod(placement.shape))
    return min(fitting, key=lambda placement: (placement.read, prod(placement.shape)))


def _choices(geometry: NetworkOptions, axis: int, size: int, part: Interval, halo: int) -> list[Axis]:
    """Ways to cover a range, with one tile, two tiles, and so on."""
    stride, margin = geometry.strides[axis], geometry.margin
    context = -(-max(0, halo - margin) // stride) * stride
    framed = geometry.fitting_along(axis, size + 2 * margin)
    first = max(0, part.start - context) // stride * stride
    last = framed if part.stop + context >= size else part.stop + context + 2 * margin
    found: list[Axis] = []
    for pieces in range(1, MOST_PIECES + 1):
        inner = -(-(last - first - 2 * margin - 2 * context) // pieces)
        wanted = max(inner, stride) + 2 * context + 2 * margin
        side = geometry.fitting_along(axis, -(-wanted // GRAIN) * GRAIN)
        side = framed if side >= framed or (framed - side) % stride else side
        along = _along(size, part, side, (framed, first, stride, context, margin))
        if not found or along.side < found[-1].side:
            found.append(along)
        if side == framed and pieces > 1:
            break
    return found


def _along(size: int, part: Interval, side: int, where: tuple[int, int, int, int, int]) -> Axis:
    """Lay tiles of a side along a range."""
    framed, first, stride, context, margin = where
    pitch = max(stride, (side - 2 * margin - 2 * context) // stride * stride)
    starts = [min(first, framed - side)]
    while _reach(starts[-1], side, (framed, size, context, margin)) < part.stop:
        starts.append(min(starts[-1] + pitch, framed - side))
    cuts = [part.start, *(start + context for start in starts[1:]), part.stop]
    return Axis(tuple(starts), side, tuple(Interval(a, b) for a, b in pairwise(cuts)))


def _reach(start: int, side: int, where: tuple[int, int, int, int]) -> int:
    """Where the trustworthy output of a tile ends."""
    framed, size, context, margin = where
    return size if start + side >= framed else start + side - 2 * margin - context
