"""Step 3: correct, and mark what has been checked."""

from __future__ import annotations

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import ReviewedCount
from napari_unet.gui.widgets.base import Step, button, card, heading, say, sentence
from napari_unet.gui.widgets.review_queue import ReviewMarks, ReviewQueue
from napari_unet.gui.widgets.saving_line import SavingLine
from napari_unet.gui.widgets.tool_bar import ToolBar


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
        self.how = sentence(
            "Correct with napari's own tools: paint (2), erase (1), fill (4), polygon (3), new label (M). "
            "Then mark what you have checked: only reviewed pixels are learned from, "
            "and segmenting again never changes them."
        )
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
        self.add(heading("Correct"), self.saving, self.start, self.how, self.tools, heading("Mark as reviewed"))
        self.add_row(self.visible, self.plane)
        self.add_row(self.everything, self.clear)
        self.marks, self.queue = ReviewMarks(controller), ReviewQueue(controller)
        self.add(self.marks, self.card, self.undo, self.queue)
        self.column.addStretch(1)
        self.bind(self._show_count, "counts", "image")
        self.bind(self._enable, "activity", "image", "counts", "axes")

    def _mine(self) -> ReviewedCount | None:
        return next((c for c in self.state.counts if c.image == self.state.image), None)

    def _show_count(self) -> None:
        count = self._mine()
        self.start.setText("Start correcting" if count is None else "Go on correcting")
        if self.state.image is None:
            say(self.count, "No image is chosen. Open one, or take one from File > Open Sample.")
        elif count is None:
            say(self.count, "This image has no correction layer yet.")
        else:
            say(self.count, in_words(count))

    def _enable(self) -> None:
        started = self._mine() is not None
        self.start.setEnabled(self.state.image is not None)
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
