"""From events to a progress bar with the time left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from napari_unet.events import Event, Progress, TileDone
from napari_unet.gui.state import Advance

_EARLIEST_ETA_S = 0.5


@dataclass(slots=True)
class Stopwatch:
    """Tells how far a stage has come and how long it will still take.

    A new stage starts the watch again: reading and computing have different speeds.
    """

    stage: str = ""
    _since: float = field(default_factory=time.monotonic)

    def read(self, event: Event) -> Advance | None:
        """Return what the progress bar shows after an event; None leaves it as it is."""
        if isinstance(event, TileDone):
            return self._advance("Running the network", event.done, event.total)
        if isinstance(event, Progress):
            return self._advance(event.stage, event.done, event.total)
        return None

    def _advance(self, stage: str, done: int, total: int) -> Advance:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self._since = stage, now
        elapsed = now - self._since
        known = 0 < done <= total and elapsed > _EARLIEST_ETA_S
        eta = elapsed / done * (total - done) if known else None
        return Advance(stage=stage, done=done, total=total, eta_s=eta)


def in_words(seconds: float) -> str:
    """Say a duration briefly.

    >>> in_words(4.2), in_words(80)
    ('4 s', '1 min 20 s')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"


def percent(share: float) -> str:
    """Say a share; it is never said that all or nothing is there when that is not so.

    >>> percent(0.999), percent(0.001), percent(2 / 3)
    ('99 %', '1 %', '66 %')
    """
    return f"{max(1, math.floor(100 * share))} %"
