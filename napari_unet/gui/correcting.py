"""Step 3: a layer to correct in, and the region that the user vouches for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.state import ReviewedCount
from napari_unet.objects.editing.changes import Box, Change, slices

Extent = Literal["visible", "plane", "everything"]

_COUNT_DELAY_MS = 300
_COUNT_SLICE_S = 0.008


class Correcting:
    """Makes correction layers, marks regions as reviewed, and keeps count of them.

    Parameters
    ----------
    desk : Desk
    keeper : Keeper
        Keeps them on the disk.

    Attributes
    ----------
    marked : signal
        Sent when the user has vouched for a region, or no longer does.
    """

    marked = Signal()

    def __init__(self, desk: Desk, keeper: Keeper) -> None:
        self._desk, self._keeper = desk, keeper
        keeper.brought_back.connect(self._adopt)
        self._counter = Counter(desk)

    def start(self) -> None:
        """Make a correction layer of the prediction, or an empty one."""
        self._desk.attempt(self._start)

    def start_with(self, labels: npt.NDArray[np.uint32]) -> None:
        """Make a correction layer of labels that the user has brought; the chosen image must have none.

        Parameters
        ----------
        labels : (T, Z, Y, X) uint32
        """
        layer = self._desk.image_layer()
        frame = layers.frame_of(layer, self._desk.chosen_image().axes)
        prediction = layers.find(self._desk.viewer, "prediction", layers.layer_id(layer))
        if prediction is not None:
            prediction.visible = False
        self._begin(layer, frame, np.array(frame.from_tzyx(labels)))

    def mark(self, extent: Extent) -> None:
        """Mark a region as reviewed."""
        self._desk.attempt(lambda: self._set_reviewed(extent, 1))

    def clear(self) -> None:
        """Mark nothing as reviewed."""
        self._desk.attempt(lambda: self._set_reviewed("everything", 0))

    def close(self) -> None:
        """Stop counting: the viewer is closing."""
        self._counter.stop()

    def _start(self) -> None:
        viewer, layer = self._desk.viewer, self._desk.image_layer()
        image = self._desk.chosen_image()
        existing = layers.find(viewer, "correction", layers.layer_id(layer))
        if existing is not None:
            if layers.find(viewer, "reviewed", layers.layer_id(layer)) is None:
                self._add_reviewed(layer, layers.frame_of_labels(existing))
                self._counter.follow(layers.layer_id(layer))
            _activate(viewer, existing)
            self._desk.state.tell("There is a correction layer already: go on painting in it.")
            return
        frame = layers.frame_of(layer, image.axes)
        self._begin(layer, frame, self._first_labels(layer, frame))
        self._desk.state.tell(
            "Paint, erase and fill in the correction layer; then mark what you have checked as reviewed."
        )

    def _begin(self, layer: ImageLayer, frame: layers.Frame, labels: npt.NDArray[np.uint32]) -> None:
        """Make the layers of a correction, and keep them from now on."""
        correction = self._add_layers(layer, frame, labels)
        self._name_classes(correction)
        self._counter.follow(layers.layer_id(layer))
        self._keeper.begin(layers.layer_id(layer))
        _activate(self._desk.viewer, correction)

    def _adopt(self, image: str) -> None:
        """Go on with layers that were brought back."""
        correction, _ = self._desk.correction(image)
        self._name_classes(correction)
        self._counter.follow(image)
        _activate(self._desk.viewer, correction)

    def _first_labels(self, layer: ImageLayer, frame: layers.Frame) -> npt.NDArray[np.uint32]:
        prediction = layers.find(self._desk.viewer, "prediction", layers.layer_id(layer))
        if prediction is None or prediction.data.shape != frame.shape:
            return np.zeros(frame.shape, np.uint32)
        prediction.visible = False
        return np.array(prediction.data, np.uint32)

    def _add_layers(self, layer: ImageLayer, frame: layers.Frame, labels: npt.NDArray[np.uint32]) -> Labels:
        viewer = self._desk.viewer
        for role in ("preview", "probability"):
            for other in layers.with_role(viewer, role, layers.layer_id(layer)):
                other.visible = False
        # Marks that were made for a correction layer which is gone vouch for nothing in a new one.
        for old in list(layers.with_role(viewer, "reviewed", layers.layer_id(layer))):
            viewer.layers.remove(old)
        self._add_reviewed(layer, frame)
        return viewer.add_labels(labels, **layers.tagged("correction", layer, frame))

    def _add_reviewed(self, layer: ImageLayer, frame: layers.Frame) -> None:
        self._desk.viewer.add_labels(
            np.zeros(frame.shape, np.uint8),
            **layers.tagged("reviewed", layer, frame),
            **layers.look_of("reviewed"),
        )

    def _name_classes(self, correction: Labels) -> None:
        """Show class names in the status bar and choose a label to paint with."""
        model = self._desk.state.model
        if model is not None and model.spec.meaning == "semantic":
            names = model.spec.foreground_classes
            correction.features = {"index": range(1, len(names) + 1), "class": list(names)}
            correction.selected_label = 1
        else:
            correction.selected_label = int(correction.data.max()) + 1

    def _set_reviewed(self, extent: Extent, value: int) -> None:
        correction, reviewed = self._desk.correction()
        box = self._box(correction, extent)
        fill_undoably(reviewed, box, value)
        self.marked.emit()
        self._counter.restart()
        where = {"visible": "The visible region", "plane": "This slice", "everything": "Everything"}
        if value:
            self._desk.state.tell(f"{where[extent]} is marked as reviewed.")
        else:
            self._desk.state.tell("Nothing is marked as reviewed any more.")

    def _box(self, correction: Labels, extent: Extent) -> Box:
        everything = tuple((0, int(n)) for n in correction.data.shape)
        if extent == "everything":
            return everything
        viewer = self._desk.viewer
        if extent == "visible":
            axes = layers.frame_of_labels(correction).axes
            return layers.visible_box(viewer, correction, axes)
        steps = layers.plane_of(viewer, correction)
        shown = shown_dims(viewer, correction)[-2:]
        return tuple(whole if dim in shown else (steps[dim], steps[dim] + 1) for dim, whole in enumerate(everything))


def shown_dims(viewer: ViewerModel, layer: Labels) -> list[int]:
    """Return the array dimensions that are displayed, in the order in which they are."""
    offset = viewer.dims.ndim - layer.ndim
    return [dim - offset for dim in viewer.dims.displayed if dim >= offset]


def fill_undoably(layer: Labels, box: Box, value: int) -> None:
    """Give a box of a label layer one value, as one step that Ctrl+Z takes back.

    Parameters
    ----------
    box : tuple of (start, stop)
        Along the dimensions of the layer's array.
    """
    if (layer.data[slices(box)] != value).any():
        values = np.broadcast_to(np.asarray(value, layer.data.dtype), [stop - start for start, stop in box])
        apply_changes(layer, [Change(box, values)])


def _activate(viewer: ViewerModel, correction: Labels) -> None:
    viewer.layers.selection.active = correction
    correction.mode = "paint"


class Counter:
    """Counts reviewed pixels and objects a little at a time, a moment after the last stroke.

    It runs in the main thread, because the layers belong to it, for 8 ms at once.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._work: Generator[None, None, None] | None = None
        self._stopped = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._go_on)
        desk.viewer.layers.events.removed.connect(self.restart)

    def follow(self, image: str) -> None:
        """Count a new correction, and count again whenever it changes."""
        correction, reviewed = self._desk.correction(image)
        new = _counted_so_far(image, correction, 0, 0)
        others = (count for count in self._desk.state.counts if count.image != image)
        self._desk.state.counts = (*others, new)
        for layer in (correction, reviewed):
            layer.events.paint.connect(self.restart)
            layer.events.set_data.connect(self.restart)
            layer.events.labels_update.connect(self.restart)  # where undo draws only what it changes
        self.restart()

    def restart(self, _event: object = None) -> None:
        """Count from the start when the user has paused."""
        self._work = None
        if not self._stopped:
            self._timer.start(_COUNT_DELAY_MS)

    def stop(self) -> None:
        """Stop counting for good: the viewer is closing, and its layers go one by one."""
        self._stopped = True
        self._work = None  # which knows the viewer
        # When Python ends, Qt may have deleted the timer already.
        with contextlib.suppress(RuntimeError):
            self._timer.stop()

    def _go_on(self) -> None:
        if self._stopped or not self._desk.open:  # the viewer is gone since the timer was started
            return
        if self._work is None:
            self._work = self._count()
        until = time.monotonic() + _COUNT_SLICE_S
        try:
            while time.monotonic() < until:
                next(self._work)
            self._timer.start(0)
        except StopIteration:
            self._work = None

    def _count(self) -> Generator[None, None, None]:
        counts = []
        viewer = self._desk.viewer
        for correction in list(layers.with_role(viewer, "correction")):
            image = layers.image_id_of(correction) or ""
            if layers.by_id(viewer, image) is None:
                continue  # its image has been removed
            try:
                _, reviewed = self._desk.correction(image)
            except LabelsError:
                continue
            counts.append((yield from _counted(image, correction, reviewed)))
        self._desk.state.counts = tuple(counts)


def _counted(image: str, correction: Labels, reviewed: Labels) -> Generator[None, None, ReviewedCount]:
    """Count plane by plane."""
    pixels, seen = 0, np.zeros(1, bool)
    planes = np.ndindex(*correction.data.shape[:-2])
    for plane in planes:
        mask = np.asarray(reviewed.data[plane]) > 0
        labels = np.asarray(correction.data[plane])[mask]
        pixels += labels.size
        if labels.size:
            seen = _with_seen(seen, labels)
        yield
    return _counted_so_far(image, correction, pixels, int(seen[1:].sum()))


def _counted_so_far(image: str, correction: Labels, pixels: int, objects: int) -> ReviewedCount:
    return ReviewedCount(
        image=image,
        correction=layers.layer_id(correction),
        title=correction.name,
        reviewed_px=pixels,
        total_px=int(correction.data.size),
        objects=objects,
    )


def _with_seen(seen: npt.NDArray[np.bool_], labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    top = int(labels.max()) + 1
    if top > seen.size:
        seen = np.pad(seen, (0, top - seen.size))
    seen[labels] = True
    return seen
