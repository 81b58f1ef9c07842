"""Below all steps: what is going on, how long it will take, and what was said last."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QVBoxLayout

from napari_unet.gui.controller import Controller
from napari_unet.gui.progress import in_words
from napari_unet.gui.widgets.base import MARGIN, Step, button, sentence

_COLOUR_NAMES = {"info": "facts", "warning": "warning", "error": "error"}


class StatusStrip(Step):
    """Activity, progress with time left, Cancel, and the last message."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        frame = QFrame()
        frame.setObjectName("strip")
        column = QVBoxLayout(frame)
        column.setContentsMargins(MARGIN, 6, MARGIN, 8)
        column.setSpacing(4)
        self.activity = QLabel()
        self.activity.setWordWrap(True)
        self.activity.setToolTip("What the panel is doing")
        self.cancel = button("Cancel", "Stop after this tile or training step", controller.cancel)
        row = QHBoxLayout()
        row.addWidget(self.activity, 1)
        row.addWidget(self.cancel)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setToolTip("How far the work has come")
        self.message = sentence(name="facts")
        column.addLayout(row)
        column.addWidget(self.bar)
        column.addWidget(self.message)
        self.add(frame)
        self.bind(self._show_work, "activity", "advance")
        self.bind(self._show_message, "message")

    def _show_work(self) -> None:
        state = self.state
        advance = state.advance
        self.cancel.setVisible(state.busy)
        self.cancel.setEnabled(state.cancellable)
        self.bar.setVisible(state.busy)
        self.bar.setUpdatesEnabled(False)  # else Qt paints the window at once, for the bar alone
        self.bar.setRange(0, advance.total)
        self.bar.setValue(advance.done)
        self.bar.setUpdatesEnabled(True)
        parts = [state.activity.value]
        if state.busy and advance.stage:
            parts.append(advance.stage)
        if advance.eta_s is not None:
            parts.append(f"{in_words(advance.eta_s)} left")
        self.activity.setText(" · ".join(parts))
        self._rest()

    def _rest(self) -> None:
        """Leave out that nothing is going on where there is something else to read."""
        self.activity.setVisible(self.state.busy or not self.state.message.text)

    def _show_message(self) -> None:
        message = self.state.message
        self.message.setObjectName(_COLOUR_NAMES[message.level])
        self.message.setText(message.text)
        self.message.setVisible(bool(message.text))
        self._rest()
        # The style depends on the name, and is only read again when it is set again.
        self.message.style().unpolish(self.message)
        self.message.style().polish(self.message)
