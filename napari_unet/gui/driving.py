"""A generator of events that a thread drives, as a step of a task: for work that needs no process of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar, cast

from qtpy.QtCore import QTimer

from napari_unet.errors import Cancelled
from napari_unet.events import Event
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Aside, Remote

T = TypeVar("T")

_POLL_MS = 50


def driven(desk: Desk, work: Generator[Event, None, T]) -> Generator[Aside | Remote, Any, T]:
    """Let a thread drive a generator, show its events, and cancel it with the task.

    Parameters
    ----------
    desk : Desk
    work : generator of Event
        Touches files, never layers.

    Returns
    -------
    What the generator returns, also where the user cancels when it is done already.

    Raises
    ------
    Cancelled
        If the user cancels.
    """
    drive: _Drive[T] = _Drive(work)
    timer = QTimer()
    timer.setInterval(_POLL_MS)
    timer.timeout.connect(partial(_follow, desk, drive))
    timer.start()
    try:
        yield Aside(drive.run)
    except Cancelled:
        if not drive.complete:
            raise
    finally:
        timer.stop()
    return cast("T", drive.result)


class _Drive(Generic[T]):
    """Runs a generator to its end, or until it is cancelled."""

    def __init__(self, work: Generator[Event, None, T]) -> None:
        self._work = work
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        self.complete = False
        self.result: T | None = None

    def run(self) -> None:
        try:
            while True:
                self.events.put(self._move()())
        except StopIteration as end:
            self.result, self.complete = end.value, True

    def _move(self) -> Callable[[], Event]:
        return partial(self._work.throw, Cancelled()) if self.cancelled.is_set() else partial(next, self._work)


def _follow(desk: Desk, drive: _Drive[Any]) -> None:
    """Show what the thread tells, and pass on that the user cancels."""
    if desk.state.activity is Activity.CANCELLING:
        drive.cancelled.set()
    for _ in range(drive.events.qsize()):  # not those that come meanwhile: the viewer goes on
        desk.show(drive.events.get())
