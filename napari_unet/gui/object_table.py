"""The table of objects: which layer it lists, found out in a thread, kept up with edits, linked with the viewer."""

from __future__ import annotations

import contextlib
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
from napari_unet.errors import NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.followed import Followed
from napari_unet.gui.jumping import show_box
from napari_unet.gui.measuring import Columns, aligned, columns_there
from napari_unet.imaging.image import Image
from napari_unet.objects.listing import Rows, no_rows

_POLL_MS = 60
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
    there : tuple of str
        Names of all columns that can be measured.
    columns : tuple of str
        Those of them that are wanted in the table.
    measured : dict of str to (objects,) arrays
        What was measured of them and for the plot; NaN where it is not known yet.
    measuring : bool
        Whether more will be known soon.
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
    there: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    measured: Columns = field(default_factory=dict)
    measuring: bool = False


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
        self._columns: tuple[str, ...] = ()
        self._plotted: tuple[str, ...] = ()
        self._followed: Followed | None = None
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

    def choose_columns(self, names: Sequence[str]) -> None:
        """Show measurements in the table."""
        self._columns = tuple(names)
        self._want()

    def plot(self, names: Sequence[str]) -> None:
        """Measure what is to be plotted; nothing if there is no plot."""
        self._plotted = tuple(names)
        self._want()

    @property
    def layer_id(self) -> str | None:
        """Id of the layer whose objects are listed."""
        return None if self._followed is None else layers.layer_id(self._followed.layer)

    def _want(self) -> None:
        followed = self._followed
        if followed is None:
            return
        if self._columns or self._plotted:
            followed.measuring.begin()
        self._show(complete=self.shown.complete)

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
            self._followed = Followed(layer, reviewed, self._image_of(layer), self._channel)
            self._followed.recorder.data_replaced = self._begin
            layer.events.selected_label.connect(self._on_selected)
            if self._columns or self._plotted:
                self._followed.measuring.begin()
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
        news = followed.worker.news.is_set()
        followed.worker.news.clear()
        try:
            news = followed.measuring.poll() or news
            followed.write()
        except NapariUnetError as error:
            self._desk.state.tell(str(error), "error")
        if news:
            self._show(complete=followed.worker.complete)

    def _show(self, *, complete: bool) -> None:
        self.shown = Listed() if self._followed is None else self._listed(self._followed, complete=complete)
        self.listed.emit(self.shown)

    def _listed(self, followed: Followed, *, complete: bool) -> Listed:
        (times, depth, *_), image, rows = followed.sources.labels.shape, followed.sources.image, followed.worker.rows
        channels = image.sizes["C"] if image is not None else 0
        there = columns_there(depth, channels, followed.shown_size)
        columns = tuple(name for name in self._columns if name in there)
        wanted = tuple(dict.fromkeys((*columns, *(name for name in self._plotted if name in there))))
        return Listed(
            title=followed.layer.name,
            rows=rows,
            complete=complete,
            pixel_size=followed.shown_size,
            depth=depth,
            times=times,
            channels=channels,
            channel=followed.sources.channel,
            editable=layers.role_of(followed.layer) == "correction",
            judged=followed.reviewed is not None,
            there=there,
            columns=columns,
            measured=aligned(followed.measuring.table, wanted, rows),
            measuring=followed.measuring.busy,
        )

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
