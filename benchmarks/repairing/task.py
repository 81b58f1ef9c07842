"""One error, cut out of the image, and what is left of it after some work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from repairing.hand import Hand
from repairing.matching import Error, Labels, Overlaps

Mask = npt.NDArray[np.bool_]

# Smart fill looks so far around a click; what is further away does not matter.
MARGIN_PX = 66


@dataclass(frozen=True, slots=True)
class State:
    """Labels of the window, and the hand that made them."""

    labels: Labels
    hand: Hand


@dataclass(frozen=True, slots=True)
class Status:
    """What is still wrong.

    Attributes
    ----------
    true : dict
        Unsettled true objects, and how well what is there fits (intersection over union).
    base : dict
        What lies on each of them most.
    left : set
        Objects that belong to nothing.
    harmed : bool
        Whether a neighbour was spoilt.
    """

    true: Mapping[int, float]
    base: Mapping[int, int]
    left: frozenset[int]
    harmed: bool

    @property
    def done(self) -> bool:
        """Whether nothing is wrong."""
        return not self.true and not self.left and not self.harmed


@dataclass(frozen=True, slots=True)
class Task:
    """An error and its surroundings.

    Attributes
    ----------
    truth, before : (Y, X) integer
        Of the window.
    probabilities : (class, Y, X) float32
    error : Error
    seen : Overlaps
        Of the whole image.
    least : float
        Intersection over union that is good enough.
    statuses, proposals : dict
        What was asked already, by labels, and by where smart fill was clicked.
    """

    truth: Labels
    before: Labels
    probabilities: npt.NDArray[np.float32]
    error: Error
    seen: Overlaps
    least: float
    statuses: dict[bytes, Status] = field(default_factory=dict, repr=False, compare=False)
    proposals: dict[tuple[Any, ...], dict[float, Mask | None]] = field(default_factory=dict, repr=False, compare=False)

    def mask(self, t: int) -> Mask:
        """Return where a true object is."""
        found: Mask = self.truth == t
        return found

    def mine(self, labels: Labels) -> set[int]:
        """Return the ids that may be edited: those of the error, and new ones."""
        ids = {int(n) for n in np.flatnonzero(np.bincount(labels.ravel()))} - {0}
        return {n for n in ids if n in self.error.found or n not in self.seen.found_px}

    def status(self, labels: Labels) -> Status:
        """Look at what is there now."""
        key = labels.tobytes()
        if key not in self.statuses:
            self.statuses[key] = self._status(labels)
        return self.statuses[key]

    def _status(self, labels: Labels) -> Status:
        now = Overlaps.of(self.truth, labels)
        mine = {n for n in now.found_px if n in self.error.found or n not in self.seen.found_px}
        true: dict[int, float] = {}
        base: dict[int, int] = {}
        used: set[int] = set()
        for t in self.error.true:
            on = {p: n for p, n in now.on(t).items() if p in mine}
            best = max(on, key=lambda p: now.iou(t, p), default=0)
            if best and now.iou(t, best) >= self.least:
                used.add(best)
                continue
            true[t] = now.iou(t, best) if best else 0.0
            base[t] = max(on, key=lambda p: on[p], default=0)
        harmed = any(self._spoilt(now, p) for p in self._changed(labels, mine))
        return Status(true, base, frozenset(mine - used), harmed)

    def _changed(self, labels: Labels, mine: set[int]) -> set[int]:
        changed = labels != self.before
        return {int(n) for n in np.unique(np.concatenate([labels[changed], self.before[changed]]))} - {0} - mine

    def _spoilt(self, now: Overlaps, p: int) -> bool:
        """Whether an object of another place was good and is not any more."""
        t = next((t for t in self.seen.under(p) if self.seen.iou(t, p) >= self.least), None)
        if t is None or p in self.error.found:
            return False
        before = Overlaps.of(self.truth, self.before)
        lost = before.found_px.get(p, 0) - now.found_px.get(p, 0)
        shared = self.seen.shared_px[t, p] - before.shared_px.get((t, p), 0) + now.shared_px.get((t, p), 0)
        union = self.seen.true_px[t] + self.seen.found_px[p] - lost - shared
        return shared / union < self.least
