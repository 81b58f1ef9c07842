"""How much work to spend on each pixel, folded until somebody wants to know."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import SPACING, Step, add_to_form, fold, form_layout, say, sentence, silent
from napari_unet.gui.widgets.choices import combo
from napari_unet.inference.config import TURNS

_TURNS = {"none": "Off", "flips": "Flips", "all": "Flips and rotations"}
_INDENT_PX = 12


class SpeedOptions(Step):
    """Averaging over flipped and turned versions of the image, and the fast mode."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        tip = "A little better and slower, or much faster and a little worse"
        self.fold = fold("Speed and accuracy", tip, self._unfold)
        self.options = QWidget()
        form = form_layout(self.options)
        form.setContentsMargins(_INDENT_PX, 0, 0, SPACING)
        self.turns = combo(
            "Average the probabilities of the image and of its flipped and turned versions: often a little better, "
            "and slower by that factor"
        )
        for name, text in _TURNS.items():
            times = TURNS[name]  # type: ignore[index]  # the same names
            self.turns.addItem(text if times == 1 else f"{text} ({times} × the time)", name)
        self.turns.activated.connect(self._set_turns)
        self.fast = QCheckBox("Fast mode (8-bit)")
        self.fast.toggled.connect(self._set_fast)
        self.missing = sentence()
        add_to_form(form, "Average over", self.turns)
        form.addRow(self.fast)
        form.addRow(self.missing)
        self.add(self.fold, self.options)
        obstacle = controller.segmenting.fast_obstacle
        self.fast.setEnabled(not obstacle)
        self.fast.setToolTip(
            obstacle
            or "Compute with integers of 8 bits on the CPU: several times faster. What that changes is measured on "
            "parts of your image first and told; where it is too much, the exact mode is used instead"
        )
        say(self.missing, obstacle)
        self.bind(self._show, "turns", "fast")
        self._unfold(False)

    def _show(self) -> None:
        with silent(self.turns, self.fast):
            self.turns.setCurrentIndex(self.turns.findData(self.state.turns))
            self.fast.setChecked(self.state.fast)
        changed = [_TURNS[self.state.turns].lower()] if self.state.turns != "none" else []
        changed += ["fast mode"] if self.state.fast else []
        self.fold.setText(" · ".join(["Speed and accuracy", *changed]))

    def _unfold(self, unfolded: bool) -> None:
        self.options.setVisible(unfolded)

    def _set_turns(self, index: int) -> None:
        wanted: Any = self.turns.itemData(index)
        self.state.turns = wanted

    def _set_fast(self, fast: bool) -> None:
        self.state.fast = fast
