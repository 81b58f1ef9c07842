"""A training that was interrupted: go on with it, or forget it."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import SPACING, Step, button, card, say, sentence


class HaltedCard(Step):
    """Shown only where there is such a training."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        frame, column = card()
        self.text = sentence(name="facts")
        self.go_on = button(
            "Go on with it",
            "Take the model and the settings that the interrupted training had, and go on with it",
            controller.finetuning.go_on,
        )
        self.forget = button(
            "Forget it",
            "Forget the interrupted training: its file is deleted, and the next one begins at its first step",
            controller.halting.forget,
        )
        row = QHBoxLayout()
        row.setSpacing(SPACING)
        row.addWidget(self.go_on)
        row.addWidget(self.forget)
        row.addStretch(1)
        column.addWidget(self.text)
        column.addLayout(row)
        self.add(frame)
        self.bind(self._show, "halted", "activity")

    def _show(self) -> None:
        halted = self.state.halted
        self.setVisible(halted is not None and not self.state.busy)
        if halted is not None:
            say(self.text, halted.sentence)
            self.go_on.setVisible(halted.other_settings)
