"""In which order an image is done: what somebody looks at first, then outwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    first: list[Window] = []
    then: list[Window] = []
    for cell in _cells(window, order.planes if dims == 2 else window[1].length, seen):
        for part in _undone(cell, order.done, seen):
            shared = _apart(part, seen, dims)
            if shared is not None:
                first.append(shared)
            then += subtract(part, [shared]) if shared is not None and dims == 2 else [part]
    slabs = [*first, *then]
    return slabs if most_px is None else [piece for slab in slabs for piece in _cut(slab, most_px)]


def in_groups(window: Window, planes: int) -> list[Window]:
    """Divide a window along T, Z, Y, X into groups of so many planes.

    >>> [group[1] for group in in_groups((Interval(0, 1), Interval(0, 5), Interval(0, 9), Interval(0, 9)), 3)]
    [Interval(start=0, stop=3), Interval(start=3, stop=5)]
    """
    start, stop = window[1]
    return [replaced(window, 1, Interval(z, min(stop, z + planes))) for z in range(start, stop, planes)]


def _cells(window: Window, planes: int, seen: Window | None) -> list[Window]:
    """Divide a window into groups of planes of one time point, those near to what is seen first."""
    times = (replaced(window, 0, Interval(t, t + 1)) for t in range(*window[0]))
    cells = [cell for time in times for cell in in_groups(time, planes)]
    if seen is None:
        return cells
    return sorted(
        cells, key=lambda cell: [_distance(here, there) for here, there in zip(cell[:2], seen[:2], strict=True)]
    )


def _distance(a: Interval, b: Interval) -> int:
    """How many pixels it is from one interval to another; 0 where they overlap."""
    return max(0, a.start - b.stop + 1, b.start - a.stop + 1)


def _undone(cell: Window, done: Sequence[Window], seen: Window | None) -> list[Window]:
    """Divide what of a cell is not done, what is seen first; most of thousands of windows lie elsewhere."""
    (t0, t1), (z0, z1) = cell[:2]
    parts = subtract(cell, [w for w in done if w[0][0] < t1 and t0 < w[0][1] and w[1][0] < z1 and z0 < w[1][1]])
    return parts if seen is None else sorted(parts, key=lambda part: overlap(part, seen) is None)


def _apart(part: Window, seen: Window | None, dims: int) -> Window | None:
    """Return what is seen, if it is worth while to do that by itself."""
    shared = None if seen is None else overlap(part, seen)
    worth = shared is not None and prod(size_of(shared)) < APART[dims] * prod(size_of(part))
    return shared if worth else None


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
