"""The models that the corrections of an image produced, each with a way back."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.training_state import Ancestor
from napari_unet.gui.widgets.base import SPACING, Step, button, fold, heading

MOST_ROWS = 4


class LineageList(Step):
    """Newest first; the oldest are behind a title that unfolds."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.older = fold("", "Show the older models, too", self._unfold)
        self.rows: list[AncestorRow] = []
        self._list, self._rest = QVBoxLayout(), QWidget()
        self._list.setSpacing(4)
        self._old = QVBoxLayout(self._rest)
        self._old.setContentsMargins(0, 0, 0, 0)
        self._old.setSpacing(4)
        self.add(heading("Models so far"))
        self.column.addLayout(self._list)
        self.add(self.older, self._rest)
        self._unfold(False)
        self.bind(self._show, "lineage")
        self.bind(self._enable, "activity")

    def _show(self) -> None:
        lineage = self.state.lineage
        self.setVisible(bool(lineage))
        for row in self.rows:
            row.setParent(None)
            row.deleteLater()
        self.rows = [AncestorRow(self.controller, ancestor) for ancestor in lineage]
        for number, row in enumerate(self.rows):
            (self._list if number < MOST_ROWS else self._old).addWidget(row)
        self.older.setVisible(len(lineage) > MOST_ROWS)
        self.older.setText(f"{len(lineage[MOST_ROWS:])} older")
        self._enable()

    def _enable(self) -> None:
        for row in self.rows:
            row.back.setEnabled(not self.state.busy and not row.ancestor.missing)

    def _unfold(self, on: bool) -> None:
        self._rest.setVisible(on)


class AncestorRow(QWidget):  # type: ignore[misc]
    """One model: its title, what is known of it, and the button that chooses it again."""

    def __init__(self, controller: Controller, ancestor: Ancestor) -> None:
        super().__init__()
        self.ancestor = ancestor
        self.title, self.about = QLabel(ancestor.title), QLabel(ancestor.missing or ancestor.about)
        self.title.setToolTip(ancestor.source or ancestor.title)
        self.about.setObjectName("warning" if ancestor.missing else "hint")
        for label in (self.title, self.about):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.current = QLabel("In use")
        self.current.setObjectName("hint")
        self.current.setVisible(ancestor.current)
        self.back = button(
            "Go back",
            "Go back to this model; the others stay in this list",
            partial(controller.lineage.go_back, ancestor),
        )
        self.back.setVisible(not ancestor.current)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SPACING)
        grid.setVerticalSpacing(0)
        grid.addWidget(self.title, 0, 0)
        grid.addWidget(self.about, 1, 0)
        grid.addWidget(self.current, 0, 1, 2, 1)
        grid.addWidget(self.back, 0, 1, 2, 1)
        grid.setColumnStretch(0, 1)
