"""Removing several objects at once, by one line through all of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import dist

import numpy as np

from repairing import ours, own
from repairing.hand import Hand
from repairing.matching import Labels
from repairing.search import Way
from repairing.strokes import centre, reached, swept
from repairing.task import State


def removed_together(
    labels: Labels, hand: Hand, first: int, false: Iterable[int], way: Way
) -> tuple[State, set[int]] | None:
    """Remove the object `first` and others near it by one line, if that is cheaper than one after the other.

    Returns
    -------
    state, ids
        None if it is not.
    """
    places = {p: centre(labels == p) for p in false}
    chain, found = [first], None
    while True:
        last = places[chain[-1]][0]
        others = sorted((p for p in places if p not in chain), key=lambda p: dist(places[p][0], last))
        for p in others[:3]:
            state = _drawn(labels, hand, [*chain, p], places, way)
            if state is not None and state.hand.cost.seconds < _clicked(labels, hand, [*chain, p], way):
                chain, found = [*chain, p], state
                break
        else:
            return None if found is None else (found, set(chain))


Places = dict[int, tuple[tuple[int, int], float]]


def _drawn(labels: Labels, hand: Hand, chain: list[int], places: Places, way: Way) -> State | None:
    points = tuple(places[p][0] for p in chain)
    if way == "ours":
        after = ours.deleted(labels, points)
        if not np.array_equal(after, np.where(np.isin(labels, chain), 0, labels)):
            return None
        return State(after, hand.take("delete").draw(points, places[chain[0]][1]).did("delete", points))
    there = np.isin(labels, chain)
    far = max(np.hypot(*(np.argwhere(labels == p) - places[p][0]).T).max() for p in chain)
    size, path = 2 * int(far + 1) + 1, tuple(reached(at) for at in points)
    after = np.where(swept(labels.shape, path, size), 0, labels)
    if not np.array_equal(after, np.where(there, 0, labels)):
        return None
    drawn = hand.take("erase").keep(preserve=False).resize(size).draw(path, 2)
    return State(after, drawn.did("erase", size, path))


def _clicked(labels: Labels, hand: Hand, chain: list[int], way: Way) -> float:
    state = State(labels, hand)
    for p in chain:
        state = next(ours.removals(state, p)) if way == "ours" else own.removed(state, state.labels == p)
    return state.hand.cost.seconds
