"""An image covered slab by slab: read, run, write, and tell what is done."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.events import Event, Notice, TileDone
from napari_unet.imaging.statistics import Readable, Statistics
from napari_unet.inference.canvas import Canvas, Grids
from napari_unet.inference.engines.choosing import Ladder
from napari_unet.inference.exact.intervals import Window
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
    """

    image: Readable
    statistics: Statistics
    channels: Sequence[int]
    dims: int

    def read(self, t: int, window: Window) -> Tensor:
        """Read a window along Z, Y, X: (Z, C, Y, X) for a 2D network, (1, C, Z, Y, X) for a 3D one."""
        z, y, x = (slice(*part) for part in window)
        block = torch.from_numpy(self.statistics.normalize(self.image.read(t, z, y, x, self.channels), t))
        return block.transpose(0, 1) if self.dims == 2 else block[None]


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
        done, left = 0, [self._pieces(slab) for slab in slabs]
        try:
            for number, slab in enumerate(slabs):
                begun = done
                for found in self._slab(slab):
                    if isinstance(found, Notice):
                        left[number:] = [self._pieces(slab) for slab in slabs[number:]]
                        yield found
                        continue
                    done += 1
                    yield TileDone(done, max(done, begun + sum(left[number:])), _regions(found))
        finally:
            written = self.writer.close()
        if written:
            yield TileDone(done, done, _regions(written))

    def _slab(self, slab: Window) -> Generator[Notice | list[Window], None, None]:
        """Cover a slab; yield for each piece what has been written by then."""
        canvas = Canvas(slab, self.grids)
        for found in self.ladder.run(
            lambda window: self.source.read(slab[0].start, self._placed(slab, window)), self._window(slab)
        ):
            if isinstance(found, Notice):
                yield found
                continue
            piece, values = found
            blocks = canvas.place(self._placed(slab, piece), self._block(values))
            yield [region for block in blocks for region in self.writer.write(block)]

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
        """From (N, K, [Z,] Y, X) on the device to (K, Z, Y, X)."""
        values = values.transpose(0, 1) if self.source.dims == 2 else values[0]
        block: npt.NDArray[Any] = (in_bytes(values) if self.as_bytes and self.grids.same else values).cpu().numpy()
        return block


def _regions(windows: Sequence[Window]) -> tuple[tuple[tuple[int, int], ...], ...]:
    return tuple(tuple((part.start, part.stop) for part in window) for window in windows)
