"""What an annotator can do about an error with napari's own brush, eraser, fill and picker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from skimage.draw import polygon2mask
from skimage.segmentation import flood

from repairing.hand import Hand
from repairing.interface import interface, line_through
from repairing.strokes import Stroke, centre, filled, largest, outline, reached, slack, strokes, swept, widened
from repairing.task import Mask, State, Task

PAINTED_LEAST_PX = 4
# To draw around an object, the brush is as thin as its ring to close is easy to hit.
OUTLINE_SIZE = 3


def repairs(task: Task, state: State, t: int, base: int) -> Iterator[State]:
    """Offer what could make a true object right.

    Parameters
    ----------
    t, base : int
        The true object, and the id that lies on it most (0: none).
    """
    want = task.mask(t)
    yield from _painted(state, state.hand.next_id, want, around=True)
    if not base:
        return
    yield from _painted(state, base, want, around=True)
    there = state.labels == base
    missing, extra = largest(want & ~there), largest(there & ~want)
    if missing.sum() >= PAINTED_LEAST_PX:
        yield from _painted(state, base, missing)
    if extra.sum() >= PAINTED_LEAST_PX:
        for rest in (extra, widened(there & ~want) & ~want):
            yield from _erased(state, rest)
    yield from _joined(task, state, t, base)
    yield from cut(state, want, there)
    yield removed(state, there)


def removals(state: State, p: int) -> Iterator[State]:
    """Offer ways of removing an object."""
    there = state.labels == p
    yield removed(state, there)
    yield from _erased(state, there)


def removed(state: State, there: Mask) -> State:
    """Fill an object with background, part by part."""
    labels, hand = state.labels, state.hand.choose(0, state.hand.at, 1).take("fill")
    while there.any():
        at, width = centre(there)
        labels, hand = filled(labels, at, 0), hand.click(at, width).did("fill", 0, at)
        there = there & (labels != 0)
    return State(labels, hand)


def cut(state: State, want: Mask, there: Mask) -> Iterator[State]:
    """Offer to erase a line between a part of an object and the rest, and to fill that part with a new id."""
    places = interface(there & want, there & ~want)
    if places is None:
        return
    for line in line_through(places, there):
        points = tuple(reached(at) for at in line)
        hand = state.hand.take("erase").resize(1).draw(points, slack(there)).did("erase", 1, points)
        labels = np.where(swept(there.shape, points, 1), 0, state.labels)
        part = want & there & (labels != 0)
        if not part.any():
            continue
        at, width = centre(largest(part))
        piece = flood(labels, at, connectivity=1)
        if (piece & there).sum() >= 0.98 * (there & (labels != 0)).sum():
            continue
        hand = hand.choose_new().take("fill").click(at, width).did("fill", hand.next_id, at)
        yield State(np.where(piece, hand.label, labels), hand)


def _pick(state: State, base: int) -> Hand:
    at, width = centre(state.labels == base)
    return state.hand.choose(base, at, width)


def _ready(state: State, label: int, stroke: Stroke) -> Hand:
    """Choose a new label or that of an object, if possible where the stroke begins, and the brush."""
    hand, (y, x) = state.hand, (round(at) for at in stroke.points[0])
    if label == hand.next_id:
        return hand.choose_new().take("paint")
    inside = 0 <= y < state.labels.shape[0] and 0 <= x < state.labels.shape[1] and state.labels[y, x] == label
    hand = hand.choose(label, stroke.points[0], stroke.width) if inside else _pick(state, label)
    return hand.take("paint")


def _painted(state: State, label: int, want: Mask, *, around: bool = False) -> Iterator[State]:
    for stroke in strokes(want, state.hand.size):
        covered = swept(want.shape, stroke.points, stroke.size)
        drawn = _ready(state, label, stroke).resize(stroke.size)
        yield from _written(state, drawn, label, covered, stroke)
    if around:
        points = outline(want)
        if len(points) > 3:
            ring = swept(want.shape, points, OUTLINE_SIZE) & widened(want)
            covered = polygon2mask(want.shape, np.array(points)) | ring
            thin = Stroke(points, 1, 2)
            drawn = _ready(state, label, thin).resize(1)
            yield from _written(state, drawn, label, covered & widened(want), thin, "encircle")


def _written(
    state: State, hand: Hand, label: int, covered: Mask, stroke: Stroke, how: str = "paint"
) -> Iterator[State]:
    """Write a label where the brush was; with and without keeping others, if that makes a difference."""
    others = covered & (state.labels != 0) & (state.labels != label)
    for preserve in (True, False) if others.any() else (hand.preserve,):
        ready = hand.keep(preserve=preserve).draw(stroke.points, stroke.width)
        written = covered & ~others if preserve else covered
        done = ready.did(how, label, stroke.size, preserve, stroke.points)
        yield State(np.where(written, label, state.labels), done)


def _erased(state: State, rest: Mask) -> Iterator[State]:
    hand = state.hand.take("erase").keep(preserve=False)
    for stroke in strokes(rest, hand.size):
        drawn = hand.resize(stroke.size).draw(stroke.points, stroke.width)
        covered = swept(rest.shape, stroke.points, stroke.size)
        yield State(np.where(covered, 0, state.labels), drawn.did("erase", stroke.size, stroke.points))


def _joined(task: Task, state: State, t: int, base: int) -> Iterator[State]:
    """Offer to fill the other pieces of an object with the id of the largest."""
    want, mine = task.mask(t), task.mine(state.labels)
    ids, counts = np.unique(state.labels[want], return_counts=True)
    sizes = np.bincount(state.labels.ravel(), minlength=int(ids.max()) + 1)
    pieces = [int(p) for p, n in zip(ids, counts, strict=True) if p in mine and p != base and n >= 0.5 * sizes[p]]
    if not pieces:
        return
    labels, hand = state.labels, _pick(state, base).take("fill").keep(preserve=False)
    for p in pieces:
        at, width = centre(labels == p)
        labels, hand = filled(labels, at, base), hand.click(at, width).did("fill", base, at)
    yield State(labels, replace(hand))
