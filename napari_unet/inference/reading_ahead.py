"""What of a file will be read next, so that it is there when the network wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.chunk_cache import read_ahead
from napari_unet.imaging.image import Image
from napari_unet.imaging.neighbours import Neighbours
from napari_unet.inference.exact.intervals import Interval, Window, replaced, size_of
from napari_unet.inference.regions import overlap


@dataclass(slots=True)
class ReadingAhead:
    """An image whose chunks are `cached`, which are read before their turn comes.

    Attributes
    ----------
    image : Image
    slabs : sequence of Window along T, Z, Y, X
        In the order in which they will be done.
    shown : int
        How many slices are read for each one of a slab: that one and its neighbours.
    """

    image: Image
    slabs: Sequence[Window]
    shown: int = 1
    _place: int = 0
    _before: Window | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Of the image."""
        return self.image.name

    @property
    def sizes(self) -> dict[str, int]:
        """Of the image."""
        return self.image.sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the image."""
        return self.image.dtype

    @property
    def chunks(self) -> dict[str, int]:
        """Of the image."""
        return self.image.chunks

    def read(self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """Read a region (C, Z, Y, X), see `Image.read`, and begin with what comes behind it."""
        block = self.image.read(t, z, y, x, channels)
        window = (Interval(t, t + 1), *(Interval(part.start, part.stop) for part in (z, y, x)))
        read_ahead(self.image, self._following(window), channels)
        self._before = window
        return block

    def _following(self, window: Window) -> Iterator[Window]:
        """Yield what comes after a window in its slab, and then the slabs after that one."""
        while self._place + 1 < len(self.slabs) and not self._is_of(window, self._read_for(self._place)):
            self._place += 1
        slab = self._read_for(self._place)
        axis = self._axis(window, slab)
        ahead = Interval(window[axis].stop, slab[axis].stop)
        if ahead.length > 0:
            yield replaced(window, axis, ahead)
        for other in (3, 2, 1):
            beside = Interval(window[other].stop, slab[other].stop)
            if other != axis and beside.length > 0:
                yield replaced(slab, other, beside)
        yield from map(self._read_for, range(self._place + 1, len(self.slabs)))

    def _read_for(self, place: int) -> Window:
        """Return what is read for a slab: with the neighbours of its slices."""
        slab = self.slabs[place]
        near = Neighbours.of(slice(*slab[1]), self.image.sizes["Z"], self.shown).read
        return replaced(slab, 1, Interval(near.start, near.stop))

    def _is_of(self, window: Window, slab: Window) -> bool:
        """Whether a window belongs to a slab: those of other slabs have slices in common with it, but not all."""
        if overlap(slab, window) is None:
            return False
        return self.shown == 1 or (slab[1].start <= window[1].start and window[1].stop <= slab[1].stop)

    def _axis(self, window: Window, slab: Window) -> int:
        """Return along which axis windows follow one another: as the last two did, or the longest one of the slab."""
        if self._before is not None:
            moved = [i for i in (1, 2, 3) if window[i].start > self._before[i].start]
            if len(moved) == 1 and window[0] == self._before[0]:
                return moved[0]
        return max((1, 2, 3), key=lambda i: size_of(slab)[i])
