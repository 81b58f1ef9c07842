"""How many neighbouring slices a model for planes is shown."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, add_to_form, form_layout, silent
from napari_unet.gui.widgets.choices import combo

_MOST = 2
_TIP = (
    "Show the model the slices before and behind each one, too: it learns what they tell, such as where an object "
    "goes on. Worth while for serial sections and thick stacks; the slices beside need no corrections"
)


class SlicesChoice(Step):
    """Slices on each side: what the model is shown already, or more."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.box: QComboBox = combo(_TIP)
        self.box.activated.connect(self._choose)
        form = form_layout()
        add_to_form(form, "Neighbours", self.box)
        self.column.addLayout(form)
        self.bind(self._show, "model", "neighbours", "image_slices", "activity")

    def _show(self) -> None:
        state, obstacle = self.state, self.controller.finetuning.neighbours_obstacle
        volumes = state.model is not None and state.model.spec.dims == 3
        # It cannot do with fewer than it has learnt from.
        known = 0 if state.model is None else state.model.spec.slices // 2
        with silent(self.box):
            self.box.clear()
            for count in range(known, known + 1 if obstacle else max(known, _MOST) + 1):
                self.box.addItem("All slices" if volumes else _in_words(count), count)
            self.box.setCurrentIndex(max(0, self.box.findData(state.neighbours)))
        self.box.setToolTip(obstacle or _TIP)
        self.box.setEnabled(not obstacle and not state.busy)

    def _choose(self, index: int) -> None:
        self.state.neighbours = self.box.itemData(index)


def _in_words(count: int) -> str:
    return f"{count} slice{'s' if count > 1 else ''} on each side" if count else "Each slice alone"
