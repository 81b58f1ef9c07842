"""What is known of the objects of a correction layer, found out in a thread while the user works."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError
from napari_unet.gui.recording import Recorder, boxes_of
from napari_unet.gui.tools.pane import Pane
from napari_unet.objects.editing.changes import Box, find_object, union
from napari_unet.objects.editing.index import ObjectIndex

_PATIENCE_S = 2.0


@dataclass(slots=True)
class _Watch:
    """What is known of one array. Edits are counted by the main thread when heard of, and by the other when seen."""

    index: ObjectIndex
    waiting: queue.Queue[list[Box] | None] = field(default_factory=queue.Queue)
    heard: int = 0
    looked: int = 0


class Known:
    """Boxes of all objects, and which ids are free.

    Parameters
    ----------
    layer : Labels
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._watch = _Watch(ObjectIndex(layer.data))
        self._closed = False
        self._top: int | None = None
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        self._recorder = Recorder(layer, self._on_edit, sweep=False)
        self._start()

    @property
    def index(self) -> ObjectIndex:
        """The boxes of the objects."""
        return self._watch.index

    @property
    def settled(self) -> bool:
        """Whether all edits have been looked at."""
        return self._watch.heard == self._watch.looked

    def close(self) -> None:
        """Stop looking."""
        self._closed = True
        self._watch.waiting.put(None)
        self._recorder.close()
        self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.data.disconnect(self._on_data)

    def settle(self) -> None:
        """Wait until the last edits have been looked at, if that takes no longer than a moment; in a thread."""
        until = time.monotonic() + _PATIENCE_S
        while self.index.complete and not self.settled and time.monotonic() < until:
            time.sleep(0.002)

    def new_ids(self, *, beside_chosen: bool = True) -> Iterator[int]:
        """Yield ids that no object has; takes a while before all objects are known, so in a thread.

        Parameters
        ----------
        beside_chosen : bool
            Whether the chosen label counts as used: it may be new, and not painted yet.

        Raises
        ------
        LabelsError
            If the type of the layer holds no more.
        """
        self.settle()
        if not self.index.complete and self._top is None:
            self._top = int(self._layer.data.max(initial=0))
        chosen = int(self._layer.selected_label) if beside_chosen else 0
        highest = max(self.index.highest, self._top or 0, chosen)
        last = np.iinfo(self._layer.data.dtype).max
        while True:
            highest += 1
            if highest > last:
                raise LabelsError(
                    f"All ids up to {last:,} that {self._layer.data.dtype} can hold are used. Relabel sequentially."
                )
            yield highest

    def box(self, pane: Pane, number: int, point: tuple[int, ...] | None = None) -> Box | None:
        """Return a box of the pane that holds an object; None if it is not known. In a thread.

        Parameters
        ----------
        point : tuple of int, optional
            In the object.
        """
        self.settle()
        box = find_object(pane.labels, point)[1] if point is not None else None
        seen = self.index.box(number)
        part = None if seen is None else pane.part(seen)
        if box is None or part is None:
            return box or part
        return union(box, part)

    def _start(self) -> None:
        threading.Thread(target=self._look, args=(self._watch,), daemon=True).start()

    def _look(self, watch: _Watch) -> None:
        for _ in watch.index.build():
            if self._closed or watch is not self._watch:
                return
        while (boxes := watch.waiting.get()) is not None:
            watch.index.update(boxes)
            watch.looked += 1

    def _on_paint(self, event: Any) -> None:  # noqa: ANN401
        boxes, watch = boxes_of(event.value), self._watch
        watch.heard += 1
        # napari tells of some edits right before they are written.
        QTimer.singleShot(0, lambda: watch.waiting.put(boxes))

    def _on_edit(self, kind: str, boxes: list[Box]) -> None:
        """Look at what is back: it may have been gone when it was to be looked at."""
        if kind in {"undo", "redo"} and not self._closed:
            self._watch.heard += 1
            self._watch.waiting.put(boxes)

    def _on_data(self, _event: object = None) -> None:
        """Begin anew with another array."""
        self._watch.waiting.put(None)
        self._watch, self._top = _Watch(ObjectIndex(self._layer.data)), None
        self._start()
