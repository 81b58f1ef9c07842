"""What an annotator can do about an error with our tools, which are called as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.gui.tools.clicked import split_crossed
from napari_unet.gui.tools.evidence import BY_NETWORK
from napari_unet.gui.tools.filling import proposed
from napari_unet.objects.editing.changes import Box, Change, Labels, find_object, slices
from napari_unet.objects.editing.dividing import crossed, split_by_seeds
from napari_unet.objects.editing.filtering import census
from napari_unet.objects.editing.joining import delete, merge
from napari_unet.objects.editing.shaping import Shape, reshape, reshape_many
from repairing.hand import PANEL_PX, Hand
from repairing.interface import interface, line_through
from repairing.strokes import centre, largest, slack
from repairing.task import Mask, State, Task

STEP = 0.05
LEAST_EXTENT, MOST_EXTENT = 0.03, 0.97
SHAPES: tuple[tuple[Shape, int, int], ...] = (
    ("grow", 1, 5),
    ("shrink", 1, 5),
    ("smooth", 2, 1),
    ("fill holes", 1, 1),
    ("keep largest", 1, 1),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What smart fill and split ask about the image, see `gui.tools.evidence`."""

    probabilities: npt.NDArray[np.float32]

    def objects(self, _pane: object, box: Box, _point: object, _number: int) -> tuple[Any, Any]:
        """Return the probability of any object, and that of its inside."""
        block = self.probabilities[(slice(None), *slices(box))]
        return 1 - block[0], block[1]

    def border(self, box: Box) -> npt.NDArray[np.float32]:
        """Return how much speaks for a border between objects."""
        return BY_NETWORK * self.probabilities[(2, *slices(box))]


def written(labels: Labels, changes: Sequence[Change]) -> Labels:
    """Return labels with changes in them."""
    new = labels.copy()
    for change in changes:
        new[slices(change.box)] = change.values
    return new


# -- the tools themselves, on any label image ---------------------------------


def merged(labels: Labels, points: Sequence[tuple[int, int]], *, drawn: bool) -> Labels:
    """Merge as the tool does, by clicks or by a line."""
    found = crossed(labels, points) if drawn else {int(labels[at]): at for at in points if labels[at]}
    if len(found) < 2:
        raise LabelsError("There are fewer than two objects.")
    boxes = {n: find_object(labels, at)[1] for n, at in found.items()}
    return written(labels, merge(labels, boxes, found))


def split(labels: Labels, points: Sequence[tuple[int, int]], first_id: int) -> Labels:
    """Split by a line as the tool does: it cuts everything that it crosses from side to side."""
    known = SimpleNamespace(
        new_ids=lambda: count(first_id), box=lambda pane, _number, at: find_object(pane.labels, at)[1]
    )
    bench, pane = SimpleNamespace(known=known), SimpleNamespace(labels=labels)
    return written(labels, split_crossed(cast("Any", bench), cast("Any", pane), points)[0])


def seeded(labels: Labels, seeds: Sequence[tuple[int, int]], first_id: int, seen: Seen) -> Labels:
    """Split between clicks as the tool does."""
    number, box = find_object(labels, seeds[0])
    return written(labels, split_by_seeds(labels, number, box, seeds, count(first_id), seen.border(box)))


def deleted(labels: Labels, points: Sequence[tuple[int, int]]) -> Labels:
    """Delete as the tool does, by a click or by a line."""
    found = crossed(labels, points)
    boxes = {n: find_object(labels, at)[1] for n, at in found.items()}
    return written(labels, delete(labels, boxes, found))


def smart(labels: Labels, at: tuple[int, int], extent: float, number: int, seen: Seen) -> Labels:
    """Fill as smart fill does."""
    pane = SimpleNamespace(labels=labels, shape=labels.shape)
    box, mask = proposed(cast("Any", pane), at, cast("Any", seen), 1 - extent, number)
    new = labels.copy()
    window = new[slices(box)]
    window[mask & (window == 0)] = number
    return new


