"""What all tools share: the layer that they work on, and how an edit gets into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes, keep_what_goes, write_undoably
from napari_unet.gui.margins import unseen
from napari_unet.gui.redrawing import draw_less_when_undoing, show_partly
from napari_unet.gui.tools.known import Known
from napari_unet.gui.tools.pane import Pane, Place, Point, pane_of
from napari_unet.gui.tools.sketch import Sketch
from napari_unet.gui.tools.work import Work
from napari_unet.objects.editing.changes import Change, blocks

# Changes of more pixels are written a little at a time.
AT_ONCE_PX, BLOCK_PX = 4_000_000, 2**20
# So are more changes than this.
AT_ONCE_CHANGES = 200
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
        self.pointed: tuple[tuple[float, ...], int] | None = None  # where a key was pressed, and the object there
        draw_less_when_undoing(layer)

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
            if len(whole) > AT_ONCE_CHANGES or sum(change.values.size for change in whole) > AT_ONCE_PX:
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
        keep_what_goes(layer)
        layer._begin_stroke()  # noqa: SLF001  # as napari does for strokes of several events
        drawn = True
        try:
            for change in changes:
                for part in blocks_of(change):
                    write_undoably(layer, part.box, part.values)
                    drawn = drawn and show_partly(layer, [part.box])
                    yield
        finally:
            layer.events.mode.disconnect(stay)
            for key in _HISTORY_KEYS:
                layer.bind_key(key, None)
            with unseen(layer, unless=looked_at):
                layer._commit_stroke()  # noqa: SLF001
            layer.mode = mode
            if not drawn:
                layer.refresh(extent=False)
        self._said(told)


def blocks_of(change: Change) -> Iterator[Change]:
    """Cut a change into blocks."""
    for block in blocks(change.box, BLOCK_PX):
        inside = (slice(a - first, b - first) for (a, b), (first, _) in zip(block, change.box, strict=True))
        yield Change(block, change.values[tuple(inside)])
