"""The table of objects: which layer it lists, found out in a thread, kept up with edits, linked with the viewer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError, NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.jumping import show_box
from napari_unet.gui.listing_thread import ListingThread
from napari_unet.gui.recording import Recorder
from napari_unet.imaging.image import Image
from napari_unet.objects.editing.changes import Box, Change
from napari_unet.objects.listing import Rows, Sources, erased, no_rows

_POLL_MS = 60
_TRIES = 3
PLUGIN = "napari-unet"


@dataclass(frozen=True, slots=True)
class Listed:
    """What the table shows.

    Attributes
    ----------
    title : str
        Name of the layer; empty if there is none.
    rows : Rows
    complete : bool
        Whether these are all.
    pixel_size : PixelSize
    depth, times : int
        Slices and time points of the image.
    channels, channel : int
        Of the image, and the one that is measured; no channels where there is no image of that size.
    editable : bool
        Whether objects can be deleted.
    judged : bool
        Whether there is a reviewed region.
    """

    title: str = ""
    rows: Rows = field(default_factory=no_rows)
    complete: bool = True
    pixel_size: PixelSize = field(default_factory=PixelSize)
    depth: int = 1
    times: int = 1
    channels: int = 0
    channel: int = 0
    editable: bool = False
    judged: bool = False


class ObjectTable:
    """Lists the objects of the chosen image's correction layer, or of its prediction, while somebody looks.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    listed : signal
        With a `Listed` whenever that changes.
    picked : signal
        With the time point and the id of an object that was clicked or chosen in the viewer.
    """

    listed = Signal(Listed)
    picked = Signal(int, int)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lookers = 0
        self._channel = 0
        self._followed: _Followed | None = None
        self._leaping = False
        self.shown = Listed()
        self._timer = QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)

    def open(self) -> None:
        """Begin to list: somebody looks."""
        self._lookers += 1
        if self._lookers > 1:
            self.listed.emit(self.shown)
            return
        viewer = self._desk.viewer
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._follow)
        self._desk.state.events.image.connect(self._follow)
        viewer.mouse_drag_callbacks.append(self._on_mouse)
        self._timer.start()
        self._follow()

    def leave(self) -> None:
        """Stop listing when nobody looks any more."""
        self._lookers = max(0, self._lookers - 1)
        if not self._lookers:
            self.close()

    def close(self) -> None:
        """Stop listing."""
        self._lookers = 0
        self.choose(np.zeros(0, np.intp))
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()
        self._drop()
        if not self._desk.open:
            return
        viewer = self._desk.viewer
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.disconnect(self._follow)
        self._desk.state.events.image.disconnect(self._follow, missing_ok=True)
        with contextlib.suppress(ValueError):
            viewer.mouse_drag_callbacks.remove(self._on_mouse)

    def open_dock(self) -> None:
        """Show the table in the window, or bring it to the front."""
        window = getattr(self._desk.viewer, "window", None)
        if window is not None:
            dock, _ = window.add_plugin_dock_widget(PLUGIN, "Objects")
            dock.show()
            dock.raise_()
            # napari gives it half of the height, and the tools beside it need more than that.
            QTimer.singleShot(0, lambda: _make_low(dock))

    def choose(self, places: npt.NDArray[np.intp]) -> None:
        """Say which rows are chosen: buttons elsewhere act on these objects."""
        rows = self.shown.rows.take(places)
        chosen = tuple(zip(rows.t.tolist(), rows.label.tolist(), strict=True)) if self.shown.editable else ()
        state = self._desk.state
        if chosen != state.tooling.chosen:
            state.tooling = state.tooling.model_copy(update={"chosen": chosen})

    def choose_channel(self, channel: int) -> None:
        """Measure another channel of the image."""
        if channel != self._channel:
            self._channel = channel
            self._begin()

    def leap(self, place: int) -> None:
        """Show an object in the viewer, and choose its id to paint with."""
        followed, rows = self._followed, self.shown.rows
        if followed is None or not place < rows.size:
            return
        self._leaping = True
        try:
            show_box(self._desk.viewer, followed.layer, followed.own_box(rows.box(place)))
            followed.layer.selected_label = int(rows.label[place])
        finally:
            self._leaping = False

    def delete(self, places: Sequence[int]) -> None:
        """Delete objects, as one step that Ctrl+Z takes back."""
        followed = self._followed
        if followed is None or not len(places):
            return
        if not self.shown.editable:
            self._desk.state.tell("Press “Start correcting” first: a prediction itself stays as it is.", "warning")
            return
        followed.erase(self.shown.rows.take(list(places)))

    # -- following ------------------------------------------------------------

    def _follow(self, _event: object = None) -> None:
        """Take the layer of the chosen image, if that is another one now."""
        layer, reviewed = self._find()
        followed = self._followed
        if followed is None or followed.layer is not layer or followed.reviewed is not reviewed:
            self._begin()

    def _find(self) -> tuple[Labels | None, Labels | None]:
        viewer, image = self._desk.viewer, self._desk.state.image or ""
        correction = layers.find(viewer, "correction", image)
        if correction is None:
            return layers.find(viewer, "prediction", image), None
        reviewed = layers.find(viewer, "reviewed", image)
        return correction, reviewed if reviewed is not None and reviewed.data.shape == correction.data.shape else None

    def _begin(self) -> None:
        self._drop()
        layer, reviewed = self._find()
        if layer is not None:
            self._followed = _Followed(layer, reviewed, self._image_of(layer), self._channel)
            self._followed.recorder.data_replaced = self._begin
            layer.events.selected_label.connect(self._on_selected)
        self._show(complete=layer is None)

    def _drop(self) -> None:
        followed, self._followed = self._followed, None
        if followed is not None:
            followed.layer.events.selected_label.disconnect(self._on_selected)
            followed.close()

    def _image_of(self, labels: Labels) -> Image | None:
        """Return the image that labels belong to, where it has their size."""
        try:
            layer = self._desk.image_layer(layers.image_id_of(labels))
            axes = self._desk.state.axes if layers.layer_id(layer) == self._desk.state.image else ""
            image = layers.image_of(layer, axes or layers.guess_axes(layer))
        except NapariUnetError:
            return None
        size = layers.frame_of_labels(labels).to_tzyx(labels.data).shape
        return image if tuple(image.sizes[axis] for axis in "TZYX") == size else None

    def _poll(self) -> None:
        followed = self._followed
        if followed is None:
            return
        if followed.layer not in self._desk.viewer.layers:
            self._begin()
            return
        if followed.worker.news.is_set():
            followed.worker.news.clear()
            self._show(complete=followed.worker.complete)
        try:
            followed.write()
        except NapariUnetError as error:
            self._desk.state.tell(str(error), "error")

    def _show(self, *, complete: bool) -> None:
        followed = self._followed
        if followed is None:
            self.shown = Listed()
        else:
            shape, image = followed.sources.labels.shape, followed.sources.image
            self.shown = Listed(
                title=followed.layer.name,
                rows=followed.worker.rows,
                complete=complete,
                pixel_size=image.pixel_size if isinstance(image, Image) else followed.pixel_size,
                depth=shape[1],
                times=shape[0],
                channels=image.sizes["C"] if image is not None else 0,
                channel=followed.sources.channel,
                editable=layers.role_of(followed.layer) == "correction",
                judged=followed.reviewed is not None,
            )
        self.listed.emit(self.shown)

    # -- from the viewer ------------------------------------------------------

    def _on_selected(self, _event: object = None) -> None:
        """Hear of the eyedropper, and of tools that choose an object."""
        if self._followed is not None and not self._leaping:
            self._pick(int(self._followed.layer.selected_label))

    def _on_mouse(self, _viewer: object, event: Any) -> Generator[None, None, None]:  # noqa: ANN401
        """Hear of a click, where the mouse neither paints nor drags."""
        yield
        if event.type == "mouse_move":
            return
        followed, active = self._followed, self._desk.viewer.layers.selection.active
        if followed is None or (isinstance(active, Labels) and active.mode != "pan_zoom"):
            return
        value = followed.layer.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=list(event.dims_displayed), world=True
        )
        if value:
            self._pick(int(value))

    def _pick(self, label: int) -> None:
        followed = self._followed
        if followed is None or not label:
            return
        axes = layers.frame_of_labels(followed.layer).axes
        steps = dict(zip(axes, layers.plane_of(self._desk.viewer, followed.layer), strict=True))
        self.picked.emit(int(steps.get("T", 0)), label)


def _make_low(dock: QDockWidget) -> None:
    window = dock.parentWidget() if isalive(dock) else None
    if isinstance(window, QMainWindow):
        window.resizeDocks([dock], [1], Qt.Orientation.Vertical)


class _Followed:
    """A layer whose objects are listed."""

    def __init__(self, layer: Labels, reviewed: Labels | None, image: Image | None, channel: int) -> None:
        self.layer, self.reviewed = layer, reviewed
        self.frame = layers.frame_of_labels(layer)
        self.pixel_size = layers.pixel_size_of(layer, self.frame.axes)
        to_tzyx = self.frame.to_tzyx
        marks = None if reviewed is None else to_tzyx(reviewed.data)
        chosen = channel if image is not None and channel < image.sizes["C"] else 0
        self.sources = Sources(to_tzyx(layer.data), marks, image, chosen)
        self.worker = ListingThread(self.sources)
        self.recorder = _Hearing(layer, self._on_edit)
        self.other = None if reviewed is None else _Hearing(reviewed, self._on_edit)
        self._erasing: _Erasing | None = None

    def close(self) -> None:
        self.worker.stop()
        self.recorder.close()
        if self.other is not None:
            self.other.close()

    def own_box(self, box: Box) -> Box:
        """Translate a box along T, Z, Y and X to the axes of the layer."""
        known = dict(zip("TZYX", box, strict=True))
        return tuple(known.get(axis, (0, 1)) for axis in self.frame.axes)

    def erase(self, rows: Rows) -> None:
        """Work out in a thread what deletes objects; `write` applies it."""
        parts = []
        for t in sorted(set(rows.t.tolist())):
            there = rows.take(rows.t == t)
            parts.append(([self.own_box(there.box(i)) for i in range(there.size)], there.label.tolist()))
        self._erasing = _Erasing(self.layer, parts, self.recorder.edits)

    def write(self) -> None:
        """Delete what is to be deleted, when that is worked out.

        Raises
        ------
        LabelsError
            If the labels kept changing.
        """
        erasing = self._erasing
        if erasing is None or not erasing.done.is_set():
            return
        self._erasing = None
        if erasing.edits != self.recorder.edits:
            if erasing.tries >= _TRIES:
                raise LabelsError("The labels kept changing meanwhile. Try again.")
            self._erasing = _Erasing(self.layer, erasing.parts, self.recorder.edits, erasing.tries + 1)
            return
        apply_changes(self.layer, erasing.changes)

    def _on_edit(self, boxes: list[Box]) -> None:
        self.worker.look([self.frame.region(box) for box in boxes])


class _Hearing:
    """Hears of the edits of a layer, and counts them."""

    def __init__(self, layer: Labels, on_boxes: Any) -> None:  # noqa: ANN401
        self._on_boxes = on_boxes
        self.edits = 0
        self.data_replaced: Any = None
        self._recorder = Recorder(layer, self._on_edit)

    def close(self) -> None:
        self.data_replaced = None
        self._recorder.close()

    def _on_edit(self, kind: str, boxes: list[Box]) -> None:
        self.edits += 1
        if kind == "data" and self.data_replaced is not None:
            self.data_replaced()
        elif kind != "data":
            self._on_boxes(boxes)


class _Erasing:
    """What deletes objects, worked out in a thread."""

    def __init__(self, layer: Labels, parts: Sequence[tuple[list[Box], list[int]]], edits: int, tries: int = 1) -> None:
        self.parts, self.edits, self.tries = parts, edits, tries
        self.changes: list[Change] = []
        self.done = threading.Event()
        labels = layer.data
        threading.Thread(target=self._run, args=(labels,), daemon=True).start()

    def _run(self, labels: Any) -> None:  # noqa: ANN401
        try:
            for boxes, ids in self.parts:
                self.changes += erased(labels, boxes, ids)
        finally:
            self.done.set()
