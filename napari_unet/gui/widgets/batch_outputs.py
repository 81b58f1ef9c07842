"""What is written about each image, folded until somebody wants to change it."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.export_choice import KINDS, Kind
from napari_unet.gui.widgets.base import SPACING, Step, fold, silent
from napari_unet.gui.widgets.export_step import OUTPUT_TITLES

_COLUMNS, _GAP_PX = 2, 4


class BatchOutputs(Step):
    """The kinds of files of the step Export, for many images."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.fold = fold("", "Which files are written for each image; the same as in step 5", self._unfold)
        self.options = QWidget()
        grid = QGridLayout(self.options)
        grid.setContentsMargins(0, 0, 0, SPACING)
        grid.setHorizontalSpacing(_GAP_PX)
        grid.setVerticalSpacing(2)
        self.boxes = {kind: self._box(kind) for kind in KINDS}
        rows = -(-len(self.boxes) // _COLUMNS)
        for place, box in enumerate(self.boxes.values()):
            grid.addWidget(box, place % rows, place // rows)
        self.add(self.fold, self.options)
        self.bind(self._show, "export_choice", "model", "activity")
        self._unfold(False)

    def _box(self, kind: Kind) -> QCheckBox:
        box = QCheckBox(OUTPUT_TITLES[kind])
        box.toggled.connect(partial(self.controller.exporting.choose, kind))
        return box

    def _show(self) -> None:
        recipes = self.controller.recipes
        obstacles, chosen = recipes.kind_obstacles, recipes.kinds
        with silent(*self.boxes.values()):
            for kind, box in self.boxes.items():
                box.setChecked(kind in chosen)
                box.setEnabled(not self.state.busy and kind not in obstacles)
                box.setToolTip(obstacles.get(kind) or KINDS[kind])
        named = ", ".join(OUTPUT_TITLES[kind] for kind in chosen)
        self.fold.setText(f"Write: {named}" if named else "Write: nothing yet")

    def _unfold(self, unfolded: bool) -> None:
        self.options.setVisible(unfolded)
