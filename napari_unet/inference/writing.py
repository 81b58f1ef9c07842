"""Where probabilities go: arrays in memory or on disk, as float32 or as bytes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.imaging.chunks import Chunks, Index
from napari_unet.inference.background import Background
from napari_unet.inference.canvas import Placed, Reordered
from napari_unet.inference.exact.intervals import Interval, Window, size_of
from napari_unet.inference.outputs import free_bytes, writable
from napari_unet.inference.regions import join, overlap, subtract

# A byte holds a probability to within half of a 255th.
BYTE_MAX = 255
# Chunks that wait to be complete may take so much memory, or a share of what is free where that is more; beyond it,
# some are written in parts.
GATHERED_BYTES = 256 * 2**20
FREE_SHARE = 1 / 8


class Writer(Protocol):
    """Takes blocks, and writes them now or later."""

    def write(self, placed: Placed) -> list[Window]:
        """Take a block; return the windows (T, Z, Y, X) that have been written since the last call."""
        ...

    def close(self) -> list[Window]:
        """Write what is left, and return its windows."""
        ...


def choose_writer(out: Any, window: Window, done: Sequence[Window] = ()) -> Writer:  # noqa: ANN401
    """Choose how an array is written.

    Parameters
    ----------
    out : array (K, T, Z, Y, X), or Reordered
        numpy, memory-mapped, Zarr or h5py.
    window : Window along T, Z, Y, X
        What of the image `out` holds.
    done : sequence of Window
        Of the image, what is there already.
    """
    target = out if isinstance(out, Reordered) else Reordered(out, "TZYX")
    chunks = target.chunks
    return DirectWriter(target, window) if chunks is None else ChunkWriter(target, window, chunks, done)


class DirectWriter:
    """Writes each block at once.

    Parameters
    ----------
    out : Reordered
    window : Window along T, Z, Y, X
        What of the image `out` holds.
    """

    def __init__(self, out: Reordered, window: Window) -> None:
        self._out, self._window = out, window
        self._told: list[Window] = []

    def write(self, placed: Placed) -> list[Window]:
        """Write a block.

        Raises
        ------
        ExportError
            If it could not be written.
        """
        region, values = placed
        with writable():
            self._out.put(_within(region, self._window), stored(values, self._out.dtype)[:, None])
        # What is visible of a volume comes twice: first by itself, and then with the rest.
        new = subtract(region, self._told)
        for part in new:
            join(self._told, part)
        return new

    def close(self) -> list[Window]:
        """Nothing is left."""
        return []


class ChunkWriter:
    """Gathers blocks until a chunk is complete, and writes it once, in a thread, while others are computed.

    Parameters
    ----------
    out : Reordered
    window : Window along T, Z, Y, X
        What of the image `out` holds.
    chunks : Chunks
        Of `out`, along T, Z, Y and X.
    done : sequence of Window
        Of the image, what is there already.
    """

    def __init__(self, out: Reordered, window: Window, chunks: Chunks, done: Sequence[Window] = ()) -> None:
        self._out, self._window, self._chunks = out, window, chunks
        self._gathering: dict[Index, _Gathered] = {}
        self._held, self._most_bytes = 0, max(GATHERED_BYTES, int(FREE_SHARE * (free_bytes() or 0)))
        self._sent: list[Window] = []
        for region in done:
            join(self._sent, _within(region, window))
        self._thread, self._lock = Background(), threading.Lock()
        self._written: list[Window] = []

    def write(self, placed: Placed) -> list[Window]:
        """Take a block.

        Raises
        ------
        ExportError
            If something could not be written.
        """
        region = _within(placed[0], self._window)
        values = stored(placed[1], self._out.dtype)[:, None]
        for index in self._chunks.touched(tuple(slice(*part) for part in region)):
            chunk = self._chunk(index, len(values))
            if chunk is not None:
                chunk.take(region, values)
                if not chunk.missing:
                    self._send(index)
        # The first ones wait on: if all took turns, each would be written for each plane that it holds a part of.
        while self._held > self._most_bytes and len(self._gathering) > 1:
            self._send(next(reversed(self._gathering)))
        return self._reported()

    def close(self) -> list[Window]:
        """Write chunks as they are, and end the thread.

        Raises
        ------
        ExportError
            If something could not be written.
        """
        try:
            for index in list(self._gathering):
                self._send(index)
        finally:
            with writable():
                self._thread.close()
        return self._reported()

    def _chunk(self, index: Index, classes: int) -> _Gathered | None:
        """Return a chunk that is being gathered; None if nothing of it is missing."""
        chunk = self._gathering.get(index)
        if chunk is None:
            box = tuple(Interval(part.start, part.stop) for part in self._chunks.box(index))
            missing = subtract(box, self._sent)
            if not missing:
                return None
            chunk = _Gathered(box, np.empty((classes, *size_of(box)), self._out.dtype), missing)
            self._held += chunk.values.nbytes
            self._gathering[index] = chunk
        return chunk

    def _send(self, index: Index) -> None:
        chunk = self._gathering.pop(index)
        self._held -= chunk.values.nbytes
        for part in chunk.filled:
            join(self._sent, part)
        with writable():
            self._thread.put(partial(self._write, chunk))

    def _write(self, chunk: _Gathered) -> None:
        """Write a chunk, in the thread."""
        for part in chunk.filled:
            self._out.put(part, chunk.values[(slice(None), *_slices(_within(part, chunk.box)))])
        with self._lock:
            self._written += chunk.filled

    def _reported(self) -> list[Window]:
        with self._lock:
            written, self._written = self._written, []
        return [_moved(part, self._window) for part in written]


@dataclass(slots=True)
class _Gathered:
    """A chunk that is not yet complete.

    Attributes
    ----------
    box : Window
    values : (K, *size of the box) array
    missing, filled : list of Window
        What has not come yet, and what has.
    """

    box: Window
    values: npt.NDArray[Any]
    missing: list[Window]
    filled: list[Window] = field(default_factory=list)

    def take(self, region: Window, values: npt.NDArray[Any]) -> None:
        """Copy what of a region lies in this chunk and is missing."""
        for part in [overlap(hole, region) for hole in self.missing]:
            if part is not None:
                here, there = _slices(_within(part, self.box)), _slices(_within(part, region))
                self.values[(slice(None), *here)] = values[(slice(None), *there)]
                join(self.filled, part)
        self.missing = [left for hole in self.missing for left in subtract(hole, [region])]


def _within(region: Window, window: Window) -> Window:
    """Return a region in the coordinates of a window."""
    return tuple(Interval(i.start - w.start, i.stop - w.start) for i, w in zip(region, window, strict=True))


def _moved(region: Window, window: Window) -> Window:
    """Return a region in coordinates of a window in those of the image."""
    return tuple(Interval(i.start + w.start, i.stop + w.start) for i, w in zip(region, window, strict=True))


def _slices(region: Window) -> tuple[slice, ...]:
    return tuple(slice(*part) for part in region)


def stored(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return probabilities from 0 to 1 as they are stored: as they are, or 0 to 255 in bytes."""
    if dtype != np.uint8 or values.dtype == np.uint8:
        return values
    return np.rint(values * np.float32(BYTE_MAX)).astype(np.uint8)


@torch.inference_mode()
def in_bytes(values: Tensor) -> Tensor:
    """Turn probabilities into bytes as `stored` does, on their device."""
    return (values * BYTE_MAX).round_().to(torch.uint8)
