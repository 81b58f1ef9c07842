"""What a training is judged on, in one line, and whether it is marked in the viewer."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox
from superqt import QElidingLabel

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, silent

_RULE = "What is held out is never learned from, now and in later fine-tunings: the score is honest only if it is so."


class HeldOutLine(Step):
    """Shown as long as a training or a new model is."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(4)
        self.told = QElidingLabel()
        self.told.setObjectName("hint")
        self.show_it = QCheckBox("Show what is held out")
        self.show_it.setToolTip(
            "Mark it in the viewer. What you review there is not learned from: it makes the score surer"
        )
        self.show_it.toggled.connect(self._mark)
        self.add(self.told, self.show_it)
        self.bind(self._show, "apart")

    def _show(self) -> None:
        apart = self.state.apart
        self.setVisible(bool(apart.sentence))
        self.told.setText(apart.sentence)
        self.told.setToolTip(f"{apart.sentence}\n{_RULE}")
        self.show_it.setVisible(bool(apart.regions))
        with silent(self.show_it):
            self.show_it.setChecked(apart.shown)

    def _mark(self, shown: bool) -> None:
        self.controller.finetuning.held_out.show(shown)
        self._show()  # the image may be gone
