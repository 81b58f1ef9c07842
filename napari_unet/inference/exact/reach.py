"""How far a network looks, derived from its graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, whole
from napari_unet.inference.exact.tracing import trace
from napari_unet.networks.base import Network

LARGEST = 2**16


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a network looks along an axis.

    Attributes
    ----------
    stride : int
        Windows that are a multiple of it apart see the same pattern of pixels.
    radius : int
        Pixels beyond a window of `stride` pixels, which begins at a multiple of it, that influence it.
    regular : bool
        False if what a pixel sees depends on where it is in the whole image, as where the corners of
        features are kept in interpolation; the radius is then the largest one.
    """

    stride: int
    radius: int
    regular: bool


def reach(network: Network) -> tuple[Reach, ...]:
    """Return how far a network looks along each axis.

    Raises
    ------
    UntraceableError
        If its graph cannot be had, or it looks at everything.
    """
    side = 16 * network.stride
    while side <= LARGEST:
        graph = trace(network, (side,) * network.dims)
        found = [_along(graph, axis) for axis in range(network.dims)]
        known = [one for one in found if one is not None]
        if len(known) == len(found):
            return tuple(known)
        side *= 2
    raise AssertionError("a local network looks no further than this")


def _along(graph: Graph, axis: int) -> Reach | None:
    """Return the reach along an axis, or None if an image of this size is too small to tell."""
    paces = _paces(graph, axis)
    regular = None not in paces
    steps = [paces[-1] / pace for pace in paces if pace is not None and paces[-1] is not None]
    stride = math.lcm(*(step.denominator for step in steps)) if steps else 1
    side, radius = graph.size[axis], 0
    for window in _windows(side, stride, everywhere=not regular):
        seen = graph.demand((*whole(graph.size[:axis]), window, *whole(graph.size[axis + 1 :])))[0]
        assert seen is not None
        if seen[axis].start == 0 or seen[axis].stop == graph.image_size[axis]:
            return None
        radius = max(radius, window.start - seen[axis].start, seen[axis].stop - window.stop)
    return Reach(stride, radius, regular)


def _paces(graph: Graph, axis: int) -> list[Fraction | None]:
    """Return the pixels of the image for each one of a node; None where that is not the same everywhere."""
    paces: list[Fraction | None] = [Fraction(1)]
    for node in graph.nodes[1:]:
        before, own = paces[node.sources[0]], node.operation.pace(axis)
        paces.append(before * own if before is not None and own is not None else None)
    return paces


def _windows(side: int, stride: int, *, everywhere: bool) -> Iterator[Interval]:
    """Yield the aligned window in the middle, or several from the first quarter to the last."""
    starts = [side // 2] if not everywhere else range(side // 4, 3 * side // 4, max(1, side // 32))
    for start in starts:
        first = start // stride * stride
        yield Interval(first, first + stride)
