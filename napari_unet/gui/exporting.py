"""Step 5: masks and tables as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.axes import PixelSize, without
from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Aside, Task

_TIFF = {".tif", ".tiff"}


def _write_masks(path: Path, labels: npt.NDArray[Any], axes: str, size: PixelSize) -> Path:
    from napari_unet.export.tiff import save_masks

    target = path if path.suffix.lower() in _TIFF else path.with_suffix(".tif")
    save_masks(target, labels, axes=axes, pixel_size=size)
    return target


def _write_table(path: Path, labels: npt.NDArray[Any], axes: str, size: PixelSize) -> Path:
    from napari_unet.export.table import save_table
    from napari_unet.objects.measuring import measure

    target = path if path.suffix else path.with_suffix(".csv")
    save_table(target, measure(labels, axes=axes, pixel_size=size))
    return target


class Exporting:
    """Writes a label layer in a thread; a failure leaves every file and layer as it was."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.state.events.export_layer.connect(self.measure_pixel)
        desk.state.events.labels.connect(self._follow_layers)
        self._follow_layers()

    def save_masks(self, path: str) -> None:
        """Save the chosen labels as TIFF."""
        self._desk.attempt(lambda: self._start(path, "Saved the masks as", _write_masks))

    def save_table(self, path: str) -> None:
        """Save one row an object as CSV."""
        self._desk.attempt(lambda: self._start(path, "Saved the object table as", _write_table))

    def measure_pixel(self) -> None:
        """Take the pixel size from the chosen layer."""
        state = self._desk.state
        layer = layers.by_id(self._desk.viewer, state.export_layer)
        if layer is None:
            state.pixel_size_um = (None, None, None)
            return
        size = layers.pixel_size_of(layer, layers.frame_of_labels(layer).axes)
        state.pixel_size_um = (size.z_um, size.y_um, size.x_um)

    def _follow_layers(self) -> None:
        """Keep the chosen layer while it is there; otherwise choose the best one."""
        state = self._desk.state
        known = [choice.id for choice in state.labels]
        corrections = [layers.layer_id(one) for one in layers.with_role(self._desk.viewer, "correction")]
        if state.export_layer not in known:
            state.export_layer = next(reversed([*known, *corrections]), None)

    def _start(self, path: str, done: str, write: Callable[..., Path]) -> None:
        state = self._desk.state
        layer = layers.by_id(self._desk.viewer, state.export_layer)
        if not isinstance(layer, Labels):
            raise LabelsError("There are no labels to save. Segment an image in step 2 first.")
        frame = layers.frame_of_labels(layer)
        axes = without(frame.axes, "C")
        # A copy: the user may go on painting while the file is written.
        labels = np.array(layer.data)
        if "C" in frame.axes:
            labels = labels.squeeze(frame.axes.index("C"))
        size = PixelSize(*state.pixel_size_um)
        self._desk.run(
            Activity.EXPORTING,
            self._task(lambda: write(Path(path), labels, axes, size), done),
        )

    def _task(self, write: Callable[[], Path], done: str) -> Task:
        path = yield Aside(write)
        self._desk.state.tell(f"{done} {path}.")
