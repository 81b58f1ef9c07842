"""Which objects are as they should be, and which errors belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Labels = npt.NDArray[np.integer]

# Objects belong together if they share so much of the smaller one.
SHARED = 0.25
# A true object that lies so far in a good one needs it to be divided.
HIDDEN = 0.4


@dataclass(frozen=True, slots=True)
class Overlaps:
    """How a label image and the truth overlap.

    Attributes
    ----------
    true_px, found_px : dict
        Sizes by id.
    shared_px : dict
        By pair of ids.
    """

    true_px: dict[int, int]
    found_px: dict[int, int]
    shared_px: dict[tuple[int, int], int]

    @classmethod
    def of(cls, truth: Labels, labels: Labels) -> Overlaps:
        """Count."""
        rows, columns = int(truth.max()) + 1, int(labels.max()) + 1
        counts = np.bincount((truth * columns + labels).ravel(), minlength=rows * columns)
        both = {(int(v) // columns, int(v) % columns): int(counts[v]) for v in np.flatnonzero(counts)}
        true_px: dict[int, int] = {}
        found_px: dict[int, int] = {}
        for (t, p), n in both.items():
            true_px[t] = true_px.get(t, 0) + n
            found_px[p] = found_px.get(p, 0) + n
        true_px.pop(0, None)
        found_px.pop(0, None)
        return cls(true_px, found_px, {(t, p): n for (t, p), n in both.items() if t and p})

    def iou(self, t: int, p: int) -> float:
        """Return the intersection over union of a true object and one that was found."""
        shared = self.shared_px.get((t, p), 0)
        return shared / (self.true_px.get(t, 0) + self.found_px.get(p, 0) - shared) if shared else 0.0

    def settled(self, least: float) -> dict[int, int]:
        """Return the true objects that were found, and as what."""
        return {t: p for t, p in self.shared_px if self.iou(t, p) >= least}

    def on(self, t: int) -> dict[int, int]:
        """Return what lies on a true object, and how many pixels of it."""
        return {p: n for (a, p), n in self.shared_px.items() if a == t}

    def under(self, p: int) -> dict[int, int]:
        """Return the true objects under one that was found."""
        return {t: n for (t, b), n in self.shared_px.items() if b == p}


@dataclass(frozen=True, slots=True)
class Error:
    """True objects and found ones that do not fit, and have to do with each other."""

    true: frozenset[int]
    found: frozenset[int]

    @property
    def kind(self) -> str:
        """What is wrong."""
        t, p = len(self.true), len(self.found)
        if not t:
            return "false"
        if not p:
            return "missing"
        if t == 1:
            return "outline" if p == 1 else "in pieces"
        return "merged" if p == 1 else "tangled"


def errors_of(seen: Overlaps, least: float) -> list[Error]:
    """Return all errors."""
    settled = seen.settled(least)
    good = {p: t for t, p in settled.items()}
    true, found = set(seen.true_px) - set(settled), set(seen.found_px) - set(good)
    links: list[tuple[int, int]] = []
    for (t, p), n in seen.shared_px.items():
        if t in true and p in found and n >= SHARED * min(seen.true_px[t], seen.found_px[p]):
            links.append((t, p))
        elif t in true and p in good and n >= HIDDEN * seen.true_px[t]:
            links += [(t, p), (good[p], p)]
    return _joined(true | {t for t, _ in links}, found | {p for _, p in links}, links)


def _joined(true: Iterable[int], found: Iterable[int], links: list[tuple[int, int]]) -> list[Error]:
    """Return the connected parts of a graph."""
    ts, ps = sorted(true), sorted(found)
    if not ts and not ps:
        return []
    place = {("t", t): i for i, t in enumerate(ts)} | {("p", p): i + len(ts) for i, p in enumerate(ps)}
    rows = [place["t", t] for t, _ in links]
    columns = [place["p", p] for _, p in links]
    graph = coo_array((np.ones(len(links), int), (rows, columns)), shape=(len(place), len(place)))
    count, names = connected_components(graph, directed=False)
    parts: list[tuple[set[int], set[int]]] = [(set(), set()) for _ in range(count)]
    for (side, number), i in place.items():
        parts[names[i]][side == "p"].add(number)
    return [Error(frozenset(t), frozenset(p)) for t, p in parts]
