"""How large strips may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, Window
from napari_unet.inference.exact.memory import strip_bytes
from napari_unet.inference.exact.streaming import longest_axis

# Fewer rows are slower, as each strip has a fixed cost; more win nothing.
ROWS = {2: (128, 64, 32), 3: (32, 16, 8)}
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
        Side of the blocks along each axis; that of the whole image along `axis`.
    peak_bytes : int
        What features take.
    """

    axis: int
    rows: int
    columns: tuple[int, ...]
    peak_bytes: int


def plan_strips(graph: Graph, budget_bytes: int) -> StripPlan:
    """Choose the widest columns, and then the most rows, whose features fit into a budget.

    Where nothing fits, it is the smallest plan.
    """
    axis = longest_axis(graph)
    plan = None
    for columns in _columns(graph.size, axis, NARROW[graph.dims]):
        for rows in ROWS[graph.dims]:
            peak = strip_bytes(graph, rows, axis, _middle(graph.size, columns))
            plan = StripPlan(axis, rows, columns, peak)
            if peak <= budget_bytes:
                return plan
    assert plan is not None
    return plan


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


def _middle(size: tuple[int, ...], columns: tuple[int, ...]) -> Window:
    """Return a column with neighbours on both sides, where there are any."""
    starts = ((n - side) // 2 // GRAIN * GRAIN for n, side in zip(size, columns, strict=True))
    return tuple(Interval(start, start + side) for start, side in zip(starts, columns, strict=True))
