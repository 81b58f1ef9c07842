"""Windows cut out of windows."""

from __future__ import annotations

from collections.abc import Iterable

from napari_unet.inference.exact.intervals import Interval, Window, replaced


def subtract(window: Window, done: Iterable[Window]) -> list[Window]:
    """Divide what of a window is not in any of others into windows.

    >>> subtract((Interval(0, 9), Interval(0, 9)), [(Interval(0, 4), Interval(0, 9))])
    [(Interval(start=4, stop=9), Interval(start=0, stop=9))]
    """
    left = [window]
    for known in done:
        left = [part for whole in left for part in _without(whole, known)]
    return left


def overlap(a: Window, b: Window) -> Window | None:
    """Return what two windows share."""
    shared = tuple(Interval(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True))
    return shared if all(part.length > 0 for part in shared) else None


def join(windows: list[Window], new: Window) -> None:
    """Add a window to others, as one with those that it makes larger windows with.

    >>> windows = [(Interval(0, 4), Interval(0, 9))]
    >>> join(windows, (Interval(4, 8), Interval(0, 9)))
    >>> windows
    [(Interval(start=0, stop=8), Interval(start=0, stop=9))]
    """
    place = 0
    while place < len(windows):
        both = _union(windows[place], new)
        if both is None:
            place += 1
        else:
            del windows[place]
            new, place = both, 0
    windows.append(new)


def _union(a: Window, b: Window) -> Window | None:
    """Return two windows as one, if together they are one."""
    differing = [axis for axis, (i, j) in enumerate(zip(a, b, strict=True)) if i != j]
    if len(differing) > 1:
        return None
    if not differing:
        return a
    i, j = a[differing[0]], b[differing[0]]
    return replaced(a, differing[0], i | j) if max(i.start, j.start) <= min(i.stop, j.stop) else None


def _without(window: Window, hole: Window) -> list[Window]:
    """Cut around a hole: slabs before and behind it along each axis, the first axis first."""
    shared = overlap(window, hole)
    if shared is None:
        return [window]
    parts, rest = [], window
    for axis, (here, there) in enumerate(zip(window, shared, strict=True)):
        sides = (Interval(here.start, there.start), Interval(there.stop, here.stop))
        parts += [replaced(rest, axis, side) for side in sides if side.length > 0]
        rest = replaced(rest, axis, there)
    return parts
