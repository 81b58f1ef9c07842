"""While a model learns: how far it is, pause, and two ways to stop."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import Activity
from napari_unet.gui.widgets.base import SPACING, Step, button, card

_PAUSE, _GO_ON = "Let the training rest; its time stands still, too", "Go on with the training"


class TrainingBar(Step):
    """Shown only while a training runs."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        finetuning = controller.finetuning
        self.sentence = QLabel()
        self.sentence.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.pause = button("Pause", _PAUSE, self._pause)
        self.keep = button(
            "Stop and keep",
            "End the training now and judge the best model so far",
            lambda: finetuning.stop(keep=True),
        )
        self.discard = button(
            "Stop and discard",
            "End the training now and throw away what it has learnt; the model in use stays as it is",
            lambda: finetuning.stop(keep=False),
        )
        frame, column = card()
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.sentence, 1)
        first.addWidget(self.pause)
        second.setSpacing(SPACING)
        second.addWidget(self.keep, 1)
        second.addWidget(self.discard, 1)
        column.addLayout(first)
        column.addLayout(second)
        self.add(frame)
        self.bind(self._show, "training", "activity")

    def _show(self) -> None:
        training, activity = self.state.training, self.state.activity
        running = activity is Activity.FINE_TUNING and bool(training.sentence)
        stopping = activity is Activity.CANCELLING and bool(training.sentence)
        self.setVisible(running or stopping)
        self.sentence.setText("Stopping…" if stopping else training.sentence)
        self.sentence.setToolTip(training.sentence)
        self.pause.setText("Go on" if training.paused else "Pause")
        self.pause.setToolTip(_GO_ON if training.paused else _PAUSE)
        self.pause.setEnabled(running and training.running)
        for one in (self.keep, self.discard):
            one.setEnabled(running and training.running)

    def _pause(self) -> None:
        self.controller.finetuning.pause(not self.state.training.paused)
