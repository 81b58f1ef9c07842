"""Draw the pictures of the documentation: ``python scripts/screenshots.py`` (or ``make screenshots``).

Goes through the loop on a real image in a real window and grabs each step. Needs a display, or
Xvfb. What is drawn depends on the bundled model, so draw them again when that changes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["NAPARI_CONFIG"] = ""
os.environ["NAPARI_UNET_HOME"] = tempfile.mkdtemp(prefix="napari-unet-screenshots-")

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtWidgets import QWidget

from napari_unet.gui.panels import ManyImagesPanel, Panel

PLUGIN = "napari-unet"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = (1360, 860)
BUDGET_S = 40


def settle(seconds: float = 0.4) -> None:
    """Let napari draw."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QCoreApplication.processEvents()
        QCoreApplication.sendPostedEvents(QObject(), QEvent.Type.DeferredDelete)
        time.sleep(0.005)


def wait_until(done: Callable[[], bool], seconds: float = 600) -> None:
    """Let napari work until something is done."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise TimeoutError
        settle(0.02)
    settle()


class Photographer:
    """Goes through the loop and takes a picture at each step."""

    def __init__(self, folder: Path, theme: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(title="napari")
        self.viewer.theme = theme
        self.viewer.window.resize(*SIZE)
        _, panel = self.viewer.window.add_plugin_dock_widget(PLUGIN, "U-Net workbench")
        assert isinstance(panel, Panel)
        self.panel, self.controller, self.state = panel, panel.controller, panel.controller.state
        wait_until(lambda: len(self.state.devices) > 1)

    def idle(self) -> None:
        """Wait until the panel is idle."""
        wait_until(lambda: not self.state.busy)
        if self.state.message.level == "error":
            raise RuntimeError(self.state.message.text)

    def shoot(self, name: str, step: str, *, whole: bool = True) -> None:
        """Bring a step to the front and save the window, or the panel alone."""
        self.panel.show_step(step)
        settle()
        widget: QWidget = self.panel.window() if whole else self.panel
        widget.grab().save(str(self.folder / f"{name}.png"))
        print(self.folder / f"{name}.png")

    def take_all(self) -> None:
        """Take all pictures: the loop on nuclei in fluorescence, and the fine-tuning where the truth is known."""
        self.viewer.open_sample(PLUGIN, "fluorescence")
        self.shoot("workbench-model", "Model")
        self.controller.segmenting.segment()
        self.idle()
        self.shoot("workbench-segment", "Segment")
        self.many_images()
        self.controller.correcting.start()
        self.mark_a_part()
        self.shoot("workbench-correct", "Correct")
        self.list_objects()
        self.shoot("workbench-export", "Export")
        self.viewer.layers.clear()
        self.fine_tune()

    def fine_tune(self) -> None:
        """Correct the left half of a synthetic image from its truth, and learn from that."""
        self.viewer.open_sample(PLUGIN, "membranes")
        self.viewer.reset_view()
        truth = self.viewer.layers["membranes truth"].data
        self.controller.segmenting.segment()
        self.idle()
        self.controller.correcting.start()
        correction = self.viewer.layers["membranes correction"]
        half = np.nonzero(np.arange(truth.shape[1]) < truth.shape[1] // 2 * np.ones((truth.shape[0], 1)))
        correction.data_setitem(half, truth[half])
        self.viewer.layers["membranes reviewed"].data_setitem(half, 1)
        wait_until(lambda: any(count.reviewed_px for count in self.state.counts))
        self.state.minutes = BUDGET_S / 60
        self.controller.finetuning.start()
        wait_until(lambda: bool(self.state.curve.score) or not self.state.busy)
        self.shoot("workbench-finetune-running", "Fine-tune")
        self.idle()
        self.shoot("workbench-finetune", "Fine-tune")

    def many_images(self) -> None:
        """Run over a folder of windows of the sample, one file of which is damaged, and open what was found in one."""
        image = self.viewer.layers["fluorescence"].data
        folder = Path(tempfile.mkdtemp(prefix="napari-unet-screenshots-")) / "plate 3"
        folder.mkdir()
        for number in range(8):
            row, column = divmod(number, 4)
            window = image[240 * row : 240 * (row + 1), 160 * column : 160 * (column + 1)]
            tifffile.imwrite(folder / f"well B{number + 1}.tif", np.ascontiguousarray(window))
        (folder / "well B3.tif").write_bytes(b"damaged")
        self.controller.batching.open_dock()
        self.controller.batching.choose_folder(str(folder))
        self.idle()
        self.controller.batching.run()
        self.idle()
        before, chosen = {layer: layer.visible for layer in self.viewer.layers}, self.state.image
        self.controller.batching.open_row(5)
        wait_until(lambda: "well B6 correction" in self.viewer.layers)
        self.shoot("workbench-many", "Segment")
        for layer in [layer for layer in self.viewer.layers if layer not in before]:
            self.viewer.layers.remove(layer)
        for layer, visible in before.items():
            layer.visible = visible
        self.controller.choosing.choose_image(chosen)
        self.viewer.reset_view()
        panel = next(
            widget for widget in self.viewer.window.dock_widgets.values() if isinstance(widget, ManyImagesPanel)
        )
        self.viewer.window.remove_dock_widget(panel)

    def list_objects(self) -> None:
        """Open the table of objects, and choose one."""
        self.controller.objects.open_dock()
        _, panel = self.viewer.window.add_plugin_dock_widget(PLUGIN, "Objects")
        table = panel.steps["Objects"]
        wait_until(lambda: table.list.listed.complete and table.list.rowCount() > 0)
        settle()
        table.view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
        table.view.selectRow(12)
        self.shoot("workbench-objects", "Correct")
        self.viewer.window.remove_dock_widget(panel)
        self.viewer.reset_view()

    def mark_a_part(self) -> None:
        """Zoom in, and mark what is seen as reviewed."""
        camera = self.viewer.scene.camera
        center, zoom = camera.center, camera.zoom
        camera.center, camera.zoom = (340, 200), 1.6 * zoom
        settle()
        self.controller.correcting.mark("visible")
        camera.center, camera.zoom = center, zoom
        wait_until(lambda: any(count.reviewed_px for count in self.state.counts))

    def show_new_model(self) -> None:
        """Show the form of an untrained model."""
        self.controller.modelling.choose(next(m for m in self.state.models if not m.trained))
        self.shoot("workbench-model-untrained", "Model", whole=False)

    def close(self) -> None:
        """Close napari."""
        self.viewer.close()
        settle()


def main() -> None:
    """Take the pictures in the dark theme, and one in the light."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--light", action="store_true", help="take all of them in the light theme")
    options = parser.parse_args()
    np.random.seed(0)  # noqa: NPY002  # napari's label colours
    photographer = Photographer(options.out, "light" if options.light else "dark")
    photographer.take_all()
    if not options.light:
        photographer.viewer.theme = "light"
        photographer.shoot("workbench-light", "Fine-tune")
        photographer.viewer.theme = "dark"
    photographer.show_new_model()
    photographer.close()


if __name__ == "__main__":
    main()
