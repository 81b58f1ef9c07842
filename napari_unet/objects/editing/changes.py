"""What an edit changes, and where objects are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError

Labels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Box = tuple[tuple[int, int], ...]
"""(start, stop) along each axis."""


class Readable(Protocol):
    """A label image, or a draft of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __getitem__(self, key: tuple[Any, ...], /) -> Any: ...  # noqa: ANN401


# A window first reaches so far around a click.
REACH_PX = 32


@dataclass(frozen=True, slots=True)
class Change:
    """New values of a box of a label image.

    Attributes
    ----------
    box : Box
    values : array of the box's size
        In the type of the labels.
    """

    box: Box
    values: Labels


def slices(box: Box) -> tuple[slice, ...]:
    """Return a box as slices."""
    return tuple(slice(start, stop) for start, stop in box)


def whole(shape: Sequence[int]) -> Box:
    """Return the box of everything."""
    return tuple((0, int(n)) for n in shape)


def grown(box: Box, margin: int, shape: Sequence[int]) -> Box:
    """Return a box with a margin, as far as the image reaches."""
    return tuple(
        (max(0, start - margin), min(int(n), stop + margin)) for (start, stop), n in zip(box, shape, strict=True)
    )


def union(a: Box, b: Box) -> Box:
    """Return the smallest box that holds both."""
    return tuple((min(i, k), max(j, m)) for (i, j), (k, m) in zip(a, b, strict=True))


def extent(mask: Mask) -> Box | None:
    """Return the smallest box that holds all that is true; None if nothing is.

    >>> extent(np.array([[0, 0, 0], [0, 1, 1]], bool))
    ((1, 2), (1, 3))
    """
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not used.size:
            return None
        box.append((int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def shifted(box: Box, by: Box) -> Box:
    """Return a box within a window as a box of the whole."""
    return tuple((start + first, stop + first) for (start, stop), (first, _) in zip(box, by, strict=True))


def blocks(box: Box, at_most: int) -> Iterator[Box]:
    """Cut a box into blocks of at most so many pixels along its first axes, one after the other.

    >>> list(blocks(((0, 2), (0, 3)), 3))
    [((0, 1), (0, 3)), ((1, 2), (0, 3))]
    """
    sides = [stop - start for start, stop in box]
    if not all(sides):
        return
    axis = next((i for i, side in enumerate(sides) if side > 1), None)
    if prod(sides) <= at_most or axis is None:
        yield box
        return
    start, stop = box[axis]
    step = max(1, at_most // prod(sides[axis + 1 :]))
    for first in range(start, stop, step):
        yield from blocks((*box[:axis], (first, min(stop, first + step)), *box[axis + 1 :]), at_most)


def find_object(labels: Readable, point: Sequence[int]) -> tuple[int, Box]:
    """Find the object at a point, by looking around it farther and farther.

    Parts of it that are nowhere connected with the others, with gaps as wide as the object itself, are not found.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    point : sequence of int

    Returns
    -------
    id, box

    Raises
    ------
    LabelsError
        If there is none.
    """
    if any(not 0 <= place < n for place, n in zip(point, labels.shape, strict=True)):
        raise LabelsError("There is nothing outside of the image. Click on an object.")
    number = int(labels[tuple(point)])
    if not number:
        raise LabelsError("There is no object here. Click on one.")
    window = grown(tuple((place, place + 1) for place in point), REACH_PX, labels.shape)
    while True:
        found = extent(labels[slices(window)] == number)
        assert found is not None
        box = shifted(found, window)
        wider = tuple(
            (
                max(0, first - (last - first)) if start == first else first,
                min(int(n), last + (last - first)) if stop == last else last,
            )
            for (start, stop), (first, last), n in zip(box, window, labels.shape, strict=True)
        )
        if wider == window:
            return number, box
        window = wider


def changes_of(labels: Readable, box: Box, values: Labels) -> list[Change]:
    """Return what differs in a box from what the labels hold now, as small as that can be; nothing if nothing does."""
    found = extent(labels[slices(box)] != values)
    if found is None:
        return []
    return [Change(shifted(found, box), np.ascontiguousarray(values[slices(found)].astype(labels.dtype)))]
