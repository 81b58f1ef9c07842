"""A menu of columns that stays open while one ticks several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QCheckBox, QMenu, QPushButton, QWidgetAction

from napari_unet.gui.measuring import titled

_PLACES = ("centroid", "z_start", "z_stop", "y_start", "y_stop", "x_start", "x_stop")


class _Row(QCheckBox):  # type: ignore[misc]
    """A tick that is set by a click anywhere in its row; beside it, a click would close the menu."""

    def hitButton(self, pos: QPoint) -> bool:  # noqa: N802  # named by Qt
        """Whether a click there sets it."""
        return bool(self.rect().contains(pos))


class ColumnMenu(QMenu):  # type: ignore[misc]
    """Columns in groups: size and shape, place, and brightness.

    Parameters
    ----------
    button : QPushButton
        That opens it.
    choose : callable
        Called with the names that are ticked whenever that changes.
    """

    def __init__(self, button: QPushButton, choose: Callable[[Sequence[str]], None]) -> None:
        super().__init__(button)
        self._choose = choose
        self.boxes: dict[str, QCheckBox] = {}
        button.setMenu(self)

    def offer(self, names: Sequence[str], chosen: Sequence[str]) -> None:
        """Show what can be measured; nothing is done where that is shown already."""
        if tuple(names) == tuple(self.boxes):
            return
        self.clear()
        self.boxes = {name: self._box(name, name in chosen) for name in names}
        for title, group in grouped(names).items():
            self.addSection(title)
            for name in group:
                action = QWidgetAction(self)
                action.setDefaultWidget(self.boxes[name])
                self.addAction(action)

    def _box(self, name: str, chosen: bool) -> QCheckBox:
        box = _Row(titled(name))
        box.setStyleSheet("padding: 1px 10px")
        box.setChecked(chosen)
        box.toggled.connect(self._on_toggled)
        return box

    def _on_toggled(self, _on: bool) -> None:
        self._choose(tuple(name for name, box in self.boxes.items() if box.isChecked()))


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Sort columns into groups, in the order in which they are measured.

    >>> grouped(["area_px", "centroid_x", "mean_channel_0"])
    {'Size and shape': ['area_px'], 'Place': ['centroid_x'], 'Brightness': ['mean_channel_0']}
    """
    groups: dict[str, list[str]] = {"Size and shape": [], "Place": [], "Brightness": []}
    for name in names:
        if "_channel_" in name:
            groups["Brightness"].append(name)
        elif name.startswith(_PLACES):
            groups["Place"].append(name)
        else:
            groups["Size and shape"].append(name)
    return {title: group for title, group in groups.items() if group}
