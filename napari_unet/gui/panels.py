"""The dock widgets of the plugin menu: the workbench, and each of its steps alone."""

# No postponed annotations here: napari reads those of the constructors.

from functools import partial
from typing import ClassVar

import napari.viewer
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.controller import close_with_window, controller_of
from napari_unet.gui.widgets.base import Step
from napari_unet.gui.widgets.batch_view import BatchView
from napari_unet.gui.widgets.correct_step import CorrectStep
from napari_unet.gui.widgets.curve_plot import CurvePlot
from napari_unet.gui.widgets.effort_plot import EffortPlot
from napari_unet.gui.widgets.export_step import ExportStep
from napari_unet.gui.widgets.finetune_step import FineTuneStep
from napari_unet.gui.widgets.model_step import ModelStep
from napari_unet.gui.widgets.object_table import ObjectTableView
from napari_unet.gui.widgets.segment_step import SegmentStep
from napari_unet.gui.widgets.status_strip import StatusStrip
from napari_unet.gui.widgets.style import sheet
from napari_unet.gui.widgets.tool_bar import ToolBar

STEPS: dict[str, type[Step]] = {
    "Model": ModelStep,
    "Segment": SegmentStep,
    "Correct": CorrectStep,
    "Fine-tune": FineTuneStep,
    "Export": ExportStep,
}
# What there is beside the steps.
PAGES: dict[str, type[Step]] = {**STEPS, "Objects": ObjectTableView, "Many images": BatchView}
MIN_WIDTH_PX, MIN_TABLE_WIDTH_PX, MIN_TABLE_HEIGHT_PX = 340, 280, 352


class Panel(QWidget):  # type: ignore[misc]
    """Some steps of the loop above a shared status strip.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    """

    titles: ClassVar[tuple[str, ...]] = tuple(STEPS)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.controller = controller_of(napari_viewer)
        self._followed = False
        self.setMinimumWidth(MIN_WIDTH_PX)
        # Else napari puts an empty space below it, which is larger for each dock widget that is opened.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.steps = {title: PAGES[title](self.controller) for title in self.titles}
        self.pages = QStackedWidget()
        for step in self.steps.values():
            self.pages.addWidget(_scrolling(step))
        self.status = StatusStrip(self.controller)
        self.tabs = self._tabs()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        if len(self.titles) > 1:
            column.addLayout(self.tabs)
        column.addWidget(self.pages, 1)
        column.addWidget(self.status)
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        viewer.events.theme.connect(self._on_theme)
        self._paint(viewer.theme)

    def show_step(self, title: str) -> None:
        """Bring a step to the front."""
        index = self.titles.index(title)
        self.pages.setCurrentIndex(index)
        self._group.button(index).setChecked(True)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802  # Qt's name
        """Find the main window: when it goes, all work ends."""
        super().showEvent(event)
        if not self._followed:
            self._followed = True
            close_with_window(self.controller, self)

    def _tabs(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(4, 0, 4, 0)
        row.setSpacing(0)
        self._group = QButtonGroup(self)
        for index, title in enumerate(self.titles):
            tab = QPushButton(f"{index + 1} {title}")
            tab.setObjectName("tab")
            tab.setCheckable(True)
            tab.setChecked(index == 0)
            tab.setToolTip(f"Step {index + 1} of the loop: {title.lower()}")
            tab.clicked.connect(partial(self.show_step, title))
            self._group.addButton(tab, index)
            tab.setSizePolicy(QSizePolicy.Policy.MinimumExpanding, QSizePolicy.Policy.Fixed)
            row.addWidget(tab)
        return row

    def _on_theme(self, event: object) -> None:
        # Python may keep a panel for a while after Qt has deleted it.
        if isalive(self):
            self._paint(str(getattr(event, "value", "dark")))

    def _paint(self, theme: str) -> None:
        self.setStyleSheet(sheet(theme))
        for kind in (CurvePlot, EffortPlot, ToolBar, CorrectStep, ObjectTableView):
            for drawn in self.findChildren(kind):
                drawn.set_theme(theme)


def _scrolling(step: Step) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(step)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


class Workbench(Panel):
    """All steps, in the order of the loop."""


class ModelPanel(Panel):
    """Step 1 alone."""

    titles = ("Model",)


class SegmentPanel(Panel):
    """Step 2 alone."""

    titles = ("Segment",)


class CorrectPanel(Panel):
    """Step 3 alone."""

    titles = ("Correct",)


class FineTunePanel(Panel):
    """Step 4 alone."""

    titles = ("Fine-tune",)


class ExportPanel(Panel):
    """Step 5 alone."""

    titles = ("Export",)


class ObjectsPanel(Panel):
    """The table of objects."""

    titles = ("Objects",)

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.setMinimumSize(MIN_TABLE_WIDTH_PX, MIN_TABLE_HEIGHT_PX)


class ManyImagesPanel(Panel):
    """Many images, one after the other."""

    titles = ("Many images",)
