"""Step 3: correct, and mark what has been checked."""

from __future__ import annotations

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.icons import icon
from napari_unet.gui.state import ReviewedCount
from napari_unet.gui.widgets.base import (
    SPACING,
    Step,
    button,
    card,
    heading,
    quiet_button,
    say,
    sentence,
    set_primary,
)
from napari_unet.gui.widgets.review_queue import ReviewMarks, ReviewQueue
from napari_unet.gui.widgets.saving_line import SavingLine
from napari_unet.gui.widgets.style import icon_colours
from napari_unet.gui.widgets.tool_bar import ToolBar

KINDS_OF_MASKS = (
    "Masks and outlines (*.tif *.tiff *.png *.npy *.zip *.roi *.geojson *.json *.geojson.gz *.json.gz);;All files (*)"
)
_FIRST = (
    "Correct what the model got wrong, and mark what you have checked: only that is learned from, "
    "and segmenting again never changes it."
)
_HOW = "napari's brush (2), eraser (1), polygon (3) and fill (4) work as always. Beside them:"


class CorrectStep(Step):
    """Start a correction layer and mark regions as reviewed."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        correcting = controller.correcting
        self.start = button(
            "Start correcting",
            "Copy the prediction into a correction layer, or make an empty one",
            correcting.start,
            primary=True,
        )
        self.objects = quiet_button(
            "Objects",
            "Open the table of objects: click a row to go there, click an object to find its row",
            controller.objects.open_dock,
        )
        self.bring = quiet_button(
            "Open masks…",
            "Take labels of another program for this image: Cellpose, Fiji ROIs, QuPath GeoJSON, or a label image",
            self._bring,
        )
        self.obstacle, self.how = sentence(name="warning"), sentence()
        self.visible = button(
            "Visible region",
            "Every pixel on the screen is right now",
            lambda: correcting.mark("visible"),
        )
        self.plane = button("This slice", "Every pixel of this slice is right now", lambda: correcting.mark("plane"))
        self.everything = button(
            "Everything",
            "Every pixel of the image is right now",
            lambda: correcting.mark("everything"),
        )
        self.clear = button(
            "Clear marks",
            "Mark nothing as reviewed; the labels stay as they are",
            correcting.clear,
        )
        self.card, column = card()
        self.count = sentence(name="facts")
        column.addWidget(self.count)
        self.undo = sentence(
            "Green shows what is reviewed. Ctrl+Z takes a mark back while the reviewed layer is selected."
        )
        self.saving = SavingLine(controller)
        self.tools = ToolBar(controller)
        self.marks, self.queue = ReviewMarks(controller), ReviewQueue(controller)
        self._lay_out()
        self.bind(self._show_count, "counts", "image")
        self.bind(self._enable, "activity", "image", "counts", "axes")
        self.bind(self._stand_back, "keeping", "counts", "image")

    def set_theme(self, theme: str) -> None:
        """Draw the picture in the colours of a theme."""
        normal, chosen, disabled = icon_colours(theme)
        self.objects.setIcon(icon("objects", normal=normal, chosen=chosen, disabled=disabled))

    def _lay_out(self) -> None:
        title = QHBoxLayout()
        title.addWidget(heading("Correct"), 1)
        title.addWidget(self.bring)
        title.addWidget(self.objects)
        self.column.addLayout(title)
        self.add(self.saving, self.obstacle, self.start, self.how, self.tools)
        self.reviewing = QWidget()
        column = QVBoxLayout(self.reviewing)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACING)
        column.addWidget(heading("Mark as reviewed"))
        for pair in ((self.visible, self.everything), (self.plane, self.clear)):
            row = QHBoxLayout()
            row.setSpacing(SPACING)
            for one in pair:
                row.addWidget(one, 1)
            column.addLayout(row)
        for widget in (self.marks, self.card, self.undo, self.queue):
            column.addWidget(widget)
        self.add(self.reviewing)
        self.column.addStretch(1)

    def _bring(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open masks", "", KINDS_OF_MASKS)
        if path:
            self.controller.importing.open_masks(path)

    def _mine(self) -> ReviewedCount | None:
        return next((c for c in self.state.counts if c.image == self.state.image), None)

    def _show_count(self) -> None:
        count = self._mine()
        self.start.setText("Start correcting" if count is None else "Go on correcting")
        say(self.how, _FIRST if count is None else _HOW)
        nothing = self.state.image is None
        say(self.obstacle, "No image is chosen. Open one, or take one from File > Open Sample." if nothing else "")
        say(self.count, "" if count is None else in_words(count))

    def _stand_back(self) -> None:
        """Let the offer to bring earlier corrections back be the one button that stands out."""
        set_primary(self.start, self._mine() is None and self.state.keeping.offer is None)

    def _enable(self) -> None:
        started = self._mine() is not None
        self.start.setEnabled(self.state.image is not None)
        self.bring.setEnabled(self.state.image is not None and not self.state.busy)
        self.reviewing.setVisible(started)
        self.plane.setVisible(bool({"T", "Z"} & {*self.state.axes}))
        for mark in (self.visible, self.plane, self.everything, self.clear):
            mark.setEnabled(started)


def in_words(count: ReviewedCount) -> str:
    """Say how much is reviewed.

    >>> from napari_unet.gui.state import ReviewedCount
    >>> in_words(ReviewedCount(image="", correction="", title="", reviewed_px=12, total_px=100, objects=1))
    '12 % of the pixels reviewed, 1 object'
    """
    share = 100 * count.reviewed_px / max(1, count.total_px)
    shown = f"{share:.0f}" if share >= 1 or share == 0 else f"{share:.1g}"
    objects = f"{count.objects:,} object{'s' if count.objects != 1 else ''}"
    return f"{shown} % of the pixels reviewed, {objects}"
