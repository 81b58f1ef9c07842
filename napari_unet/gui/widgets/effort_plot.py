"""What correcting took, field by field."""

from __future__ import annotations

from typing import Any

from napari_unet.gui.controller import Controller
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import Step, say, sentence
from napari_unet.gui.widgets.style import plot_colours

_HEIGHT_PX = 120


class EffortPlot(Step):
    """A plot that is made when there is something to show: pyqtgraph is slow to import."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.theme = "dark"
        self._plot: Any = None
        self.legend = sentence()
        self.verdict = sentence(name="facts")
        self.add(self.legend, self.verdict)
        self.bind(self._show, "review")

    def set_theme(self, theme: str) -> None:
        """Take the colours of one of napari's themes."""
        self.theme = theme
        if self._plot is not None:
            self._colour()
        self._show()

    def _show(self) -> None:
        efforts = self.state.review.efforts
        self.setVisible(bool(efforts))
        if not efforts:
            return
        if self._plot is None:
            self._make()
        numbers = list(range(1, len(efforts) + 1))
        for line, shares in zip(self._lines, zip(*efforts, strict=True), strict=True):
            line.setData(numbers, [100 * share for share in shares])
        self._plot.getPlotItem().setXRange(0.5, max(5, len(efforts)) + 0.5, padding=0)
        _, _, objects, pixels = plot_colours(self.theme)
        last = [f"{100 * share:.2g} %" for share in efforts[-1]]
        say(
            self.legend,
            f"<span style='color:{objects}'>— objects changed {last[1]}</span> &nbsp; "
            f"<span style='color:{pixels}'>— pixels {last[0]}</span>",
        )
        say(self.verdict, self.state.review.verdict)

    def _make(self) -> None:
        pg = load_pyqtgraph()
        self._plot = pg.PlotWidget()
        self._plot.setFixedHeight(_HEIGHT_PX)
        self._plot.setToolTip("Share of the objects and of the pixels that were changed, by reviewed field")
        item = self._plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("bottom", "reviewed fields")
        item.setLabel("left", "% changed")
        item.setLimits(yMin=0)
        self._lines = (pg.PlotDataItem(symbol="s", symbolSize=5), pg.PlotDataItem(symbol="o", symbolSize=5))
        for line in self._lines:
            item.addItem(line)
        self._colour()
        self.column.insertWidget(0, self._plot)

    def _colour(self) -> None:
        background, axes, objects, pixels = plot_colours(self.theme)
        self._plot.setBackground(background)
        for name in ("bottom", "left"):
            axis = self._plot.getPlotItem().getAxis(name)
            axis.setPen(axes)
            axis.setTextPen(axes)
        for line, colour in zip(self._lines, (pixels, objects), strict=True):
            line.setPen(colour, width=2)
            line.setSymbolBrush(colour)
            line.setSymbolPen(colour)
