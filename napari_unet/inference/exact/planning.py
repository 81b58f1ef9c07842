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
GRAIN = 64


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
    graph: Graph, budget_bytes: int, window: Window, rows: Sequence[int], dtype: torch.dtype = torch.float32
) -> StripPlan:
    """Choose the widest columns, and then the best number of rows, whose features fit into a budget.

    Where nothing fits, it is the smallest plan.

    Parameters
    ----------
    graph : Graph
    budget_bytes : int
    window : Window
        Of the logits, that is to be cut into strips.
    rows : sequence of int
        Of a strip, the best number first.
    dtype : torch.dtype
        Of the features.
    """
    axis = max(range(graph.dims), key=lambda i: window[i].length)
    plan = None
    for columns in _columns(size_of(window), axis, NARROW[graph.dims]):
        # A strip that is higher than the image is one strip.
        for count in [n for n in rows if n < columns[axis]] or rows[-1:]:
            peak = strip_bytes(graph, count, axis, _middle(window, columns), dtype)
            plan = StripPlan(axis, count, columns, peak)
            if peak <= budget_bytes:
                return plan
    assert plan is not None
    return plan


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


def _columns(size: tuple[int, ...], axis: int, narrow: int) -> Iterator[tuple[int, ...]]:
    """Yield sides of blocks, from those of the whole image on, the longest side halved each time."""
    sides = list(size)
    while True:
        yield tuple(sides)
        others = [i for i in range(len(size)) if i != axis]
        longest = max(others, key=lambda i: sides[i])
        if sides[longest] < 2 * narrow:
            return
        sides[longest] = -(-sides[longest] // (2 * GRAIN)) * GRAIN


def _middle(window: Window, columns: tuple[int, ...]) -> Window:
    """Return a column with neighbours on both sides, where there are any."""
    starts = (
        part.start + (part.length - side) // 2 // GRAIN * GRAIN for part, side in zip(window, columns, strict=True)
    )
    return tuple(Interval(start, start + side) for start, side in zip(starts, columns, strict=True))
