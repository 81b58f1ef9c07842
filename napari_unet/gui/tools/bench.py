"""What all tools share: the layer that they work on, and how an edit gets into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Protocol

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes, write_undoably
from napari_unet.gui.margins import unseen
from napari_unet.gui.tools.known import Known
from napari_unet.gui.tools.pane import Pane, Place, Point, pane_of
from napari_unet.gui.tools.sketch import Sketch
from napari_unet.gui.tools.work import Work
from napari_unet.objects.editing.changes import Change

# Changes of more pixels are written a little at a time.
AT_ONCE_PX = 4_000_000
_HISTORY_KEYS = ("Control-Z", "Control-Shift-Z")


class Tool(Protocol):
    """What the mouse and the keys do while a tool is chosen."""

    title: str
    key: str
    hint: str

    def click(self, at: Place) -> None:
        """Take a click."""

    def draw(self, line: Sequence[Place]) -> None:
        """Take a line."""

    def accept(self) -> None:
        """Take Enter."""

    def drop(self) -> bool:
        """Take Escape; whether there was something to drop."""

    def turn(self, steps: float) -> None:
        """Take Shift and the wheel."""

    def extent_changed(self) -> None:
        """Take another extent of the proposal."""

    def moved(self) -> None:
        """Take another slice."""


class Bench:
    """One per correction layer.

    Parameters
    ----------
    desk : Desk
    work : Work
    layer : Labels
        The layer itself, no proxy of it.
    """

    def __init__(self, desk: Desk, work: Work, layer: Labels) -> None:
        self.desk, self.layer, self._work = desk, layer, work
        self.known = Known(layer)
        self.sketch = Sketch(layer)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        return self.desk.viewer

    def close(self) -> None:
        """Forget the layer."""
        self.known.close()
        self.sketch.remove()

    def pane(self, ndim: int | None = None) -> Pane:
        """Return what edits act on now."""
        return pane_of(self.viewer, self.layer, ndim)

    def tell(self, text: str) -> None:
        """Say what happened, or what to do next."""
        self.desk.state.tell(text)
        self.layer.help = text

    @property
    def busy(self) -> bool:
        """Whether something is being worked out."""
        return self._work.busy

    def soon(self, call: Callable[[], None]) -> None:
        """Call something when the main thread has nothing else to do."""
        QTimer.singleShot(0, lambda: self.desk.attempt(call))

    def object_at(self, pane: Pane, at: Place) -> tuple[int, Point]:
        """Return the id of the object at a place, and the place in the pane.

        Raises
        ------
        LabelsError
            If there is none.
        """
        point = pane.point(at)
        if any(not 0 <= i < n for i, n in zip(point, pane.shape, strict=True)):
            raise LabelsError("There is nothing outside of the image. Click on an object.")
        number = int(pane.labels[point])
        if not number:
            raise LabelsError("There is no object here. Click on one.")
        return number, point

    def ask(self, compute: Callable[[], Any], use: Callable[[Any], None]) -> None:
        """Work something out in a thread and use it; see `Work.do`."""
        self._work.do(self.layer, compute, use)

    def edit(
        self,
        pane: Pane,
        compute: Callable[[], Sequence[Change]],
        told: str | Callable[[], str],
        nothing: str = "",
        *,
        looked_at: bool = True,
    ) -> None:
        """Work out changes of a pane, and apply them as one step.

        Parameters
        ----------
        told : str or callable
            To say afterwards.
        nothing : str
            To say if there were none.
        looked_at : bool
            Whether the user sees what is changed; else it is not marked as reviewed.
        """

        def use(changes: Sequence[Change]) -> Iterator[None] | None:
            if not changes:
                self.tell(nothing or "There was nothing to change.")
                return None
            whole = [pane.whole(change) for change in changes]
            if sum(change.values.size for change in whole) > AT_ONCE_PX:
                return self._write_slowly(whole, told, looked_at=looked_at)
            with unseen(self.layer, unless=looked_at):
                apply_changes(self.layer, whole)
            self._said(told)
            return None

        self._work.do(self.layer, compute, use)

    def _said(self, told: str | Callable[[], str]) -> None:
        self.tell(told if isinstance(told, str) else told())

    def _write_slowly(
        self, changes: Sequence[Change], told: str | Callable[[], str], *, looked_at: bool
    ) -> Iterator[None]:
        """Write changes a block at a time; still one step of the history.

        Meanwhile the layer cannot be painted on: a stroke or an undo in between would spoil the history.
        """
        layer, mode = self.layer, self.layer.mode
        layer.mode = "pan_zoom"
        self.tell("Writing…")

        def stay(_event: object = None) -> None:
            layer.mode = "pan_zoom"

        layer.events.mode.connect(stay)
        for key in _HISTORY_KEYS:
            layer.bind_key(key, lambda _layer: None, overwrite=True)
        layer._begin_stroke()  # noqa: SLF001  # as napari does for strokes of several events
        try:
            for change in changes:
                for part in blocks_of(change):
                    write_undoably(layer, part.box, part.values)
                    yield
        finally:
            layer.events.mode.disconnect(stay)
            for key in _HISTORY_KEYS:
                layer.bind_key(key, None)
            with unseen(layer, unless=looked_at):
                layer._commit_stroke()  # noqa: SLF001
            layer.mode = mode
            layer.refresh(extent=False)
        self._said(told)


def blocks_of(change: Change, at_most: int = 1_000_000) -> Iterator[Change]:
    """Cut a change into blocks along its longest axes."""
    sides = [stop - start for start, stop in change.box]
    if prod(sides) <= at_most:
        yield change
        return
    axis = next(i for i, side in enumerate(sides) if side > 1)
    step = max(1, at_most // prod(sides[axis + 1 :]))
    start, stop = change.box[axis]
    for first in range(start, stop, step):
        last = min(stop, first + step)
        box = (*change.box[:axis], (first, last), *change.box[axis + 1 :])
        inside = tuple(slice(None) if i != axis else slice(first - start, last - start) for i in range(len(sides)))
        yield from blocks_of(Change(box, change.values[inside]), at_most)