def reshaped(labels: Labels, at: tuple[int, int], how: Shape, pixels: int) -> Labels:
    """Change an outline as a key does."""
    number, box = find_object(labels, at)
    return written(labels, reshape(labels, number, box, how, pixels))


def all_reshaped(labels: Labels, how: Shape, pixels: int) -> Labels:
    """Change all outlines as a button does for all reviewed objects."""
    boxes = census(labels).boxes
    return written(labels, reshape_many(labels, dict(sorted(boxes.items())), how, pixels))


def everything(labels: Labels, hand: Hand) -> Iterator[State]:
    """Offer to change all outlines: mark all as reviewed, choose these objects, press a button a few times."""
    for how, pixels, times in SHAPES[:3]:
        changed = labels
        for n in range(1, min(times, 3) + 1):
            changed = all_reshaped(changed, how, pixels)
            gaps = (PANEL_PX, 150.0, 30.0, 60.0, *[1.0] * (n - 1))
            yield State(changed, hand.visit(gaps).did("reshape all", how, pixels, n))


# -- what to try ---------------------------------------------------------------


def repairs(task: Task, state: State, t: int, base: int) -> Iterator[State]:
    """Offer what could make a true object right."""
    want = task.mask(t)
    yield from _filled(task, state, want)
    if not base:
        return
    there = state.labels == base
    yield from _shaped(task, state, t, there)
    yield from _merged(task, state, t, base)
    yield from _split(task, state, want, there)
    yield from removals(state, base)


def removals(state: State, p: int) -> Iterator[State]:
    """Offer to remove the object under the pointer by a key."""
    at, width = centre(state.labels == p)
    yield State(deleted(state.labels, [at]), state.hand.move(at, width).press().did("wipe", at))


def _filled(task: Task, state: State, want: Mask) -> Iterator[State]:
    """Offer smart fill from a few places, with as little turning of the wheel as it takes."""
    free = want & (state.labels == 0)
    if not free.any():
        return
    middle, width = centre(largest(free))
    inside = np.where(free, task.probabilities[1], -1)
    surest = np.unravel_index(int(inside.argmax()), inside.shape)
    for at in dict.fromkeys([middle, (int(surest[0]), int(surest[1]))]):
        yield from _filled_at(task, state, want, at, width)


def _filled_at(task: Task, state: State, want: Mask, at: tuple[int, int], width: float) -> Iterator[State]:
    hand, seen = state.hand, Seen(task.probabilities)
    kept = task.proposals.setdefault(((state.labels != 0).tobytes(), at), {})
    best: tuple[float, State] | None = None
    for steps in sorted(range(-19, 20), key=abs):
        extent = min(max(hand.extent + STEP * steps, LEAST_EXTENT), MOST_EXTENT)
        if abs(extent - hand.extent - STEP * steps) > STEP:
            continue
        key = round(extent, 2)
        if key not in kept:
            kept[key] = _proposal(state.labels, at, extent, hand.next_id, seen)
        mask = kept[key]
        if mask is None:
            continue
        iou = (mask & want).sum() / (mask | want).sum()
        if best is None or iou > best[0] + 0.01 * abs(steps):
            best = (
                iou,
                State(np.where(mask, hand.next_id, state.labels), _after_filling(hand, at, width, steps, extent)),
            )
        if iou >= task.least:
            break
    if best is not None and best[0] > 0.3:
        yield best[1]


def _proposal(labels: Labels, at: tuple[int, int], extent: float, number: int, seen: Seen) -> Mask | None:
    try:
        found: Mask = smart(labels, at, extent, number, seen) == number
    except LabelsError:
        return None
    return found


def _after_filling(hand: Hand, at: tuple[int, int], width: float, steps: int, extent: float) -> Hand:
    hand = hand.take("smart fill").click(at, width)
    if steps:
        hand = hand.press().turn(steps)  # Shift and the wheel
    hand = hand.press().did("smart fill", at, extent, hand.next_id)  # Enter
    return replace(hand, extent=extent, label=hand.next_id, next_id=hand.next_id + 1)


