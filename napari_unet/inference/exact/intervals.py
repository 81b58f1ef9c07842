"""Intervals of pixels along an axis, and windows, which have one for each axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from torch import Tensor


class Interval(NamedTuple):
    """The pixels from `start` up to, but without, `stop`; below 0 they lie before the image.

    >>> Interval(-1, 5).within(4), Interval(2, 3) | Interval(6, 8)
    (Interval(start=0, stop=4), Interval(start=2, stop=8))
    """

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many pixels."""
        return self.stop - self.start

    def __or__(self, other: Self) -> Interval:
        """Return the smallest interval that holds both."""
        return Interval(min(self.start, other.start), max(self.stop, other.stop))

    def within(self, size: int) -> Interval:
        """Cut off what lies outside an axis of `size` pixels; at least the nearest pixel remains."""
        return Interval(min(max(self.start, 0), size - 1), max(min(self.stop, size), 1))


Window = tuple[Interval, ...]


def whole(size: Iterable[int]) -> Window:
    """Return the window of everything."""
    return tuple(Interval(0, n) for n in size)


def size_of(window: Window) -> tuple[int, ...]:
    """Return the pixels along each axis."""
    return tuple(interval.length for interval in window)


def view(x: Tensor, given: Window, wanted: Window) -> Tensor:
    """View (..., *size of `given`) on the window `wanted` inside of it, without a copy."""
    first = x.ndim - len(wanted)
    for axis, (here, part) in enumerate(zip(given, wanted, strict=True), start=first):
        if here != part:
            x = x.narrow(axis, part.start - here.start, part.length)
    return x


def replaced(window: Sequence[Interval], axis: int, interval: Interval) -> Window:
    """Return the window with another interval along one axis."""
    return (*window[:axis], interval, *window[axis + 1 :])
