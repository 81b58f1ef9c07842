"""From the settings of one image to others: a folder of them, and recipes."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, button, heading, quiet_button

_SAVE = (
    "Write model, axes, channels, diameter, speed, objects and what is exported as a recipe. “napari-unet run” repeats "
    "it on any image without a window, and gives the same pixels"
)
_RECIPES = "Recipes (*.yaml *.yml)"


class BatchLinks(Step):
    """Run the settings over other images, keep them as a recipe, or take those of one."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.run = button(
            "Run over a folder…",
            "Segment many images with these settings, one after the other",
            controller.batching.open_dock,
        )
        self.save = quiet_button("Save recipe…", _SAVE, self._save)
        self.load = quiet_button("Load recipe…", "Set model, channels and everything else as a recipe says", self._load)
        self.add(heading("Other images"), self.run)
        self.add_row(self.save, self.load)
        self.bind(self._enable, "activity", "model")

    def _enable(self) -> None:
        idle, obstacle = not self.state.busy, self.controller.recipes.obstacle
        self.save.setEnabled(idle and not obstacle)
        self.save.setToolTip(f"{_SAVE}.\n\nNot now: {obstacle}" if obstacle else _SAVE)
        self.load.setEnabled(idle)

    def _save(self) -> None:
        model = self.state.model
        suggested = f"{Path(model.title).stem} recipe.yaml" if model is not None else "recipe.yaml"
        path, _ = QFileDialog.getSaveFileName(self, "Save the recipe", suggested, _RECIPES)
        if path:
            self.controller.recipes.save(path)

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a recipe", "", f"{_RECIPES};;All files (*)")
        if path:
            self.controller.recipes.load(path)
