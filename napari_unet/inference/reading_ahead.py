"""What of a file will be read next, so that it is there when the network wants it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.chunk_cache import read_ahead
from napari_unet.imaging.image import Image
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
    """

    image: Image
    slabs: Sequence[Window]
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
        while self._place + 1 < len(self.slabs) and overlap(self.slabs[self._place], window) is None:
            self._place += 1
        slab = self.slabs[self._place]
        axis = self._axis(window, slab)
        ahead = Interval(window[axis].stop, slab[axis].stop)
        if ahead.length > 0:
            yield replaced(window, axis, ahead)
        for other in (3, 2, 1):
            beside = Interval(window[other].stop, slab[other].stop)
            if other != axis and beside.length > 0:
                yield replaced(slab, other, beside)
        yield from self.slabs[self._place + 1 :]

    def _axis(self, window: Window, slab: Window) -> int:
        """Return along which axis windows follow one another: as the last two did, or the longest one of the slab."""
        if self._before is not None:
            moved = [i for i in (1, 2, 3) if window[i].start > self._before[i].start]
            if len(moved) == 1 and window[0] == self._before[0]:
                return moved[0]
        return max((1, 2, 3), key=lambda i: size_of(slab)[i])
