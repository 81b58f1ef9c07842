"""What was changed, and a margin around it, counts as reviewed."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.gui.editing import apply_changes
from napari_unet.gui.recording import Recorder, boxes_of
from napari_unet.objects.editing.changes import Box, Change, changes_of, slices, union
from napari_unet.objects.reviewing import widened

# Dabs of a stroke are widened together as long as they lie within so many pixels; larger boxes are cut.
TOGETHER_PX = 512 * 512
# So long at once, then the window has its turn.
FIRST_S, SLICE_S = 0.004, 0.008
# As many steps as napari's history has.
MOST_MARKS = 100

_UNSEEN: weakref.WeakSet[Labels] = weakref.WeakSet()
Mask = npt.NDArray[np.bool_]


@contextmanager
def unseen(layer: Labels, *, unless: bool = False) -> Iterator[None]:
    """Write into a layer what nobody has looked at, such as a new prediction: it is not marked as reviewed."""
    if not unless:
        _UNSEEN.add(layer)
    try:
        yield
    finally:
        _UNSEEN.discard(layer)


def is_unseen(layer: Labels) -> bool:
    """Whether what is written into a layer just now has not been looked at."""
    return layer in _UNSEEN


@dataclass(slots=True)
class _Mark:
    """The mark of one step of the correction's history; `atoms` keeps that step from being mistaken for another."""

    atoms: frozenset[int]
    held: Sequence[Any]
    step: Any = None


class Margins:
    """Marks what is changed in a correction layer as reviewed, to a margin.

    Undoing a change takes its mark back, as long as nothing else has been marked since: what somebody has vouched for
    stays reviewed.

    Parameters
    ----------
    correction, reviewed : Labels
        The layers themselves, no proxies of them.
    reach : callable
        Returns the margin in pixels, and the axes of the array along which it reaches; 0 marks nothing.
    """

    def __init__(self, correction: Labels, reviewed: Labels, reach: Callable[[], tuple[int, Sequence[int]]]) -> None:
        self._correction, self._reviewed, self._reach = correction, reviewed, reach
        self._marks: list[_Mark] = []
        self._taken: list[_Mark] = []
        self._work: list[tuple[_Mark, Iterator[Change | None], list[Change]]] = []
        self._writing = False
        self._timer = QTimer()
        self._timer.timeout.connect(self._go_on)
        correction.events.paint.connect(self._on_paint)
        self._recorders = (
            Recorder(correction, self._on_edit, sweep=False),
            Recorder(reviewed, self._on_reviewed, sweep=False),
        )

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()
        self._correction.events.paint.disconnect(self._on_paint)
        for recorder in self._recorders:
            recorder.close()

    def settle(self) -> None:
        """Let all marks stay, whatever is undone later: somebody vouches for them."""
        self._marks.clear()
        self._taken.clear()

    def finish(self) -> None:
        """Do all that waits, now."""
        self._go_on(until=float("inf"))

    # -- marking ------------------------------------------------------------------

    def _on_paint(self, event: Any) -> None:  # noqa: ANN401
        self._taken.clear()
        mark = _Mark(_ids(event.value), tuple(event.value))
        margin, axes = self._reach()
        alike = self._reviewed.data.shape == self._correction.data.shape
        if margin <= 0 or not alike or is_unseen(self._correction):
            self._note(mark)
            return
        self._work.append((mark, self._changes(event.value, margin, axes), []))
        self._go_on(until=time.monotonic() + FIRST_S)

    def _go_on(self, until: float | None = None) -> None:
        """Work out marks for a moment, and write those that are ready."""
        until = time.monotonic() + SLICE_S if until is None else until
        while self._work and time.monotonic() < until:
            mark, steps, found = self._work[0]
            try:
                change = next(steps)
            except StopIteration:
                self._work.pop(0)
                self._write(mark, found)
                continue
            if change is not None:
                found.append(change)
        if not self._work:
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start(0)

    def _changes(self, atoms: Sequence[Any], margin: int, axes: Sequence[int]) -> Iterator[Change | None]:
        """Work out what to mark, a block at a time."""
        shape = self._reviewed.data.shape
        for box, mask in _together(atoms):
            for block in _blocks(_grown(box, margin, axes, shape)):
                around = _grown(block, margin, axes, shape)
                there = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(around, box, strict=True))
                changed = mask[_within(there, box)]
                if not changed.any():
                    yield None
                    continue
                near = np.zeros([stop - start for start, stop in around], bool)
                near[_within(there, around)] = changed
                yield Change(block, widened(near, margin, axes)[_within(block, around)])

    def _write(self, mark: _Mark, found: list[Change]) -> None:
        array = self._reviewed.data
        changes: list[Change] = []
        for one in found:
            now = array[slices(one.box)]
            changes += changes_of(array, one.box, np.where(one.values & (now == 0), 1, now))
        if changes:
            self._quietly(lambda: apply_changes(self._reviewed, changes))
            mark.step = self._last_step()
        self._note(mark)

    def _note(self, mark: _Mark) -> None:
        self._marks = [*self._marks[-MOST_MARKS + 1 :], mark]

    def _last_step(self) -> Any:  # noqa: ANN401
        history = self._reviewed._undo_history  # noqa: SLF001  # pinned by a test
        return history[-1] if history else None

    # -- undoing ------------------------------------------------------------------

    def _on_edit(self, kind: str, _boxes: list[Box]) -> None:
        if kind == "undo":
            self._take_back(_ids(self._correction._redo_history[-1]))  # noqa: SLF001  # pinned by a test
        elif kind == "redo":
            self._mark_again(_ids(self._correction._undo_history[-1]))  # noqa: SLF001
        elif kind == "data":
            self._work.clear()
            self.settle()

    def _take_back(self, atoms: frozenset[int]) -> None:
        """Take back the mark of a change that was undone, if it is the last one."""
        waiting = [work for work in self._work if work[0].atoms == atoms]
        if waiting:
            self._work.remove(waiting[0])
            self._taken.append(waiting[0][0])
            return
        if not self._marks or self._marks[-1].atoms != atoms:
            self.settle()
            return
        mark = self._marks.pop()
        if mark.step is not None:
            if self._last_step() is not mark.step:
                self.settle()
                return
            self._quietly(self._reviewed.undo)
        self._taken.append(mark)

    def _mark_again(self, atoms: frozenset[int]) -> None:
        if not self._taken or self._taken[-1].atoms != atoms:
            self.settle()
            return
        mark = self._taken.pop()
        if mark.step is not None:
            self._quietly(self._reviewed.redo)
            mark.step = self._last_step()
        self._note(mark)

    def _quietly(self, write: Callable[[], Any]) -> None:
        """Write marks, and do not take them for those of others."""
        self._recorders[1].flush()
        self._writing = True
        try:
            write()
            self._recorders[1].flush()
        finally:
            self._writing = False

    def _on_reviewed(self, _kind: str, _boxes: list[Box]) -> None:
        """Hear of marks that were made or taken back by others."""
        if not self._writing:
            self.settle()


