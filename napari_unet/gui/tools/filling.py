"""Smart fill: the object that the network sees at a click is proposed, and taken or left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.gui.tools.bench import Bench
from napari_unet.gui.tools.clicked import Clicked
from napari_unet.gui.tools.evidence import Evidence
from napari_unet.gui.tools.pane import Pane, Place, Point
from napari_unet.gui.tools.sketch import outline_of
from napari_unet.objects.editing.changes import Box, Change, Mask, changes_of, extent, grown, shifted, slices
from napari_unet.objects.editing.proposing import propose

# The first window around a click, and the widest one.
REACH_PX, WIDEST_PX = 64, 256
DEEPEST_PX = 96


@dataclass(frozen=True, slots=True)
class _Proposal:
    """An object that is not there yet."""

    pane: Pane
    point: Point
    box: Box
    mask: Mask

    def holds(self, point: Point) -> bool:
        """Whether a place is in it."""
        inside = all(first <= at < last for at, (first, last) in zip(point, self.box, strict=True))
        return inside and bool(self.mask[tuple(at - first for at, (first, _) in zip(point, self.box, strict=True))])


class SmartFill(Clicked):
    """Propose an object at a click.

    Parameters
    ----------
    bench : Bench
    evidence : callable
        Returns what is known of the image now.
    extent : callable
        Returns how much proposals take in, from 0 to 1.
    set_extent : callable
    """

    title, key = "Smart fill", "A"
    hint = "Smart fill: click an object that is missing. Shift and the wheel change how much is taken in."

    def __init__(
        self,
        bench: Bench,
        evidence: Callable[[], Evidence],
        extent: Callable[[], float],
        set_extent: Callable[[float], None],
    ) -> None:
        super().__init__(bench)
        self._evidence, self._extent, self._set_extent = evidence, extent, set_extent
        self._proposal: _Proposal | None = None

    def click(self, at: Place) -> None:
        """Propose an object, or take the one that is proposed there."""
        pane, there = self.bench.pane(), self._proposal
        point = pane.point(at)
        if there is not None and there.pane.dims == pane.dims and there.holds(point):
            self.accept()
            return
        if any(not 0 <= i < n for i, n in zip(point, pane.shape, strict=True)):
            raise LabelsError("There is nothing outside of the image. Click on an object.")
        self._propose(pane, point)

    def accept(self) -> None:
        """Make an object of the proposal."""
        there, bench = self._proposal, self.bench
        if there is None:
            raise LabelsError("Nothing is proposed. Click an object that is missing.")
        semantic, chosen = self._evidence().semantic, int(bench.layer.selected_label)
        number = [chosen]

        def compute() -> list[Change]:
            if not semantic:
                number[0] = next(bench.known.new_ids())
            values = np.array(there.pane.labels[slices(there.box)])
            values[there.mask & (values == 0)] = number[0]
            return changes_of(there.pane.labels, there.box, values)

        def told() -> str:
            self.drop()
            bench.layer.selected_label = number[0]
            return (
                f"Object {number[0]:,} is there. Click the next one." if not semantic else "Filled. Click the next one."
            )

        bench.edit(there.pane, compute, told)

    def drop(self) -> bool:
        """Leave the proposal."""
        there, self._proposal = self._proposal, None
        self.bench.sketch.clear()
        if there is not None:
            self.bench.tell(self.hint)
        return there is not None

    def turn(self, steps: float) -> None:
        """Take more or less in."""
        self._set_extent(self._extent() + 0.05 * steps)

    def extent_changed(self) -> None:
        """Propose again with another extent; at once, or when what is being worked out is there."""
        if self._proposal is not None and not self.bench.busy:
            self._propose(self._proposal.pane, self._proposal.point)

    def moved(self) -> None:
        """Draw what is on the screen now, or leave a proposal that was made for another plane."""
        there = self._proposal
        if there is None:
            return
        if len(there.pane.dims) == 2 and self.bench.pane(2) != there.pane:
            self.drop()
        else:
            self._draw(there)

    def _propose(self, pane: Pane, point: Point) -> None:
        bench, evidence, taken_in = self.bench, self._evidence(), self._extent()
        number = int(bench.layer.selected_label)

        def use(found: tuple[Box, Mask]) -> None:
            self._proposal = _Proposal(pane, point, *found)
            self._draw(self._proposal)
            bench.tell("Click it again or press Enter to take it. Shift and the wheel change it, Escape leaves it.")
            if self._extent() != taken_in:
                bench.soon(self.extent_changed)

        bench.ask(lambda: proposed(pane, point, evidence, 1 - taken_in, number), use)

    def _draw(self, there: _Proposal) -> None:
        """Draw the outline in the slices on the screen."""
        pane = self.bench.pane(len(there.pane.dims))
        deep = len(there.pane.dims) == 3
        first, shown = there.box[0][0], pane.place[there.pane.dims[0]]
        planes: list[tuple[int | None, Mask]] = [(None, there.mask)] if not deep else [*enumerate(there.mask, first)]
        if deep and self.bench.viewer.dims.ndisplay == 2:
            planes = [(z, mask) for z, mask in planes if z == shown]
        drawn = [_in_layer(there.pane, z, outline_of(mask, there.box[-2:])) for z, mask in planes]
        self.bench.sketch.outline(np.concatenate(drawn) if drawn else np.zeros((0, 2, pane.layer.ndim)))


def proposed(pane: Pane, point: Point, evidence: Evidence, threshold: float, number: int) -> tuple[Box, Mask]:
    """Return the object at a point of a pane, looking as far around as it takes.

    Raises
    ------
    LabelsError
        If there is none.
    """
    reach = REACH_PX
    while True:
        box = grown(tuple((at, at + 1) for at in point), reach, pane.shape)
        if len(box) == 3:
            deep = min(reach, DEEPEST_PX)
            box = ((max(box[0][0], point[0] - deep), min(box[0][1], point[0] + deep + 1)), *box[1:])
        seen = evidence.objects(pane, box, point, number)
        if seen is None:
            raise LabelsError("Segment the image first, or open it again: there is nothing to go by.")
        free = pane.labels[slices(box)] == 0
        here = tuple(at - first for at, (first, _) in zip(point, box, strict=True))
        mask = propose(seen[0], free, here, threshold, seen[1])
        found = extent(mask)
        assert found is not None
        whole = shifted(found, box)
        cut = any(
            (a == first and a > 0) or (b == last and b < n)
            for (a, b), (first, last), n in zip(whole[-2:], box[-2:], pane.shape[-2:], strict=True)
        )
        if not cut or reach >= WIDEST_PX or (len(box) == 3 and reach >= DEEPEST_PX):
            return whole, mask[slices(found)]
        reach *= 2


def _in_layer(pane: Pane, z: int | None, segments: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn segments of a plane of a pane into indices of the layer's array."""
    full = np.empty((*segments.shape[:2], pane.layer.ndim))
    full[:] = pane.place
    full[..., list(pane.dims[-2:])] = segments
    if z is not None:
        full[..., pane.dims[0]] = z
    return full
