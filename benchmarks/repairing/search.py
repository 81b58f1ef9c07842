"""The cheapest way of repairing an error that a beam search finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import dist
from typing import Literal

import numpy as np
from scipy import ndimage as ndi

from repairing import ours, own
from repairing.hand import Action, Hand
from repairing.matching import Error, Labels, Overlaps, errors_of
from repairing.strokes import centre
from repairing.task import MARGIN_PX, State, Status, Task

Way = Literal["ours", "napari"]
"""Our tools beside napari's brush, eraser, fill and picker, or these alone."""

BEAM = 4
# What is still to be done costs about so much.
TRUE_S, LEFT_S = 0.9, 0.5
BETTER = 0.02

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def task_of(
    truth: Labels, labels: Labels, probabilities: Floats, error: Error, least: float
) -> tuple[Task, tuple[int, int]]:
    """Cut an error out of an image; return where it was cut as well."""
    there = np.isin(truth, list(error.true)) & (truth > 0) | np.isin(labels, list(error.found)) & (labels > 0)
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    top, left = max(0, rows[0] - MARGIN_PX), max(0, columns[0] - MARGIN_PX)
    part = np.s_[top : rows[-1] + MARGIN_PX + 1, left : columns[-1] + MARGIN_PX + 1]
    window = np.s_[:, top : rows[-1] + MARGIN_PX + 1, left : columns[-1] + MARGIN_PX + 1]
    seen = Overlaps.of(truth, labels)
    task = Task(truth[part], labels[part].copy(), probabilities[window], error, seen, least)
    return task, (int(top), int(left))


def solve(task: Task, hand: Hand, way: Way) -> State | None:
    """Repair an error; None if nothing that was tried does."""
    found = _searched(task, hand, "napari", None)
    return _searched(task, hand, "ours", found) if way == "ours" else found


def _searched(task: Task, hand: Hand, way: Way, best: State | None) -> State | None:
    """Return what is cheaper than the best so far, or that."""
    start = State(task.before, hand)
    beam = [(start, task.status(task.before))]
    for _ in range(3 * (len(task.error.true) + len(task.error.found)) + 4):
        found: dict[bytes, tuple[float, State, Status]] = {}
        for state, status in beam:
            for after in _next(task, state, status, way):
                known = after.labels.tobytes()
                cost = after.hand.cost.seconds
                if best is not None and cost >= best.hand.cost.seconds:
                    continue
                if known in found and found[known][1].hand.cost.seconds <= cost:
                    continue
                now = task.status(after.labels)
                if now.harmed or not _forward(status, now):
                    continue
                if now.done:
                    best = after
                else:
                    found[known] = cost + _ahead(now), after, now
        ranked = sorted(found.values(), key=lambda one: one[0])
        beam = [(state, status) for guess, state, status in ranked if _promising(guess, best)][:BEAM]
        if not beam:
            break
    return best


def _promising(guess: float, best: State | None) -> bool:
    return best is None or guess - 0.2 < best.hand.cost.seconds


def _forward(before: Status, after: Status) -> bool:
    """Whether a step leads anywhere: fewer errors, a better fit, or an object out of the way."""
    if len(after.true) + len(after.left) < len(before.true) + len(before.left):
        return True
    return any(after.true.get(t, 1.0) >= fit + BETTER for t, fit in before.true.items())


def _ahead(status: Status) -> float:
    """Guess what is still to be done."""
    bases = set(status.base.values())
    return sum(TRUE_S * (1.2 - fit) for fit in status.true.values()) + LEFT_S * len(status.left - bases)


def _next(task: Task, state: State, status: Status, way: Way) -> Iterator[State]:
    """Offer what could be done next, about what is nearest."""
    bases = set(status.base.values())
    items = [("true", t, centre(task.mask(t))[0]) for t in status.true]
    items += [("left", p, centre(state.labels == p)[0]) for p in status.left - bases]
    if not items:
        return
    what, number, _ = min(items, key=lambda item: dist(item[2], state.hand.at))
    if what == "left":
        if way == "ours":
            yield from ours.removals(state, number)
        yield from own.removals(state, number)
        return
    base = status.base[number]
    if way == "ours":
        yield from ours.repairs(task, state, number, base)
    yield from own.repairs(task, state, number, base)


def shifted(action: Action, by: tuple[int, int]) -> Action:
    """Return an action of a window as one of the whole image."""

    def moved(value: object) -> object:
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            return tuple(moved(one) for one in value)
        if isinstance(value, tuple) and len(value) == 2:
            return value[0] + by[0], value[1] + by[1]
        return value

    return tuple(moved(value) for value in action)


def nearest(errors: list[Error], truth: Labels, labels: Labels, at: tuple[float, float]) -> Error:
    """Return the error that is nearest to a place."""
    boxes = ndi.find_objects(truth), ndi.find_objects(labels)

    def far_from(image: Labels, number: int, box: tuple[slice, slice]) -> float:
        places = np.argwhere(image[box] == number) + [side.start for side in box]
        return float(np.hypot(*(places - np.array(at)).T).min())

    def far(error: Error) -> float:
        return min(
            far_from(image, n, found[n - 1])
            for image, found, ids in zip((truth, labels), boxes, (error.true, error.found), strict=True)
            for n in ids
        )

    return min(errors, key=far)


def placed(hand: Hand, by: tuple[int, int]) -> Hand:
    """Return a hand as seen from another corner."""
    return replace(hand, at=(hand.at[0] + by[0], hand.at[1] + by[1]))


__all__ = ["Way", "errors_of", "nearest", "placed", "shifted", "solve", "task_of"]
