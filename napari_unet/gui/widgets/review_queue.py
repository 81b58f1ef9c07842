"""Step 3: marks by hand and around edits, and field after field."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSpinBox

from napari_unet.gui.controller import Controller
from napari_unet.gui.shortcuts import REVIEW_ACCEPT, REVIEW_BACK, REVIEW_SKIP
from napari_unet.gui.state import ReviewedCount
from napari_unet.gui.widgets.base import Step, button, heading, say, sentence, silent
from napari_unet.gui.widgets.effort_plot import EffortPlot

_MOST_MARGIN_PX = 200
_ORDERS = {
    "most uncertain": (
        "Most uncertain first",
        "Where the network is least sure, spread over the image and its classes",
    ),
    "least stable": (
        "Least stable first",
        "Where the network changes its answer when the image is flipped: works before anything has been segmented",
    ),
    "random": ("At random", "To compare with: what is measured in these fields holds for the whole image"),
    "in turn": ("One after the other", "From the first slice to the last"),
}


class ReviewMarks(Step):
    """Paint and draw the reviewed region, and mark around edits."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        vouching = controller.vouching
        self.brush = button("Brush", "Paint over what is right; the eraser (1) takes marks away", vouching.brush)
        self.rectangle = button(
            "Rectangle", "Draw rectangles around what is right; with Shift they take marks away", vouching.rectangle
        )
        self.back = button("Back to correcting", "Paint labels again", vouching.correct, primary=True)
        self.margin = QSpinBox()
        self.margin.setRange(0, _MOST_MARGIN_PX)
        self.margin.setSuffix(" px")
        self.margin.setSpecialValueText("none")
        self.margin.setToolTip(
            "What you paint, erase or change with a tool is marked as reviewed, and so are the pixels around it.\n"
            "0 marks nothing by itself."
        )
        self.margin.valueChanged.connect(vouching.set_margin)
        self.add_row(self.brush, self.rectangle)
        self.add(self.back)
        self.add_form(("Around edits", self.margin))
        self.bind(self._show, "review")
        self.bind(self._enable, "counts", "image")

    def _show(self) -> None:
        review = self.state.review
        self.back.setVisible(bool(review.marking))
        with silent(self.margin):
            self.margin.setValue(review.margin_px)

    def _enable(self) -> None:
        started = count_of(self) is not None
        for widget in (self.brush, self.rectangle):
            widget.setEnabled(started)


class ReviewQueue(Step):
    """Look at the image field by field."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        reviewing = controller.reviewing
        self.order = QComboBox()
        for order, (text, tip) in _ORDERS.items():
            self.order.addItem(text, order)
            self.order.setItemData(self.order.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.order.setToolTip("Which field is shown next")
        self.order.currentIndexChanged.connect(lambda _: reviewing.set_order(self.order.currentData()))
        self.start = button(
            "Review field by field", "Go to the field that is worth looking at most", reviewing.start, primary=True
        )
        self.accept = button(
            f"Right, next ({REVIEW_ACCEPT})",
            f"Every pixel in the frame is right now, as it was or because you corrected it: mark it and go on. "
            f"Key {REVIEW_ACCEPT}",
            reviewing.accept,
            primary=True,
        )
        self.back = button(f"Back ({REVIEW_BACK})", f"Return to the field before. Key {REVIEW_BACK}", reviewing.back)
        self.skip = button(
            f"Skip ({REVIEW_SKIP})", f"Leave this field unmarked and go on. Key {REVIEW_SKIP}", reviewing.skip
        )
        self.stop = button("Stop", "Look at no more fields; what is marked stays marked", reviewing.stop)
        self.progress = sentence(name="facts")
        self.note = sentence()
        self.effort = EffortPlot(controller)
        self.add(heading("Review field by field"))
        self.add_form(("Order", self.order))
        self.add(self.start, self.progress, self.note, self.accept)
        self.add_row(self.back, self.skip, self.stop)
        self.add(self.effort)
        self.bind(self._show, "review")
        self.bind(self._enable, "counts", "image")

    def _show(self) -> None:
        review = self.state.review
        with silent(self.order):
            self.order.setCurrentIndex(self.order.findData(review.order))
        item = self.order.model().item(self.order.findData("least stable"))
        item.setEnabled(review.can_flip)
        self.start.setVisible(not review.running)
        for widget in (self.accept, self.back, self.skip, self.stop):
            widget.setVisible(review.running)
        looking = review.running and review.at is None
        for widget in (self.accept, self.back, self.skip):
            widget.setEnabled(review.running and not looking)
        say(self.progress, "Looking for the first field…" if looking else self._progress())
        say(self.note, review.note)

    def _progress(self) -> str:
        review = self.state.review
        if not review.running:
            return ""
        skipped = f", {review.skipped:,} skipped" if review.skipped else ""
        return f"{review.reviewed:,} of {review.fields:,} fields reviewed{skipped}"

    def _enable(self) -> None:
        self.start.setEnabled(count_of(self) is not None)


def count_of(step: Step) -> ReviewedCount | None:
    """Return the count of the chosen image's correction layer, if it has one."""
    return next((count for count in step.state.counts if count.image == step.state.image), None)
