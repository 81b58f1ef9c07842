"""The tile plan: pure geometry, free of pixels.

Along one axis, with a halo of h pixels and a stride s::

    image   |----------------------------------------------|
    write   |-----------|-----------|-----------|----------|    they partition the image
    read    |-----------------|                                 write + h on each side,
            |     |-----------------------|                     cut off at the image's edge
            |                 |-----------------------|

Reads start at multiples of s, so that pooling falls on the same pixels as in the whole image. A
halo of at least the receptive radius makes what is written equal to the whole-image result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Region = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of inference.

    Attributes
    ----------
    read : tuple of slice
        In the image: what the network sees.
    crop : tuple of slice
        In the tile: what is kept of its output.
    write : tuple of slice
        In the image: where that belongs.
    """

    read: Region
    crop: Region
    write: Region


def plan_tiles(
    shape: Sequence[int], tile: int, halo: int, stride: int, window: Sequence[slice] | None = None
) -> list[Tile]:
    """Cover an image, or a window of it, with tiles.

    Parameters
    ----------
    shape : sequence of int
        Of the image, ([Z,] Y, X).
    tile : int
        Largest side of a write region; rounded up to a multiple of `stride`.
    halo : int
        Context read on each side; a multiple of `stride`.
    stride : int
        Of the network.
    window : sequence of slice, optional
        Only this part of the image; what is outside it still serves as context.

    Returns
    -------
    list of Tile
        Row by row. Their write regions partition the window.

    >>> [tile.write for tile in plan_tiles((10,), tile=4, halo=4, stride=4)]
    [(slice(0, 4, None),), (slice(4, 8, None),), (slice(8, 10, None),)]
    """
    parts = list(window) if window is not None else [slice(0, size) for size in shape]
    along = [
        [_tile_1d(start, stop, size, halo, stride) for start, stop in _writes(part, tile, stride)]
        for size, part in zip(shape, parts, strict=True)
    ]
    return [Tile(*zip(*combination, strict=True)) for combination in itertools.product(*along)]


def _writes(part: slice, tile: int, stride: int) -> list[tuple[int, int]]:
    """Split a range into pieces of about the same size, the inner cuts at multiples of the stride."""
    first = part.start // stride * stride
    length = part.stop - first
    pieces = math.ceil(length / (math.ceil(tile / stride) * stride))
    pitch = math.ceil(length / pieces / stride) * stride
    starts = range(first, part.stop, pitch)
    return [(max(part.start, start), min(part.stop, start + pitch)) for start in starts]


def _tile_1d(start: int, stop: int, size: int, halo: int, stride: int) -> tuple[slice, slice, slice]:
    read_start = max(0, start // stride * stride - halo)
    read_stop = min(size, math.ceil(stop / stride) * stride + halo)
    return slice(read_start, read_stop), slice(start - read_start, stop - read_start), slice(start, stop)
