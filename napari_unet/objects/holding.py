"""Labels that are written once, when they are final, and held elsewhere until then.

What lies in memory or in a mapped file is changed in place. A chunk of a Zarr array, though, is compressed anew
whenever a part of it changes, and cannot be written by two at once. So labels for such an array are made in a temporary
file, and copied from there by whole chunks, or shards where there are any.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import unnamed_file
from napari_unet.errors import LabelsError
from napari_unet.objects.blocks import Array, Box, Part

Relabel = Callable[[Array], Array]

# Labels of so many pixels are held in memory.
IN_MEMORY_PX = 2**21
# What is written at once is of about so many pixels, or one chunk or shard.
WRITTEN_PX = 2**20


@dataclass(frozen=True, slots=True)
class Span:
    """Time points and slices whose labels are made together."""

    times: range
    slices: range

    @property
    def box(self) -> Box:
        """Where they are along T and Z."""
        return slice(self.times.start, self.times.stop), slice(self.slices.start, self.slices.stop)


def spans(labels: Any, *, whole_stacks: bool) -> list[Span]:  # noqa: ANN401
    """Cut labels (T, Z, Y, X) into spans that share no chunk; `whole_stacks` for all slices of a time point at once."""
    times, depth = labels.shape[:2]
    if is_changeable(labels):
        return [Span(range(t, t + 1), range(depth)) for t in range(times)]
    long, thick = unit(labels)[:2]
    if whole_stacks or long > 1:
        thick = depth
    return [
        Span(range(t, min(times, t + long)), range(z, min(depth, z + thick)))
        for t in range(0, times, long)
        for z in range(0, depth, thick)
    ]


def is_changeable(labels: Any) -> bool:  # noqa: ANN401
    """Return whether any part can be read and written at no cost."""
    return isinstance(labels, np.ndarray)


def unit(labels: Any) -> tuple[int, ...]:  # noqa: ANN401
    """Return the size of what is written as a whole: a shard, a chunk, or else a pixel."""
    sizes = getattr(labels, "shards", None) or getattr(labels, "chunks", None) or (1,) * len(labels.shape)
    return tuple(min(int(side), size) for side, size in zip(sizes, labels.shape, strict=True))


class Held:
    """A temporary array (T, Z, Y, X) uint32, read and written in boxes.

    A file is mapped only while it is read or written, so that it takes no memory, and has no name, so that nothing is
    left of it whatever happens. Columns of blocks lie one after the other in it, so that few pages are touched.

    Parameters
    ----------
    shape : (T, Z, Y, X)
    width : int
        Of a column of blocks.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        self._width = min(width, shape[-1])
        self._shape = (-(-shape[-1] // self._width), *shape[:-1], self._width)
        in_memory = math.prod(shape) <= IN_MEMORY_PX
        self._array = np.zeros(self._shape, np.uint32) if in_memory else None
        self._file = None if in_memory else _temporary_file(4 * math.prod(self._shape))

    def __getitem__(self, key: tuple[Any, ...]) -> Array:
        columns = self._columns()
        parts = [np.array(columns[(k, *key[:-1], inside)]) for k, inside, _ in self._parts(key[-1])]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def __setitem__(self, key: tuple[Any, ...], values: Array) -> None:
        columns = self._columns()
        for k, inside, outside in self._parts(key[-1]):
            columns[(k, *key[:-1], inside)] = values[..., outside]

    def _columns(self) -> npt.NDArray[np.uint32]:
        if self._array is not None:
            return self._array
        return np.memmap(self._file, np.uint32, "r+", shape=self._shape)  # type: ignore[call-overload, no-any-return]

    def _parts(self, x: slice) -> Iterator[tuple[int, slice, slice]]:
        """Yield the columns that a range lies in, and which part of each is which part of the range."""
        for k in range(x.start // self._width, -(-x.stop // self._width)):
            begin = k * self._width
            start, stop = max(x.start, begin), min(x.stop, begin + self._width)
            yield k, slice(start - begin, stop - begin), slice(start - x.start, stop - x.start)

    def close(self) -> None:
        """Remove it."""
        self._array = None
        if self._file is not None:
            self._file.close()


def _temporary_file(size: int) -> IO[bytes]:
    """Make a file without a name whose space is there.

    Raises
    ------
    LabelsError
        If there is too little of it.
    """
    try:
        return unnamed_file(size)
    except OSError as error:
        raise LabelsError(
            f"Finding the objects takes {size / 1e9:,.1f} GB of temporary space, which could not be had in "
            f'"{tempfile.gettempdir()}" ({error.strerror}). Make space there, or name another folder by the '
            "environment variable TMPDIR."
        ) from error


@dataclass(frozen=True, slots=True)
class Holder:
    """Where the labels of a span are until they are final.

    Attributes
    ----------
    labels : (T, Z, Y, X) uint32
        What is to be written.
    span : Span
    held : Held or None
        None if labels are changed in place.
    """

    labels: Any
    span: Span
    held: Held | None

    def part(self, place: tuple[int, ...]) -> Part:
        """Return a plane or volume by its place along T and Z, to be read and written."""
        if self.held is None:
            return Part(self.labels, place)
        starts = self.span.times.start, self.span.slices.start
        return Part(self.held, tuple(at - start for at, start in zip(place, starts, strict=False)))

    def write(self, relabel: Mapping[int, Relabel]) -> Generator[None, None, None]:
        """Write the final labels, once, after what `relabel` says of each time point; yield after each box."""
        for box in self.boxes(relabel):
            times = range(box[0].start, box[0].stop)
            final = [relabel.get(t, _as_they_are)(self.part((t,)).read(self._inside(box))) for t in times]
            self.labels[box] = np.stack(final)
            yield

    def boxes(self, relabel: Mapping[int, Relabel]) -> list[Box]:
        """Return which boxes there are to write: none of what is final already."""
        limits = (*self.span.box, *(slice(0, size) for size in self.labels.shape[2:]))
        if self.held is not None:
            return list(_boxes(limits, unit(self.labels)))
        return [box for t in relabel for box in _boxes((slice(t, t + 1), *limits[1:]), (1, 1, 1, 1))]

    def _inside(self, box: Box) -> Box:
        """Return the box along Z, Y and X in the coordinates of `part`."""
        begin = 0 if self.held is None else self.span.slices.start
        return slice(box[1].start - begin, box[1].stop - begin), *box[2:]


def _as_they_are(labels: Array) -> Array:
    return labels


@contextmanager
def hold(labels: Any, span: Span, width: int) -> Iterator[Holder]:  # noqa: ANN401
    """Hold labels until they are final; `width` is that of a block.

    Raises
    ------
    LabelsError
        If there is no space for them.
    """
    if is_changeable(labels):
        yield Holder(labels, span, None)
        return
    held = Held((len(span.times), len(span.slices), *labels.shape[2:]), width)
    try:
        yield Holder(labels, span, held)
    finally:
        held.close()


def _boxes(limits: Box, side: tuple[int, ...]) -> Iterator[Box]:
    """Cut a region that begins where a unit begins into boxes of whole units, not much larger than `WRITTEN_PX`."""
    sides = list(side)
    for axis in (3, 2, 1):
        size = limits[axis].stop - limits[axis].start
        while sides[axis] < size and 2 * math.prod(sides) <= WRITTEN_PX:
            sides[axis] *= 2
    starts = (range(part.start, part.stop, step) for part, step in zip(limits, sides, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(at, min(at + step, part.stop)) for at, step, part in zip(corner, sides, limits, strict=True))
