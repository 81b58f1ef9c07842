"""Show what changes while work runs, no more often than the window can bear."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

LEAST_S = 0.1
USUAL_S = 0.02
SHARE = 0.04
"""Of the time that is spent with drawing. Whoever moves the image feels each drawing: with 25 ms each, two in a second
are enough to see the work advance, and one timer in twenty comes late."""


class Pace(QObject):  # type: ignore[misc]
    """Makes several changes at once, so that Qt paints the window once for all of them.

    A change that is asked for while the window rests is made at once. Then there is a pause, the longer, the more time
    the drawing took until it was on the screen; of what is asked for meanwhile, each thing is done once, at its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wanted: dict[Callable[[], None], None] = {}
        self._began = 0.0
        self._due = 0.0
        self._drawing_s = 0.0
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self.flush)
        # Qt paints when all events are done that were there before, and only then runs timers of no time.
        self._painted = QTimer(self)
        self._painted.setSingleShot(True)
        self._painted.setInterval(0)
        self._painted.timeout.connect(self._rest)

    def ask(self, draw: Callable[[], None]) -> None:
        """Call `draw` now or at the end of the pause; equal callables are called once.

        Parameters
        ----------
        draw : callable
            Reads what is to be shown when it is called.
        """
        self._wanted[draw] = None
        if self._painted.isActive() or self._pause.isActive():
            return
        wait_s = self._due - time.monotonic()
        if wait_s > 0:
            self._pause.start(math.ceil(wait_s * 1000))
        else:
            self.flush()

    def flush(self) -> None:
        """Make all changes that are waiting, now."""
        self._pause.stop()
        wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        self._began = time.monotonic()
        self._painted.start()
        for draw in wanted:
            draw()

    def forget(self) -> None:
        """Drop the changes that are waiting: what they would show is over."""
        self._pause.stop()
        self._wanted = {}

    def _rest(self) -> None:
        """Begin the pause."""
        now = time.monotonic()
        # What is slow once, may never be again: a longer pause than usual is made where it stays slow.
        self._drawing_s = min(now - self._began, max(2 * self._drawing_s, USUAL_S))
        self._due = now + pause_after(self._drawing_s)
        if self._wanted:
            self._pause.start(math.ceil((self._due - now) * 1000))


def pause_after(drawing_s: float) -> float:
    """Seconds of rest between drawings that take `drawing_s`.

    >>> pause_after(0.001), pause_after(0.025), pause_after(0.25)
    (0.1, 0.6, 6.0)
    """
    return max(LEAST_S, round(drawing_s * (1 / SHARE - 1), 3))
