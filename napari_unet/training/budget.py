"""How much time a fine-tuning may take, and how much is spent."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Literal

from napari_unet.errors import Cancelled
from napari_unet.events import Event, Result

Clock = Literal["wall", "cpu"]


class Budget:
    """Seconds from now on.

    Parameters
    ----------
    seconds : float
    clock : "wall" | "cpu"
        The clock on the wall, or the CPU time of this process, which other programs do not use up.
    """

    def __init__(self, seconds: float, clock: Clock = "wall") -> None:
        self.seconds = seconds
        self.now = time.monotonic if clock == "wall" else time.process_time
        self.started = self.now()

    def leave_out(self, work: Generator[Event, None, Result]) -> Generator[Event, None, Result]:
        """Run work, and do not count the time between its events, in which it may have been paused."""
        throw = False
        while True:
            try:
                event = work.throw(Cancelled()) if throw else next(work)
            except StopIteration as end:
                result: Result = end.value
                return result
            left, throw = self.now(), False
            try:
                yield event
            except Cancelled:
                throw = True
            except GeneratorExit:
                work.close()
                raise
            self.started += self.now() - left

    @property
    def elapsed(self) -> float:
        """Seconds spent."""
        return self.now() - self.started

    @property
    def share(self) -> float:
        """How much is spent, from 0 to 1."""
        return min(1.0, self.elapsed / self.seconds)

    def has(self, seconds: float) -> bool:
        """Return whether so many seconds are left."""
        return self.elapsed + seconds <= self.seconds
