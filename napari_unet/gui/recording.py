"""Hearing of everything that changes a label layer: strokes, fills, undo, new arrays, and writes of other plugins."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from time import monotonic
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.objects.editing.changes import Box, union, whole

OnEdit = Callable[[str, list[Box]], None]
"""Is told the kind of an edit ("paint", "undo", "redo", "data", "raw", `STROKE`) and the boxes that it touched."""

# What a stroke has touched that is still being painted; all of it is told again as "paint" when it ends.
STROKE = "stroke"

# Planes are looked over in blocks of this side, a few milliseconds at a time.
BLOCK_PX = 512
SWEEP_MS, SWEEP_S = 300, 0.003
# After an edit of so few blocks, all of them are looked at again at once.
MOST_BLOCKS = 4
# More boxes than this in one edit are told as one that holds them all.
MOST_BOXES = 64


class Recorder:
    """Tells of each edit of a label layer, right after it.

    Parameters
    ----------
    layer : Labels
        The layer itself, no proxy of it.
    on_edit : callable
    sweep : bool
        Whether to look for writes that napari tells nobody of.
    strokes : bool
        Whether to tell also of strokes that have not ended, and of those that are given up.
    """

    def __init__(self, layer: Labels, on_edit: OnEdit, *, sweep: bool = True, strokes: bool = False) -> None:
        self._layer, self._on_edit, self._strokes = layer, on_edit, strokes
        self._staged = 0  # so many changes of the stroke that is being painted have been told
        self._looked: set[tuple[int, ...]] = set()  # blocks that were looked at before this stroke changed them
        self._array = layer.data
        self._sums: dict[tuple[int, ...], int] = {}
        self._places: Iterator[tuple[int, ...]] = iter(())
        self._painted: list[Box] = []
        self._closed = False
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        self._wrap("undo", lambda: layer._undo_history)  # noqa: SLF001  # pinned by a test
        self._wrap("redo", lambda: layer._redo_history)  # noqa: SLF001
        if strokes:
            self._wrap("_abort_stroke", lambda: [layer._staged_history])  # noqa: SLF001
        self._sweeps = sweep
        if sweep:
            self._wrap_save()
        self._timer = QTimer()
        self._timer.setInterval(SWEEP_MS)
        self._timer.timeout.connect(self._sweep)
        if sweep:
            self._timer.start()

    def close(self) -> None:
        """Listen no more."""
        self.tell_stroke()
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()
        self._closed = True  # undo and redo may have been wrapped by others since, so they stay as they are
        self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.data.disconnect(self._on_data)

    @property
    def owes(self) -> bool:
        """Whether anything has been painted that is not told yet."""
        return bool(self._painted) or (self._strokes and len(self._layer._staged_history) > self._staged)  # noqa: SLF001

    def flush(self) -> None:
        """Tell now of what was painted last."""
        painted, self._painted = self._painted, []
        if painted:
            self._tell("paint", painted)

    def tell_stroke(self) -> None:
        """Tell now also of what has been added to a stroke that is still being painted."""
        self.flush()
        if self._strokes:
            staged = self._layer._staged_history  # noqa: SLF001  # pinned by a test
            boxes, self._staged = boxes_of(staged[self._staged :]), len(staged)
            if boxes:
                self._on_edit(STROKE, boxes)

    def look_over(self) -> None:
        """Look over the whole plane on the screen now, as the sweep does little by little."""
        self.flush()
        for place in list(self._visible_blocks()):
            if place not in self._looked:
                self._check(place)

    def _wrap(self, name: str, history: Callable[[], Sequence[Any]]) -> None:
        """Hear of undo and redo, which napari tells nobody of: of what lies on top of their history.

        napari makes a new history now and then, so it is asked for each time.
        """
        original = getattr(self._layer, name)

        def wrapped() -> None:
            if self._closed:
                original()
                return
            self.flush()
            steps = history()
            boxes = boxes_of(steps[-1]) if steps else []
            self._look_before(boxes)
            original()
            if name == "_abort_stroke":
                self._staged = 0
            if boxes:
                self._tell("undo" if name == "_abort_stroke" else name, boxes)

        setattr(self._layer, name, wrapped)

    def _wrap_save(self) -> None:
        """Look for writes by others before napari changes a block: afterwards they cannot be told from its own."""
        original = self._layer._save_history  # noqa: SLF001  # pinned by a test

        def wrapped(atom: Any) -> None:  # noqa: ANN401
            if not self._closed:
                self.flush()
                self._look_before(boxes_of([atom]))
            original(atom)

        self._layer._save_history = wrapped  # noqa: SLF001

    def _look_before(self, boxes: Iterable[Box]) -> None:
        for box in boxes:
            places = list(islice(product(*_spans(box)), MOST_BLOCKS))
            for place in places:
                if place in self._sums and place not in self._looked:
                    self._check(place)
            self._looked.update(places)

    def _on_paint(self, event: Any) -> None:  # noqa: ANN401
        """Note what is painted: outside of a stroke of the mouse, napari tells of it before it does it."""
        self.flush()
        self._painted, self._staged = boxes_of(event.value), 0
        QTimer.singleShot(0, self.flush)

    def _on_data(self, _event: object = None) -> None:
        self._painted.clear()
        self._looked.clear()
        self._array, self._staged = self._layer.data, 0
        self._sums.clear()
        for place in islice(self._visible_blocks() if self._sweeps else (), MOST_BLOCKS):
            self._sums[place] = self._sum(place)[1]
        self._tell("data", [whole(self._array.shape)])

    def _tell(self, kind: str, boxes: list[Box]) -> None:
        self._looked.clear()
        for box in boxes if self._sweeps else ():
            self._forget(box)
        self._on_edit(kind, boxes)

    def _forget(self, box: Box) -> None:
        """Know anew, or no more, what is in the blocks of a box."""
        spans = _spans(box)
        if np.prod([len(span) for span in spans]) > len(self._sums):
            inside = [key for key in self._sums if all(at in span for at, span in zip(key, spans, strict=True))]
        else:
            inside = list(product(*spans))
        for key in inside:
            self._sums.pop(key, None)
        if len(inside) > MOST_BLOCKS:
            shown = set(islice(self._visible_blocks(), MOST_BLOCKS))
            inside = [key for key in inside if key in shown]
        for key in inside:  # so that a write by somebody else right afterwards is seen
            self._sums[key] = self._sum(key)[1]

    def _sweep(self) -> None:
        """Look over some blocks of the plane on the screen."""
        self.tell_stroke()
        if self._layer._staged_history:  # noqa: SLF001  # it would take a stroke for a write by others
            return
        until = monotonic() + SWEEP_S
        while monotonic() < until:
            place = next(self._places, None)
            if place is None:
                self._places = self._visible_blocks()
                return
            self._check(place)

    def _check(self, place: tuple[int, ...]) -> None:
        """Compare a block with what it was when it was looked at last."""
        box, found = self._sum(place)
        known = self._sums.get(place)
        self._sums[place] = found
        if known is not None and known != found:
            self._on_edit("raw", [box])

    def _sum(self, place: tuple[int, ...]) -> tuple[Box, int]:
        """Return the box of a block and the checksum of what is in it."""
        shape = self._array.shape
        box = tuple((at, at + 1) for at in place[:-2])
        box += tuple((at * BLOCK_PX, min(n, (at + 1) * BLOCK_PX)) for at, n in zip(place[-2:], shape[-2:], strict=True))
        block = np.ascontiguousarray(self._array[tuple(slice(*part) for part in box)])
        return box, zlib.crc32(block.view(np.uint8).data)

    def _visible_blocks(self) -> Iterator[tuple[int, ...]]:
        """Blocks of the plane on the screen, and of no other."""
        shape = self._array.shape
        world = self._layer._slice_input.world_slice.point[-len(shape) :]  # noqa: SLF001  # what is on the screen
        point = self._layer.world_to_data(world)
        fixed = [min(max(round(float(at)), 0), n - 1) for at, n in zip(point, shape, strict=True)]
        counts = [-(-n // BLOCK_PX) for n in shape[-2:]]
        return ((*fixed[:-2], *at) for at in np.ndindex(*counts))


def boxes_of(item: Iterable[Any]) -> list[Box]:
    """Return the boxes that an item of napari's history touched.

    Parameters
    ----------
    item : iterable of atoms
        Of a stroke (`slice_key`), of `data_setitem` (an index for each pixel), or ours (slices).
    """
    boxes = [_box(atom.slice_key if hasattr(atom, "slice_key") else atom[0]) for atom in item]
    if len(boxes) <= MOST_BOXES:
        return list(dict.fromkeys(boxes))
    joined = boxes[0]
    for box in boxes[1:]:
        joined = union(joined, box)
    return [joined]


def _spans(box: Box) -> list[range]:
    """Positions of the blocks that a box touches."""
    fixed = [range(start, stop) for start, stop in box[:-2]]
    return fixed + [range(start // BLOCK_PX, -(-stop // BLOCK_PX)) for start, stop in box[-2:]]


def _box(index: Sequence[Any]) -> Box:
    return tuple(
        (part.start, part.stop) if isinstance(part, slice) else (int(np.min(part)), int(np.max(part)) + 1)
        for part in index
    )
