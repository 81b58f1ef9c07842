"""Combo boxes over the lists in the state."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox

from napari_unet.gui.state import LayerChoice
from napari_unet.gui.widgets.base import silent


def combo(tip: str) -> QComboBox:
    """Make a combo box that long names do not widen."""
    made = QComboBox()
    made.setToolTip(tip)
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(8)
    return made


def show_choices(box: QComboBox, choices: Sequence[LayerChoice], chosen: str | None, empty: str) -> None:
    """Show layers, or one word where there are none."""
    with silent(box):
        box.clear()
        box.addItems([choice.name for choice in choices] or [empty])
        ids = [choice.id for choice in choices]
        box.setCurrentIndex(ids.index(chosen) if chosen in ids else 0)
