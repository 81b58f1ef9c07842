"""What all plots of the panels are built of: a plain plot in the colours of napari's theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_unet.gui.controller import Controller
from napari_unet.gui.warming import load_pyqtgraph
from napari_unet.gui.widgets.base import Step, sentence
from napari_unet.gui.widgets.style import plot_colours


class Plot(Step):
    """A plot that is made when there is something to show: pyqtgraph is slow to import.

    Subclasses set the class attributes, and write `_compose` and `_show`.

    Parameters
    ----------
    controller : Controller

    Attributes
    ----------
    height_px : int
    tip : str
        What the plot shows.
    sides : sequence of (str, str)
        Where there is an axis, and what it shows.
    symbols : sequence of str or None
        One for each line: which shape its points have.
    colours : sequence of int
        Which of the two colours of the theme each line has.
    """

    height_px: int
    tip: str
    sides: Sequence[tuple[str, str]]
    symbols: Sequence[str | None]
    colours: Sequence[int] = (0, 1)

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.theme = "dark"
        self._plot: Any = None
        self._lines: list[Any] = []
        self.legend = sentence()
        self.add(self.legend)

    def set_theme(self, theme: str) -> None:
        """Take the colours of one of napari's themes."""
        self.theme = theme
        if self._plot is not None:
            self._colour()
        self._show()

    def colour(self, line: int) -> str:
        """Return the colour of a line, for the legend."""
        return plot_colours(self.theme)[2 + self.colours[line]]

    def _show(self) -> None:
        raise NotImplementedError

    def _compose(self, item: Any) -> None:  # noqa: ANN401
        """Put the lines where they belong."""
        for line in self._lines:
            item.addItem(line)

    def _item(self) -> Any:  # noqa: ANN401
        """Return the plot's item, and make it the first time."""
        if self._plot is None:
            self._make()
        return self._plot.getPlotItem()

    def _make(self) -> None:
        pg = load_pyqtgraph()
        self._plot = pg.PlotWidget()
        self._plot.setFixedHeight(self.height_px)
        self._plot.setToolTip(self.tip)
        item = self._plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        for side, text in self.sides:
            item.showAxis(side)
            item.setLabel(side, text)
        self._lines = [pg.PlotDataItem(symbol=symbol, symbolSize=5) for symbol in self.symbols]
        self._compose(item)
        self._colour()
        self.column.insertWidget(0, self._plot)

    def _colour(self) -> None:
        background, axes, *_ = plot_colours(self.theme)
        self._plot.setBackground(background)
        for side, _ in self.sides:
            axis = self._plot.getPlotItem().getAxis(side)
            axis.setPen(axes)
            axis.setTextPen(axes)
        for number, line in enumerate(self._lines):
            line.setPen(self.colour(number), width=2)
            line.setSymbolBrush(self.colour(number))
            line.setSymbolPen(self.colour(number))
