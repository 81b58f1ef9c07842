"""The course of a fine-tuning: loss and score on held-out corrections over time."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import Activity
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import say
from napari_unet.gui.widgets.plot import Plot


class CurvePlot(Plot):
    """Two curves over the seconds, each with an axis of its own."""

    height_px = 170
    tip = "Loss (left) and score on held-out corrections (right) over seconds"
    sides = (("bottom", "seconds"), ("left", "loss"), ("right", "score"))
    symbols = (None, "o", None)
    colours = (0, 1, 1)

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.bind(self._show, "curve", "activity")

    def _show(self) -> None:
        curve = self.state.curve
        training = self.state.activity is Activity.FINE_TUNING
        self.setVisible(bool(curve.loss) or training)
        if not self.isVisibleTo(self.parentWidget()) or not (curve.loss or self._plot):
            say(self.legend, "Preparing…" if training else "")
            return
        end = max(time for time, _ in (*curve.loss, *curve.score, (1.0, 0.0)))
        self._item().setXRange(0, end, padding=0.02)
        self._lines[0].setData(*_columns(curve.loss))
        self._lines[1].setData(*_columns(curve.score))
        old = () if curve.old_score is None else ((0.0, curve.old_score), (end, curve.old_score))
        self._lines[2].setData(*_columns(old))
        say(self.legend, self._in_words())

    def _in_words(self) -> str:
        curve = self.state.curve
        parts = [f"<span style='color:{self.colour(0)}'>— loss {curve.loss[-1][1]:.3f}</span>"] if curve.loss else []
        if curve.score:
            best = max(value for _, value in curve.score)
            parts.append(
                f"<span style='color:{self.colour(1)}'>"
                f"— held-out score {curve.score[-1][1]:.3f}, best {best:.3f}</span>"
            )
        if curve.old_score is not None:
            parts.append(f"<span style='color:{self.colour(2)}'>- - old model {curve.old_score:.3f}</span>")
        return "<br>".join(parts)

    def _compose(self, item: Any) -> None:  # noqa: ANN401
        item.getAxis("left").enableAutoSIPrefix(False)
        item.layout.setContentsMargins(1, 8, 1, 1)  # else the uppermost number is cut
        self._right = load_pyqtgraph().ViewBox(enableMouse=False)
        item.scene().addItem(self._right)
        item.getAxis("right").linkToView(self._right)
        self._right.setXLink(item)
        self._right.setYRange(0, 1, padding=0.05)
        item.vb.sigResized.connect(self._align)
        item.addItem(self._lines[0])
        self._right.addItem(self._lines[1])
        self._right.addItem(self._lines[2])

    def _colour(self) -> None:
        super()._colour()
        self._lines[2].setPen(self.colour(2), width=1, style=Qt.PenStyle.DashLine)

    def _align(self) -> None:
        item = self._plot.getPlotItem()
        self._right.setGeometry(item.vb.sceneBoundingRect())
        self._right.linkedViewChanged(item.vb, self._right.XAxis)


def _columns(points: tuple[tuple[float, float], ...]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
