"""Step 4: fine-tune, and decide about the new model."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QListWidget, QListWidgetItem, QSizePolicy

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import ReviewedCount
from napari_unet.gui.widgets.base import Step, button, heading, say, sentence, silent
from napari_unet.gui.widgets.curve_plot import CurvePlot
from napari_unet.gui.widgets.halted_card import HaltedCard
from napari_unet.gui.widgets.held_out_line import HeldOutLine
from napari_unet.gui.widgets.lineage_list import LineageList
from napari_unet.gui.widgets.slices_choice import SlicesChoice
from napari_unet.gui.widgets.training_bar import TrainingBar
from napari_unet.gui.widgets.verdict import Verdict

_ROW_PX, _PADDING_PX = 22, 2
_MOST_ROWS = 6
_START = "Train a copy of the model on what is reviewed"


class FineTuneStep(Step):
    """Choose what to learn from and for how long; then use, save or discard the new model."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.pairs = QListWidget()
        self.pairs.setToolTip("Images with a correction layer; only reviewed pixels are learned from")
        self.pairs.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.pairs.setStyleSheet(f"QListWidget {{ padding: {_PADDING_PX}px 2px; }}")
        self.pairs.itemChanged.connect(self._skip)
        self.pairs.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.05, 600)
        self.minutes.setDecimals(2)
        self.minutes.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to train, checking included; cancelling keeps the best so far")
        self.minutes.valueChanged.connect(self._set_minutes)
        self.start = button(
            "Fine-tune",
            _START,
            controller.finetuning.start,
            primary=True,
        )
        self.obstacle = sentence(name="warning")
        self.live = QCheckBox("Show what it learns")
        self.live.setToolTip(
            "Segment what is on the screen after each check, as a preview; your corrections are not touched by it"
        )
        self.live.toggled.connect(controller.finetuning.set_live)
        self.forget = QCheckBox("For images like these only")
        self.forget.setToolTip(
            "Learn from the corrections alone. The new model may do better here, and forget the kinds of image that "
            "the old one came with"
        )
        self.forget.toggled.connect(self._set_forget)
        self.slices = SlicesChoice(controller)
        self.halted = HaltedCard(controller)
        self.training = TrainingBar(controller)
        self.held_out = HeldOutLine(controller)
        self.plot = CurvePlot(controller)
        self.verdict = Verdict(controller)
        self.lineage = LineageList(controller)
        self.add(heading("Learn from"), self.pairs, self.obstacle)
        self.add_form(("Time", self.minutes))
        self.add(self.slices, self.live, self.forget, self.halted, self.start, self.training)
        self.add(self.held_out, self.verdict, self.plot, self.lineage)
        self.column.addStretch(1)
        self.bind(self._show_pairs, "counts", "skipped")
        self.bind(self._show_minutes, "minutes")
        self.bind(self._show_live, "live")
        self.bind(self._show_forget, "forget", "model")
        self.bind(self._enable, "activity", "counts", "skipped", "model", "training")

    def _show_pairs(self) -> None:
        counts = self.state.counts
        with silent(self.pairs):
            self.pairs.clear()
            for count in counts:
                self.pairs.addItem(self._item(count))
        self.pairs.setVisible(bool(counts))
        shown = min(_MOST_ROWS, len(counts))
        self.pairs.setFixedHeight(_ROW_PX * shown + 2 * (_PADDING_PX + self.pairs.frameWidth()))

    def _item(self, count: ReviewedCount) -> QListWidgetItem:
        item = QListWidgetItem(f"{count.title} · {count.reviewed_px:,} px reviewed")
        item.setData(Qt.ItemDataRole.UserRole, count.correction)
        item.setToolTip(item.text())
        item.setSizeHint(QSize(0, _ROW_PX))
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        chosen = count.correction not in self.state.skipped
        item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
        return item

    def _skip(self, item: QListWidgetItem) -> None:
        skipped = item.checkState() == Qt.CheckState.Unchecked
        self.controller.finetuning.skip(item.data(Qt.ItemDataRole.UserRole), skipped=skipped)

    def _show_minutes(self) -> None:
        with silent(self.minutes):
            self.minutes.setValue(self.state.minutes)

    def _show_live(self) -> None:
        with silent(self.live):
            self.live.setChecked(self.state.live)

    def _show_forget(self) -> None:
        """Offer to forget only where there is something to forget, and something to tell it by."""
        model = self.state.model
        self.forget.setVisible(model is not None and model.trained and bool(model.spec.replay))
        with silent(self.forget):
            self.forget.setChecked(self.state.forget)

    def _set_forget(self, forget: bool) -> None:
        self.state.forget = forget

    def _set_minutes(self, value: float) -> None:
        self.state.minutes = value

    def _enable(self) -> None:
        state = self.state
        chosen = [c for c in state.counts if c.correction not in state.skipped]
        reviewed = any(c.reviewed_px for c in chosen)
        if not state.counts:
            say(self.obstacle, "There is no correction layer yet. Start one in step 3.")
        elif not reviewed:
            say(
                self.obstacle,
                "Nothing is marked as reviewed. Check a region in step 3 and mark it as reviewed: "
                "only that is learned from.",
            )
        else:
            say(self.obstacle, "")
        self.start.setEnabled(reviewed and not state.busy and state.model is not None)
        self.start.setToolTip(_START if reviewed else "First mark in step 3 what you have checked")
        trained = state.model is None or state.model.trained
        self.start.setText("Fine-tune" if trained else "Train from scratch")
        self.start.setVisible(not self.training.isVisibleTo(self))
        self.minutes.setEnabled(not state.busy)
        self.live.setEnabled(not state.busy)
        self.forget.setEnabled(not state.busy)
        self.pairs.setEnabled(not state.busy)