def _ids(atoms: Sequence[Any]) -> frozenset[int]:
    return frozenset(map(id, atoms))


def _together(atoms: Sequence[Any]) -> Iterator[tuple[Box, Mask]]:
    """Yield what atoms of napari's history changed, dabs that lie close to each other as one."""
    waiting: list[Any] = []
    box: Box = ()
    for atom in atoms:
        (own,) = boxes_of([atom])
        joined = union(box, own) if waiting else own
        if waiting and prod(stop - start for start, stop in joined) > TOGETHER_PX:
            yield box, _mask_of(waiting, box)
            waiting, joined = [], own
        waiting.append(atom)
        box = joined
    if waiting:
        yield box, _mask_of(waiting, box)


def _mask_of(atoms: Sequence[Any], box: Box) -> Mask:
    """Return what atoms changed in a box that holds them."""
    if len(atoms) == 1 and hasattr(atoms[0], "slice_key") and atoms[0].mask is not None:
        mask: Mask = atoms[0].mask
        return mask
    changed = np.zeros([stop - start for start, stop in box], bool)
    first = [start for start, _ in box]
    for atom in atoms:
        if hasattr(atom, "slice_key"):  # a stroke
            (own,) = boxes_of([atom])
            changed[_within(own, box)] |= True if atom.mask is None else atom.mask
        elif all(isinstance(part, slice) for part in atom[0]):  # ours
            (own,) = boxes_of([atom])
            changed[_within(own, box)] |= np.asarray(atom[1]) != atom[2]
        else:  # `data_setitem`
            places = tuple(np.asarray(part) - start for part, start in zip(atom[0], first, strict=True))
            changed[places] |= np.asarray(atom[1]) != atom[2]
    return changed


def _grown(box: Box, margin: int, axes: Sequence[int], shape: Sequence[int]) -> Box:
    return tuple(
        (max(0, start - margin), min(int(n), stop + margin)) if axis in axes else (start, stop)
        for axis, ((start, stop), n) in enumerate(zip(box, shape, strict=True))
    )


def _within(box: Box, window: Box) -> tuple[slice, ...]:
    return tuple(slice(start - first, stop - first) for (start, stop), (first, _) in zip(box, window, strict=True))


def _blocks(box: Box) -> Iterator[Box]:
    """Cut a box into blocks."""
    sides = [stop - start for start, stop in box]
    if prod(sides) <= 4 * TOGETHER_PX:
        yield box
        return
    axis = int(np.argmax(sides))
    start, stop = box[axis]
    middle = (start + stop) // 2
    for part in ((start, middle), (middle, stop)):
        yield from _blocks((*box[:axis], part, *box[axis + 1 :]))
