"""Chunks of a file or a lazy array that were decoded last, and those that will be needed next.

A network reads strips of some rows, and each chunk of the file holds the rows of several. So decoded chunks are kept
for as long as there is room, and while the network computes threads read those of the strips to come.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.chunks import Box, Chunks, Index
from napari_unet.imaging.image import ArrayLike, Image, readable

CACHE_BYTES, LEAST_BYTES = 64 * 2**20, 16 * 2**20
# One thread keeps up with a CPU; where there are many cores there may be a GPU, which is quicker.
READERS = max(1, min(4, (os.cpu_count() or 1) // 4))
# Chunks across the image: those that a strip touches, and those that come next.
BANDS = 4
# Chunks that hold several slices are wanted again for each of them: they may take more.
MOST_BYTES = 256 * 2**20

Array = npt.NDArray[Any]


class ChunkCache:
    """An array whose chunks are read whole, and kept while there is room.

    Parameters
    ----------
    array : Zarr, Dask, h5py or similar array
    chunks : Chunks
        What is read of it at once.
    name : str
        For messages.
    limit_bytes : int
        That may be kept.
    """

    def __init__(self, array: ArrayLike, chunks: Chunks, name: str, limit_bytes: int = CACHE_BYTES) -> None:
        self.array, self.limit_bytes = array, limit_bytes
        self._boxes, self._name = chunks, name
        self._kept: OrderedDict[Index, Array] = OrderedDict()
        self._bytes = 0
        self._now: set[Index] = set()
        self._next: list[Index] = []
        self._soon: set[Index] = set()
        self._reading: set[Index] = set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def chunks(self) -> Any:  # noqa: ANN401  # as its library writes them
        """Of the array."""
        return getattr(self.array, "chunks", None)

    def __getitem__(self, box: Box) -> Array:
        """Read a box, given by slices with start and stop inside of the array.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        wanted = list(self._boxes.touched(box))
        self._now = set(wanted)
        if len(wanted) == 1:
            return self._chunk(wanted[0])[_within(box, self._boxes.box(wanted[0]))]
        found = np.empty([part.stop - part.start for part in box], self.dtype)
        for index in wanted:
            here = self._boxes.box(index)
            shared = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, here, strict=True))
            found[_within(shared, box)] = self._chunk(index)[_within(shared, here)]
        return found

    def ahead(self, boxes: Iterable[Box]) -> None:
        """Read what these boxes need, as far as there is room, while others work; forget what was asked for before."""
        soon: dict[Index, None] = {}
        room = self.limit_bytes // 2
        for index in (index for box in boxes for index in self._boxes.touched(box)):
            if index not in soon and index not in self._now:
                room -= self._bytes_of(index)
                if room < 0:
                    break
                soon[index] = None
        with self._changed:
            self._soon = set(soon)
            self._next = [index for index in reversed(soon) if index not in self._kept]
            while self._next and len(self._threads) < READERS and not self._closed:
                self._threads.append(threading.Thread(target=self._work, name="napari-unet-reader", daemon=True))
                self._threads[-1].start()
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads and forget all chunks."""
        with self._changed:
            self._closed, self._next = True, []
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._kept.clear()
        self._bytes = 0

    def _chunk(self, index: Index) -> Array:
        """Return a chunk that is kept, that is just being read, or that has to be read."""
        with self._changed:
            self._changed.wait_for(lambda: index not in self._reading)
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
            self._reading.add(index)
        chunk = None
        try:
            chunk = self._read(index)
        finally:
            self._end(index, chunk)
        return chunk

    def _read(self, index: Index) -> Array:
        with readable(self._name):
            chunk = np.asarray(self.array[self._boxes.box(index)])
        chunk = chunk.view()
        chunk.setflags(write=False)  # who asks for it gets a view of it
        return chunk

    def _end(self, index: Index, chunk: Array | None) -> None:
        """Keep what was read, if there is room, and tell those who wait for it; None if it could not be read."""
        with self._changed:
            self._reading.discard(index)
            if chunk is None:
                self._next = []
            elif self._has_room(index):
                self._kept[index] = chunk
                self._bytes += self._bytes_of(index)
            self._changed.notify_all()

    def _bytes_of(self, index: Index) -> int:
        return int(math.prod(part.stop - part.start for part in self._boxes.box(index))) * self.dtype.itemsize

    def _has_room(self, index: Index) -> bool:
        """Forget what was used longest ago, but not what is needed now, until there is room for a chunk."""
        needed = self._bytes_of(index)
        idle = [i for i in self._kept if i not in self._now and i not in self._soon]
        for oldest in idle:
            if self._bytes + needed <= self.limit_bytes:
                break
            del self._kept[oldest]
            self._bytes -= self._bytes_of(oldest)
        return self._bytes + needed <= self.limit_bytes or not self._kept

    def _work(self) -> None:
        """Read what is wanted next, in a thread."""
        while (index := self._following()) is not None:
            chunk = None
            with suppress(Exception):  # whoever needs this chunk will read it again, and get the error
                chunk = self._read(index)
            self._end(index, chunk)
            del chunk

    def _following(self) -> Index | None:
        """Wait for something to read; None at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._next or self._closed)
                if self._closed:
                    return None
                index = self._next.pop()
                if index not in self._kept and index not in self._reading and self._has_room(index):
                    self._reading.add(index)
                    return index


