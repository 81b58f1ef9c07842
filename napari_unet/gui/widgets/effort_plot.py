"""What correcting took, field by field."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from qtpy.QtCore import Qt

from napari_unet.gui.controller import Controller
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import say, sentence
from napari_unet.gui.widgets.plot import Plot
from napari_unet.gui.widgets.style import plot_colours

_FEWEST = 5


class EffortPlot(Plot):
    """Shares that were changed over the reviewed fields, with a mark where a new model began."""

    height_px = 130
    tip = "Share of the objects and of the pixels that were changed, by reviewed field; dashed where a new model began"
    sides = (("bottom", "reviewed fields"), ("left", "% changed"))
    symbols = ("o", "s")

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.verdict = sentence(name="facts")
        self.add(self.verdict)
        self.marks: list[Any] = []
        self.bind(self._show, "review")

    def _show(self) -> None:
        efforts = self.state.review.efforts
        self.setVisible(bool(efforts))
        if not efforts:
            return
        item = self._item()
        numbers = list(range(1, len(efforts) + 1))
        self._lines[0].setData(numbers, [100 * one.objects for one in efforts])
        self._lines[1].setData(numbers, [100 * one.pixels for one in efforts])
        item.setXRange(0.5, max(_FEWEST, len(efforts)) + 0.5, padding=0)
        self._mark(item, [at + 0.5 for at, (old, new) in enumerate(pairwise(efforts), 1) if old.model != new.model])
        last = efforts[-1]
        objects = f"<span style='color:{self.colour(0)}'>— objects changed {100 * last.objects:.2g} %</span>"
        pixels = f"<span style='color:{self.colour(1)}'>— pixels {100 * last.pixels:.2g} %</span>"
        model = f"<br>┊ another model; now {last.model}" if self.marks else ""
        say(self.legend, f"{objects} &nbsp; {pixels}{model}")
        say(self.verdict, self.state.review.verdict)

    def _compose(self, item: Any) -> None:  # noqa: ANN401
        item.setLimits(yMin=0)
        super()._compose(item)

    def _mark(self, item: Any, places: list[float]) -> None:  # noqa: ANN401
        """Draw a dashed line at each of some places."""
        for mark in self.marks:
            item.removeItem(mark)
        self.marks = [load_pyqtgraph().InfiniteLine(pos=place, angle=90) for place in places]
        for mark in self.marks:
            item.addItem(mark, ignoreBounds=True)
        self._colour()

    def _colour(self) -> None:
        super()._colour()
        _, axes, *_ = plot_colours(self.theme)
        for mark in self.marks:
            mark.setPen(axes, style=Qt.PenStyle.DashLine)
