"""Edits worked out in a thread and applied in the main one: short ones at once, long ones without blocking."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.errors import LabelsError, NapariUnetError
from napari_unet.gui.desk import Desk

# The main thread waits so long for a result before it goes on without it.
WAIT_S = 0.02
POLL_MS = 15
# Time that the main thread spends on writing before it looks after the viewer again.
SLICE_S = 0.01
_TRIES = 3


@dataclass(slots=True)
class _Thought:
    """Something that a thread works out."""

    compute: Callable[[], Any]
    result: Any = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self.result = self.compute()
        except Exception as error:
            self.error = error
        self.done.set()


class _Itself:
    """Something that equals itself only. It is held: else another thing could get its place in memory."""

    __slots__ = ("_it",)

    def __init__(self, it: object) -> None:
        self._it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._it is other._it

    def __hash__(self) -> int:
        return id(self._it)


State = tuple[_Itself, ...]


def state_of(layer: Labels) -> State:
    """Return what changes whenever a layer is edited, undone or redone."""
    histories = (layer._undo_history, layer._redo_history)  # noqa: SLF001  # pinned by a test
    return (_Itself(layer.data), *(_Itself(history[-1] if history else None) for history in histories))


@dataclass(slots=True)
class _Job:
    """Something that is worked out for a layer and then used."""

    layer: Labels
    compute: Callable[[], Any]
    use: Callable[[Any], Iterator[None] | None]
    about: State
    tries: int = 0
    thought: _Thought | None = None
    writing: Iterator[None] | None = None


class Work:
    """Does one thing after the other.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._job: _Job | None = None
        self._timer = QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._go_on)

    @property
    def busy(self) -> bool:
        """Whether something is being worked out or written."""
        return self._job is not None

    def do(self, layer: Labels, compute: Callable[[], Any], use: Callable[[Any], Iterator[None] | None]) -> None:
        """Work something out in a thread and use it in the main one.

        If the layer is edited meanwhile, it is worked out again.

        Parameters
        ----------
        compute : callable
            Must not touch the layer, only look at its array.
        use : callable
            Gets the result. It may return an iterator that does a little at each step.

        Raises
        ------
        LabelsError
            If the last one has not ended yet.
        """
        if self._job is not None:
            raise LabelsError("The last edit is still being worked out. Try again in a moment.")
        self._job = _Job(layer, compute, use, state_of(layer))
        self._think()

    def close(self) -> None:
        """Stop."""
        self._job = None
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()

    def _think(self) -> None:
        job = self._job
        assert job is not None
        job.about = state_of(job.layer)
        job.tries += 1
        job.thought = thought = _Thought(job.compute)
        until = time.monotonic() + WAIT_S
        threading.Thread(target=thought.run, daemon=True).start()
        thought.done.wait(max(0.0, until - time.monotonic()))
        self._timer.start()
        self._go_on()

    def _go_on(self) -> None:
        job = self._job
        if job is None:
            self._timer.stop()
            return
        try:
            if job.writing is not None:
                self._write(job)
            elif job.thought is not None and job.thought.done.is_set():
                self._use(job, job.thought)
        except NapariUnetError as error:
            self._end()
            self._desk.state.tell(str(error), "error")
        except Exception as error:
            self._end()
            self._desk.state.tell(f"This should not have happened: {error!r}", "error")
            raise

    def _use(self, job: _Job, thought: _Thought) -> None:
        if job.layer._staged_history:  # noqa: SLF001  # a stroke is being painted: its end is waited for
            return
        if thought.error is not None:
            raise thought.error
        if state_of(job.layer) != job.about:
            if job.tries >= _TRIES:
                raise LabelsError("The labels kept changing meanwhile. Try again.")
            self._think()
            return
        job.writing = job.use(thought.result)
        if job.writing is None:
            self._end()
        else:
            self._write(job)

    def _write(self, job: _Job) -> None:
        assert job.writing is not None
        until = time.monotonic() + SLICE_S
        while True:
            try:
                next(job.writing)
            except StopIteration:
                self._end()
                return
            if time.monotonic() >= until:
                return

    def _end(self) -> None:
        self._job = None
        self._timer.stop()
