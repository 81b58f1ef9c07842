"""In which order an image is done: what somebody looks at first, then outwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from napari_unet.inference.exact.intervals import Interval, Window, replaced, size_of
from napari_unet.inference.regions import overlap, subtract

# What is visible is done by itself if it is less than this share of its plane, or of its volume: there the
# surroundings that it depends on are computed a second time.
APART = {2: 0.9, 3: 0.125}


@dataclass(frozen=True, slots=True)
class Order:
    """What is done together, what first, and what no more.

    Attributes
    ----------
    planes : int
        That a 2D network is given at once.
    visible : Window along T, Z, Y, X, optional
        What somebody looks at.
    done : sequence of Window along T, Z, Y, X
        What need not be done any more.
    """

    planes: int = 1
    visible: Window | None = None
    done: Sequence[Window] = ()


def plan_slabs(window: Window, dims: int, order: Order, most_px: int | None = None) -> list[Window]:
    """Divide a window of an image into slabs, each of which an engine runs in one go.

    A slab lies in one time point. It holds some planes, or parts of them, for a 2D network, and all
    slices of the window, or parts of them, for a 3D network.

    Parameters
    ----------
    window : Window along T, Z, Y, X
        In pixels of the image.
    dims : int
        Of the network.
    order : Order
    most_px : int, optional
        Largest slab in pixels, as far as it can be cut along Y and X.

    Returns
    -------
    list of Window
        Together they are the window without what is done. For a 3D network, what is visible may be among
        them twice: by itself first, as cutting it out of the rest would cost more.
    """
    seen = None if order.visible is None else overlap(window, order.visible)
    slabs: list[Window] = []
    for cell in _cells(window, order.planes if dims == 2 else window[1].length, seen):
        for part in subtract(cell, order.done):
            slabs += _visible_first(part, seen, dims)
    if most_px is not None:
        slabs = [piece for slab in slabs for piece in _cut(slab, most_px)]
    return slabs


def _cells(window: Window, planes: int, seen: Window | None) -> list[Window]:
    """Divide a window into groups of planes of one time point, those near to what is seen first."""
    times, depth = (
        [Interval(a, min(part.stop, a + n)) for a in range(part.start, part.stop, n)]
        for part, n in zip(window[:2], (1, planes), strict=True)
    )
    cells: list[Window] = [(t, z, *window[2:]) for t, z in product(times, depth)]
    if seen is None:
        return cells
    return sorted(
        cells, key=lambda cell: [_distance(here, there) for here, there in zip(cell[:2], seen[:2], strict=True)]
    )


def _distance(a: Interval, b: Interval) -> int:
    """How many pixels lie between two intervals."""
    return max(0, a.start - b.stop + 1, b.start - a.stop + 1)


def _visible_first(part: Window, seen: Window | None, dims: int) -> list[Window]:
    """Take out what is seen, if that is worth while."""
    shared = None if seen is None else overlap(part, seen)
    if shared is None or prod(size_of(shared)) >= APART[dims] * prod(size_of(part)):
        return [part]
    return [shared, *(subtract(part, [shared]) if dims == 2 else [part])]


def _cut(slab: Window, most_px: int) -> Iterator[Window]:
    """Halve a slab along Y or X until it is small enough."""
    axis = 2 if slab[2].length >= slab[3].length else 3
    start, stop = slab[axis]
    if prod(size_of(slab)) <= most_px or stop - start < 2:
        yield slab
        return
    middle = (start + stop) // 2
    for half in (Interval(start, middle), Interval(middle, stop)):
        yield from _cut(replaced(slab, axis, half), most_px)
