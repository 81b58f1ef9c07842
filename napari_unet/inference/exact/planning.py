"""How large strips may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, Window, size_of
from napari_unet.inference.exact.memory import strip_bytes

# Columns narrower than this would mostly compute what their neighbours compute too.
NARROW = {2: 256, 3: 64}
# Sides of columns and strips are multiples of these, where they can be.
GRAIN = 32
LOW = 8


@dataclass(frozen=True, slots=True)
class StripPlan:
    """Arguments of `stream`.

    Attributes
    ----------
    axis, rows : int
    columns : tuple of int
        Side of the blocks along each axis; the one along `axis` does not count.
    peak_bytes : int
        What features take.
    """

    axis: int
    rows: int
    columns: tuple[int, ...]
    peak_bytes: int


def plan_strips(
    graph: Graph,
    budget_bytes: int,
    window: Window,
    rows: Sequence[int],
    dtype: torch.dtype = torch.float32,
    largest: int | None = None,
) -> StripPlan:
    """Choose the widest columns, and then the best number of rows, whose features fit into a budget.

    Where nothing fits, it is the smallest plan.

    Parameters
    ----------
    graph : Graph
    budget_bytes : int
    window : Window
        Of the logits, that is to be cut into strips. Only its size counts.
    rows : sequence of int
        Of a strip, the best number first.
    dtype : torch.dtype
        Of the features.
    largest : int, optional
        Side of a piece, even if memory would allow more.
    """
    size = size_of(window)
    axis = max(range(graph.dims), key=size.__getitem__)
    most = max(size) if largest is None else largest
    counts = rows if largest is None else (largest, *(n for n in rows if n < largest))
    *higher, lowest = dict.fromkeys(_even(size[axis], n, LOW) for n in counts)

    def planned(columns: tuple[int, ...], count: int) -> StripPlan:
        peak = strip_bytes(graph, count, axis, _middle(graph.everything, columns), dtype)
        return StripPlan(axis, count, columns, peak)

    for columns in _columns(size, axis, NARROW[graph.dims], most):
        smallest = planned(columns, lowest)
        if smallest.peak_bytes <= budget_bytes:  # else no strip of this width does
            plans = (planned(columns, count) for count in higher)
            return next((plan for plan in plans if plan.peak_bytes <= budget_bytes), smallest)
    return smallest


def pieces_of(window: Window, plan: StripPlan) -> list[Window]:
    """Say into which pieces `stream` divides a window, in order.

    >>> [piece[0] for piece in pieces_of((Interval(5, 20), Interval(0, 9)), StripPlan(0, 8, (15, 9), 0))]
    [Interval(start=5, stop=13), Interval(start=13, stop=20)]
    """
    sides = [plan.rows if axis == plan.axis else side for axis, side in enumerate(plan.columns)]
    cuts = [
        [Interval(a, min(stop, a + side)) for a in range(start, stop, side)]
        for (start, stop), side in zip(window, sides, strict=True)
    ]
    along = cuts[plan.axis]
    others = [part if axis != plan.axis else [None] for axis, part in enumerate(cuts)]
    return [tuple(part or row for part in column) for column in product(*others) for row in along]


def _columns(size: tuple[int, ...], axis: int, narrow: int, most: int) -> Iterator[tuple[int, ...]]:
    """Yield sides of blocks, the largest first; the longest side is divided by two each time."""
    parts = [1 if i == axis else -(-n // most) for i, n in enumerate(size)]
    while True:
        sides = tuple(_even(n, -(-n // count), GRAIN) for n, count in zip(size, parts, strict=True))
        yield tuple(n if i == axis else min(n, most) for i, n in enumerate(sides))
        longest = max((i for i in range(len(size)) if i != axis), key=lambda i: sides[i])
        if sides[longest] < 2 * narrow:
            return
        parts[longest] *= 2


def _even(size: int, most: int, grain: int) -> int:
    """Return a side, about `most`, that divides a length into parts of about the same size.

    Few different shapes are what libraries for GPUs like best, and a small rest is of no use to anybody.

    >>> _even(1000, 512, 32), _even(130, 128, 8), _even(100, 128, 8)
    (512, 72, 100)
    """
    count = -(-size // most)
    return size if count == 1 else min(most, -(-size // (count * grain)) * grain)


def _middle(everything: Window, columns: tuple[int, ...]) -> Window:
    """Return a column with neighbours on both sides, where there are any."""
    starts = ((part.length - side) // 2 // GRAIN * GRAIN for part, side in zip(everything, columns, strict=True))
    return tuple(Interval(start, start + side) for start, side in zip(starts, columns, strict=True))
