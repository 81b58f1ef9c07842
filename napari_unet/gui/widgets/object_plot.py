"""A histogram of one measurement of the objects, or one against another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtWidgets import QComboBox, QHBoxLayout

from napari_unet.gui.controller import Controller
from napari_unet.gui.measuring import titled
from napari_unet.gui.object_table import Listed
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import SPACING, say, silent
from napari_unet.gui.widgets.plot import Plot
from napari_unet.gui.widgets.style import plot_colours

_MOST_BINS = 60
_HISTOGRAM = "How many there are"


class ObjectPlot(Plot):
    """Shows what a measurement is like over all objects; the chosen rows stand out, and a click on a point goes there.

    Parameters
    ----------
    controller : Controller
    go : callable
        Called with the place of an object whose point was clicked.
    """

    height_px = 190
    tip = "Each point is an object: click one to go there"
    sides = (("bottom", ""), ("left", ""))
    symbols = (None, None)

    def __init__(self, controller: Controller, go: Callable[[int], None]) -> None:
        super().__init__(controller)
        self._go, self._table = go, controller.objects
        self._listed, self._chosen = Listed(), np.zeros(0, np.intp)
        self._points: Any = None
        self.across, self.up = QComboBox(), QComboBox()
        self.across.setToolTip("What is shown from left to right")
        self.up.setToolTip("What is shown from bottom to top: how many there are, or a second measurement")
        row = QHBoxLayout()
        row.setSpacing(SPACING)
        for box in (self.up, self.across):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.activated.connect(self._want)
            row.addWidget(box, 1)
        self.column.insertLayout(0, row)
        self.setVisible(False)

    def open(self, shown: bool) -> None:
        """Show the plot, or put it away."""
        self.setVisible(shown)
        self._want()

    def show_objects(self, listed: Listed, chosen: npt.NDArray[np.intp]) -> None:
        """Take what is listed, and the places of the rows that are chosen."""
        self._listed, self._chosen = listed, chosen
        names = [self.across.itemData(at) for at in range(self.across.count())]
        if names != list(listed.there):
            self._offer(listed.there)
            self._want()
        self._show()

    def _offer(self, names: tuple[str, ...]) -> None:
        kept = [box.currentData() for box in (self.across, self.up)]
        with silent(self.across, self.up):
            for box, first in ((self.across, ()), (self.up, ("",))):
                box.clear()
                for name in (*first, *names):
                    box.addItem(titled(name) if name else _HISTOGRAM, name)
            for box, name in zip((self.across, self.up), kept, strict=True):
                box.setCurrentIndex(max(0, box.findData(name)))
            if kept[0] is None:
                self.across.setCurrentIndex(max(0, _first_in_um(names)))

    def _want(self) -> None:
        """Ask for what is to be shown; nothing is measured for a plot that is not."""
        names = [box.currentData() for box in (self.across, self.up)] if self.isVisibleTo(self.parentWidget()) else []
        self._table.plot([name for name in names if name])

    def _show(self) -> None:
        across, up = self.across.currentData(), self.up.currentData()
        measured = self._listed.measured
        if not self.isVisibleTo(self.parentWidget()) or across not in measured or (up and up not in measured):
            return
        item = self._item()
        item.setLabel("bottom", titled(across))
        item.setLabel("left", titled(up) if up else "Objects")
        if up:
            self._show_points(measured[across], measured[up])
        else:
            self._show_bars(measured[across])
        item.autoRange()

    def _show_bars(self, values: npt.NDArray[Any]) -> None:
        self._points.setData([], [])
        known = np.isfinite(values)
        edges = bins_of(values[known])
        for line, part in zip(self._lines, (values[known], values[self._chosen]), strict=True):
            counts, _ = np.histogram(part[np.isfinite(part)], edges)
            line.setData(edges, counts, stepMode="center", fillLevel=0, brush=line.opts["pen"].color())
        count = int(known.sum())
        middle = f", median {np.median(values[known]):,.4g}" if count else ""
        say(self.legend, "Measuring…" if self._listed.measuring and not count else f"{count:,} objects{middle}")

    def _show_points(self, across: npt.NDArray[Any], up: npt.NDArray[Any]) -> None:
        for line in self._lines:
            line.setData([], [], stepMode=None, fillLevel=None)
        known = np.flatnonzero(np.isfinite(across) & np.isfinite(up))
        colours = plot_colours(self.theme)
        chosen = np.isin(known, self._chosen)
        brushes = [colours[3] if one else colours[2] for one in chosen.tolist()]
        self._points.setData(across[known], up[known], data=known, brush=brushes)
        say(self.legend, f"{known.size:,} objects")

    def _make(self) -> None:
        super()._make()
        self.column.removeWidget(self._plot)
        self.column.insertWidget(1, self._plot)  # below what it shows
        self._points = load_pyqtgraph().ScatterPlotItem(size=6, pen=None)
        self._points.sigClicked.connect(self._on_clicked)
        self._plot.getPlotItem().addItem(self._points)

    def _on_clicked(self, _scatter: object, points: Any, *_event: object) -> None:  # noqa: ANN401
        if len(points):
            self._go(int(points[0].data()))


def bins_of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the edges of a histogram's bins: as many as the values can fill."""
    if not values.size or values.min() == values.max():
        middle = float(values[0]) if values.size else 0.0
        return np.array([middle - 0.5, middle + 0.5])
    edges = np.histogram_bin_edges(values, "auto")
    return edges if edges.size <= _MOST_BINS else np.linspace(values.min(), values.max(), _MOST_BINS + 1)


def _first_in_um(names: tuple[str, ...]) -> int:
    """Return the place of the size in µm, if it is known."""
    return next((at for at, name in enumerate(names) if name in {"area_um2", "volume_um3"}), 0)