def _shaped(task: Task, state: State, t: int, there: Mask) -> Iterator[State]:
    """Offer keys on the object under the pointer."""
    at, width = centre(there)
    number = int(state.labels[at])
    hand = state.hand.move(at, width)
    before = _fit(task, state.labels, t, number)
    for how, pixels, times in SHAPES:
        labels, fit = state.labels, before
        for n in range(1, times + 1):
            try:
                labels = reshaped(labels, at, how, pixels)
            except LabelsError:
                break
            now = _fit(task, labels, t, number)
            if now <= fit:
                break
            fit = now
            keys = n + (how == "shrink")  # Shift
            yield State(labels, hand.press(keys).did("reshape", at, how, pixels, n))


def _fit(task: Task, labels: Labels, t: int, number: int) -> float:
    want, there = task.mask(t), labels == number
    return float((want & there).sum() / max(1, (want | there).sum()))


def _merged(task: Task, state: State, t: int, base: int) -> Iterator[State]:
    """Offer to merge the pieces of an object, by clicks or by a line."""
    mine, want = task.mine(state.labels), task.mask(t)
    ids, counts = np.unique(state.labels[want], return_counts=True)
    sizes = np.bincount(state.labels.ravel(), minlength=int(ids.max()) + 1)
    others = [int(p) for p, n in zip(ids, counts, strict=True) if p in mine and p != base and n >= 0.5 * sizes[p]]
    if not others:
        return
    places = [centre(state.labels == p) for p in (base, *others)]
    hand, labels = state.hand.take("merge"), state.labels
    clicked = hand.click(*places[0])
    for at, width in places[1:]:
        labels = merged(labels, [places[0][0], at], drawn=False)
        clicked = clicked.click(at, width).did("merge", (places[0][0], at), False)
    done = clicked.press().did("escape")  # to begin with another object next time
    yield State(labels, replace(done, label=base))
    line = tuple(at for at, _ in places)
    drawn = hand.draw(line, places[0][1]).did("merge", line, True)
    yield State(merged(state.labels, line, drawn=True), drawn)


def _split(task: Task, state: State, want: Mask, there: Mask) -> Iterator[State]:
    """Offer to cut an object by a line, or between clicks."""
    places = interface(there & want, there & ~want)
    first = state.hand.next_id
    if places is None:
        return
    for points in line_through(places, there):
        line = tuple((int(y), int(x)) for y, x in points)
        try:
            labels = split(state.labels, line, first)
        except LabelsError:
            continue
        hand = state.hand.take("split").draw(line, slack(there)).did("split", line, first)
        yield State(labels, replace(hand, next_id=int(max(first, labels.max() + 1))))
    yield from _seeded(task, state, want, there)


def _seeded(task: Task, state: State, want: Mask, there: Mask) -> Iterator[State]:
    ids, counts = np.unique(task.truth[there], return_counts=True)
    parts = [
        largest(there & (task.truth == n)) for n, c in zip(ids, counts, strict=True) if n and c >= 0.05 * there.sum()
    ]
    ways = [parts] if len(parts) > 1 else []
    rest = largest(there & ~want)
    if rest.sum() >= 0.1 * there.sum():
        ways.append([largest(there & want), rest])
    for way in ways:
        seeds = [centre(part) for part in way]
        hand = state.hand.take("split")
        for at, width in seeds:
            hand = hand.click(at, width)
        places = tuple(at for at, _ in seeds)
        try:
            labels = seeded(state.labels, places, hand.next_id, Seen(task.probabilities))
        except LabelsError:
            continue
        done = hand.press().did("seeds", places, hand.next_id)  # Enter
        yield State(labels, replace(done, next_id=int(labels.max()) + 1))
