"""Step 5: masks and tables as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.axes import PixelSize, without
from napari_unet.errors import LabelsError, NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Aside, Task
from napari_unet.imaging.image import Image, from_canonical

_TIFF = {".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class Saved:
    """A copy of what is saved: the user may go on painting while the file is written.

    Attributes
    ----------
    labels : (T, Z, Y, X) unsigned integer
    axes : str
        Of the file: those of the layer without channels.
    pixel_size : PixelSize
    image : Image, optional
        Whose mean intensities go into the table.
    """

    labels: npt.NDArray[Any]
    axes: str
    pixel_size: PixelSize
    image: Image | None


def _write_masks(path: Path, saved: Saved) -> Path:
    from napari_unet.export.tiff import save_masks

    target = path if path.suffix.lower() in _TIFF else path.with_name(path.name + ".tif")
    labels = from_canonical(saved.labels[:, None], saved.axes)
    return save_masks(target, labels, axes=saved.axes, pixel_size=saved.pixel_size)


def _write_table(path: Path, saved: Saved) -> Path:
    from napari_unet.export.table import save_table
    from napari_unet.objects.measuring import measure

    if not saved.labels.any():
        raise LabelsError("The labels are empty: there is no object to put into a table. Segment or paint some first.")
    target = path if path.suffix.lower() == ".csv" else path.with_name(path.name + ".csv")
    return save_table(target, measure(saved.labels, saved.pixel_size, saved.image))


class Exporting:
    """Writes a label layer in a thread; a failure leaves every file and layer as it was."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._corrections: set[str] = set()
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
        state.export_axes = layers.frame_of_labels(layer).axes
        size = layers.pixel_size_of(layer, state.export_axes)
        state.pixel_size_um = (size.z_um, size.y_um, size.x_um)

    def _follow_layers(self) -> None:
        """Choose a new correction layer; keep the chosen layer while it is there."""
        state = self._desk.state
        known = [choice.id for choice in state.labels]
        corrections = {layers.layer_id(one) for one in layers.with_role(self._desk.viewer, "correction")}
        new = corrections - self._corrections
        self._corrections = corrections
        if new:
            state.export_layer = new.pop()
        elif state.export_layer not in known:
            state.export_layer = known[-1] if known else None

    def _start(self, path: str, done: str, write: Callable[..., Path]) -> None:
        state = self._desk.state
        layer = layers.by_id(self._desk.viewer, state.export_layer)
        if not isinstance(layer, Labels):
            raise LabelsError("There are no labels to save. Segment an image in step 2 first.")
        saved = self._copy(layer)
        self._desk.run(Activity.EXPORTING, self._task(lambda: write(Path(path), saved), done))

    def _copy(self, layer: Labels) -> Saved:
        frame = layers.frame_of_labels(layer)
        labels = np.array(frame.to_tzyx(np.asarray(layer.data)))
        size = PixelSize(*self._desk.state.pixel_size_um)
        return Saved(labels, without(frame.axes, "C"), size, self._image(layer, labels.shape))

    def _image(self, labels: Labels, shape: tuple[int, ...]) -> Image | None:
        """Return the image that the labels belong to, if it is still there and fits."""
        layer = layers.by_id(self._desk.viewer, layers.image_id_of(labels))
        if layer is None:
            return None
        chosen = layers.layer_id(layer) == self._desk.state.image
        try:
            image = layers.image_of(layer, self._desk.state.axes if chosen else layers.guess_axes(layer))
        except NapariUnetError:
            return None
        fits = tuple(image.sizes[axis] for axis in "TZYX") == shape
        return image if fits else None

    def _task(self, write: Callable[[], Path], done: str) -> Task:
        path = yield Aside(write)
        self._desk.state.tell(f"{done} {path}.")