@contextmanager
def cached(image: Image, slices: int = 1) -> Iterator[Image]:
    """Keep and read ahead the chunks of an image that has any; no thread is left in the end.

    Parameters
    ----------
    image : Image
    slices : int
        That are read at once for each one: they are wanted again for the next.

    Yields
    ------
    Image
        The same one, if its pixels are in memory or mapped.
    """
    chunks = Chunks.of(image.array)
    if chunks is not None and chunks.largest * image.dtype.itemsize > CACHE_BYTES // 4:
        chunks = Chunks.of(image.array, shards=False)  # a whole shard would be too much
    if chunks is None:
        yield image
        return
    chunks = chunks.grown(image.dtype.itemsize, [image.axes.index(axis) for axis in "YX"])
    cache = ChunkCache(image.array, chunks, image.name, _limit_bytes(image, chunks, slices))
    try:
        yield replace(image, array=cache)
    finally:
        cache.close()


def is_kept_whole(image: Image) -> bool:
    """Whether all chunks of a `cached` image find room, so that each is read once however often it is needed."""
    array = image.array
    return isinstance(array, ChunkCache) and math.prod(array.shape) * array.dtype.itemsize <= array.limit_bytes


def read_ahead(image: Image, windows: Iterable[Sequence[tuple[int, int]]], channels: Sequence[int] | None) -> None:
    """Read windows along T, Z, Y, X of a `cached` image while others work; of other images, nothing has to be done."""
    if isinstance(image.array, ChunkCache):
        first, last = (min(channels), max(channels) + 1) if channels else (0, image.sizes["C"])
        named = (dict(zip("TZYX", window, strict=True), C=(first, last)) for window in windows)
        image.array.ahead(tuple(slice(*where[axis]) for axis in image.axes) for where in named)


def _limit_bytes(image: Image, chunks: Chunks, slices: int) -> int:
    """Enough for the bands of chunks that a strip touches and the next ones, or for the chunks that planes share."""
    sides = dict(zip(image.axes, (cuts[1] for cuts in chunks.cuts), strict=True))
    size = image.sizes
    if math.prod(image.array.shape) * image.dtype.itemsize <= CACHE_BYTES:
        return CACHE_BYTES
    along = "Y" if size["Y"] >= size["X"] else "X"  # as strips go
    pixel = sides.get("C", 1) * image.dtype.itemsize
    plane = size["Y"] * size["X"] * pixel
    depth = sides.get("Z", 1) * sides.get("T", 1) + slices - 1
    if depth > 1:
        return min(max(CACHE_BYTES, depth * plane * 5 // 4), MOST_BYTES)
    return min(max(LEAST_BYTES, BANDS * plane * sides[along] // size[along]), CACHE_BYTES)


def _within(box: Box, window: Box) -> Box:
    """Return a box in the coordinates of a window that contains it."""
    return tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, window, strict=True))
