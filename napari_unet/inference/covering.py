"""An image covered slab by slab: read, run, write, and tell what is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.events import Event, Notice, TileDone
from napari_unet.imaging.neighbours import Neighbours
from napari_unet.imaging.statistics import Readable, Statistics
from napari_unet.inference.canvas import Canvas, Grids
from napari_unet.inference.engines.choosing import planes_at_once
from napari_unet.inference.engines.ladder import Ladder
from napari_unet.inference.exact.intervals import Window
from napari_unet.inference.regions import subtract
from napari_unet.inference.slabs import in_groups
from napari_unet.inference.uploading import Uploader
from napari_unet.inference.writing import Writer, in_bytes


@dataclass(frozen=True, slots=True)
class Source:
    """An image as the network sees it.

    Attributes
    ----------
    image : Readable
        On the network's grid.
    statistics : Statistics
        Normalize it.
    channels : sequence of int
        That feed the network.
    dims : int
        Of the network: a 2D one is given planes, a 3D one the volume.
    slices : int
        That a 2D network is shown for each plane: that one and its neighbours.
    """

    image: Readable
    statistics: Statistics
    channels: Sequence[int]
    dims: int
    slices: int = 1
    _uploaders: dict[torch.device, Uploader] = field(default_factory=dict, repr=False)

    def read(self, t: int, window: Window, device: torch.device) -> Tensor:
        """Read a window along Z, Y, X: (Z, S · C, Y, X) for a 2D network, (1, C, Z, Y, X) for a 3D one."""
        z, y, x = (slice(*part) for part in window)
        near = Neighbours.of(z, self.image.sizes["Z"], self.slices)
        block = near.stacked(self._normalized(self.image.read(t, near.read, y, x, self.channels), t, device))
        return block.transpose(0, 1) if self.dims == 2 else block[None]

    def _normalized(self, pixels: npt.NDArray[Any], t: int, device: torch.device) -> Tensor:
        """Normalize (C, Z, Y, X) pixels; those for CUDA there, where they are brought while it computes."""
        if device.type != "cuda":
            return torch.from_numpy(self.statistics.normalize(pixels, t))
        if device not in self._uploaders:
            self._uploaders[device] = Uploader(self.statistics, device)
        return self._uploaders[device].upload(pixels, t)


@dataclass(frozen=True, slots=True)
class Cover:
    """What is needed to cover an image.

    Attributes
    ----------
    ladder : Ladder
        Runs the network.
    source : Source
    grids : Grids
        Of the image and of the network.
    writer : Writer
    as_bytes : bool
        Whether that stores bytes, which then are all that comes from the device.
    """

    ladder: Ladder
    source: Source
    grids: Grids
    writer: Writer
    as_bytes: bool = False

    def run(self, slabs: Sequence[Window]) -> Generator[Event, None, None]:
        """Cover slabs (T, Z, Y, X), one event a piece; whatever happens, what has been computed is written."""
        done, left, told = 0, deque(slabs), ""
        later = sum(map(self._pieces, left))
        try:
            while left:
                slab = left.popleft()
                later -= self._pieces(slab)
                placed: list[Window] = []
                for found in self._slab(slab, placed):
                    if not isinstance(found, Notice):
                        done += 1
                        yield TileDone(done, done + self.ladder.pieces_left + later, _regions(found))
                        continue
                    if found.text != told:
                        yield found
                    told = found.text
                    fewer = len(self._planes(slab)) > 1
                    unfinished = subtract(slab, placed) if fewer else []
                    left = deque(part for one in (*unfinished, *left) for part in self._planes(one))
                    later = sum(map(self._pieces, left))
                    if fewer:
                        break
        finally:
            written = self.writer.close()
        if written:
            yield TileDone(done, done, _regions(written))

    def _slab(self, slab: Window, placed: list[Window]) -> Generator[Notice | list[Window], None, None]:
        """Cover a slab; yield for each piece what has been written by then, and add to what has found its place."""
        canvas = Canvas(slab, self.grids)
        convert = in_bytes if self.as_bytes and self.grids.same else None
        for found in self.ladder.run(partial(self._read, slab), self._window(slab), convert):
            if isinstance(found, Notice):
                yield found
                continue
            piece, values = found
            blocks = canvas.place(self._placed(slab, piece), self._block(values))
            placed += [region for region, _ in blocks]
            yield [region for block in blocks for region in self.writer.write(block)]

    def _read(self, slab: Window, window: Window) -> Tensor:
        return self.source.read(slab[0].start, self._placed(slab, window), self.ladder.means.device)

    def _planes(self, slab: Window) -> list[Window]:
        """Divide a slab into what the device at hand is given at once."""
        if self.source.dims == 3:
            return [slab]
        means = self.ladder.means
        return in_groups(slab, planes_at_once(means.device, prod(self.grids.network), means.share))

    def _pieces(self, slab: Window) -> int:
        return len(self.ladder.engine.pieces(self._window(slab)))

    def _window(self, slab: Window) -> Window:
        """Window of a slab on the network's grid, ([Z,] Y, X)."""
        plane = self.grids.on_network(slab[2:])
        return plane if self.source.dims == 2 else (slab[1], *plane)

    def _placed(self, slab: Window, piece: Window) -> Window:
        """Window of a piece along Z, Y and X."""
        return (slab[1], *piece) if self.source.dims == 2 else piece

    def _block(self, values: Tensor) -> npt.NDArray[Any]:
        """From (N, K, [Z,] Y, X) to (K, Z, Y, X)."""
        values = values.transpose(0, 1) if self.source.dims == 2 else values[0]
        block: npt.NDArray[Any] = values.numpy()
        return block


def _regions(windows: Sequence[Window]) -> tuple[tuple[tuple[int, int], ...], ...]:
    return tuple(tuple((part.start, part.stop) for part in window) for window in windows)
