"""The course of a fine-tuning: loss and score on held-out corrections over time."""

from __future__ import annotations

from typing import Any

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import Activity
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import Step, say, sentence
from napari_unet.gui.widgets.style import plot_colours

_HEIGHT_PX = 170


class CurvePlot(Step):
    """A plot that is made when there is something to show: pyqtgraph is slow to import."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.theme = "dark"
        self._plot: Any = None
        self.legend = sentence()
        self.add(self.legend)
        self.bind(self._show, "curve", "activity")

    def set_theme(self, theme: str) -> None:
        """Take the colours of one of napari's themes."""
        self.theme = theme
        if self._plot is not None:
            self._colour()
        self._show()

    def _show(self) -> None:
        curve = self.state.curve
        training = self.state.activity is Activity.FINE_TUNING
        self.setVisible(bool(curve.loss) or training)
        if not self.isVisibleTo(self.parentWidget()) or not (curve.loss or self._plot):
            say(self.legend, "Preparing…" if training else "")
            return
        if self._plot is None:
            self._make()
        end = max(time for time, _ in (*curve.loss, *curve.score, (1.0, 0.0)))
        self._plot.getPlotItem().setXRange(0, end, padding=0.02)
        self._lines[0].setData(*_columns(curve.loss))
        self._lines[1].setData(*_columns(curve.score))
        say(self.legend, self._in_words())

    def _in_words(self) -> str:
        curve = self.state.curve
        _, _, loss, score = plot_colours(self.theme)
        parts = [f"<span style='color:{loss}'>— loss {curve.loss[-1][1]:.3f}</span>"] if curve.loss else []
        if curve.score:
            best = max(value for _, value in curve.score)
            parts.append(
                f"<span style='color:{score}'>— held-out score {curve.score[-1][1]:.3f}, best {best:.3f}</span>"
            )
        return "<br>".join(parts)

    def _make(self) -> None:
        pg = load_pyqtgraph()
        self._plot = pg.PlotWidget()
        self._plot.setFixedHeight(_HEIGHT_PX)
        self._plot.setToolTip("Loss (left) and score on held-out corrections (right) over seconds")
        item = self._plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("bottom", "seconds")
        item.setLabel("left", "loss")
        item.showAxis("right")
        item.getAxis("right").setLabel("score")
        self._right = pg.ViewBox(enableMouse=False)
        item.scene().addItem(self._right)
        item.getAxis("right").linkToView(self._right)
        self._right.setXLink(item)
        self._right.setYRange(0, 1, padding=0.05)
        item.vb.sigResized.connect(self._align)
        self._lines = (pg.PlotDataItem(), pg.PlotDataItem(symbol="o", symbolSize=5))
        item.addItem(self._lines[0])
        self._right.addItem(self._lines[1])
        self._colour()
        self.column.insertWidget(0, self._plot)
        self._align()

    def _align(self) -> None:
        item = self._plot.getPlotItem()
        self._right.setGeometry(item.vb.sceneBoundingRect())
        self._right.linkedViewChanged(item.vb, self._right.XAxis)

    def _colour(self) -> None:
        background, axes, loss, score = plot_colours(self.theme)
        self._plot.setBackground(background)
        for name in ("bottom", "left", "right"):
            axis = self._plot.getPlotItem().getAxis(name)
            axis.setPen(axes)
            axis.setTextPen(axes)
        self._lines[0].setPen(loss, width=2)
        self._lines[1].setPen(score, width=2)
        self._lines[1].setSymbolBrush(score)
        self._lines[1].setSymbolPen(score)


def _columns(points: tuple[tuple[float, float], ...]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
