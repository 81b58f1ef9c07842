"""Filters of the correction layer, folded away."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.tools.showing import Filter
from napari_unet.gui.widgets.base import SPACING, Step, add_to_form, button, fold, form_layout, say, sentence, silent

_LARGEST_PX = 1_000_000
_REMOVE = "Remove them, as one step that Ctrl+Z takes back"


class FilterOptions(Step):
    """Remove objects by size and place, after their number has been shown; number the others."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        filtering = controller.tools.filtering
        self.fold = fold("Filter objects", "Remove objects by size and place, or number them anew", self._unfold)
        self.smaller = QSpinBox()
        self.smaller.setRange(0, _LARGEST_PX)
        self.smaller.setSuffix(" px")
        self.smaller.setToolTip("Objects of fewer pixels than this are removed")
        self.border = QCheckBox("Touching the border")
        self.border.setToolTip("Objects that are cut by the border of the image are removed")
        self.count = sentence()
        self.remove = button("Remove", _REMOVE, filtering.remove)
        self.relabel = button("Relabel 1, 2, 3…", "Number the objects without gaps", filtering.relabel)
        self.inside = self._inside()
        self.add(self.fold, self.inside)
        self.inside.hide()
        self.smaller.valueChanged.connect(self._look)
        self.border.toggled.connect(self._look)
        self.bind(self._show, "tooling")

    def _inside(self) -> QWidget:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACING)
        form = form_layout()
        add_to_form(form, "Smaller than", self.smaller)
        column.addLayout(form)
        column.addWidget(self.border)
        column.addWidget(self.count)
        row = QHBoxLayout()
        row.addWidget(self.remove, 1)
        row.addWidget(self.relabel, 1)
        column.addLayout(row)
        return inside

    def _unfold(self, on: bool) -> None:
        self.inside.setVisible(on)
        if on:
            self._look()

    def _look(self, _value: object = None) -> None:
        self.controller.tools.filtering.look(self.smaller.value(), border=self.border.isChecked())

    def _show(self) -> None:
        shown = self.state.tooling.filter
        with silent(self.smaller, self.border):
            self.smaller.setValue(shown.smaller_px)
            self.border.setChecked(shown.border)
        say(self.count, in_words(shown))
        some = bool(shown.objects and shown.unwanted)
        self.remove.setEnabled(some)
        self.remove.setToolTip(_REMOVE if some else "No object is that small, or at the border if that is ticked")


def in_words(shown: Filter) -> str:
    """Say how many objects would be removed.

    >>> in_words(Filter(objects=1200, unwanted=3))
    '3 of 1,200 objects would be removed.'
    """
    if shown.objects is None:
        return "Counting…"
    return f"{shown.unwanted:,} of {shown.objects:,} objects would be removed."
