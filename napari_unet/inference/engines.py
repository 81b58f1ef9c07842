"""How a network is run over an image: exactly, from its graph, or tile by tile with a halo.

Both give pieces that partition the window that was asked for, and both are told the whole image's
geometry. What differs is what they compute: the graph just what a piece depends on, the tiles a wide
margin around each as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.exact.executor import compute
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval
from napari_unet.inference.exact.intervals import Window as Intervals
from napari_unet.inference.exact.planning import StripPlan, plan_strips
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.exact.tracing import UntraceableError
from napari_unet.inference.running import Runner
from napari_unet.inference.tiles import Region, Tile, plan_tiles
from napari_unet.networks.base import Network
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import is_buildable

Floats = npt.NDArray[np.float32]
Read = Callable[[int, Region], Floats]

# Write side of a tile: small enough to be cancelled within a second or two on a laptop, large
# enough for the halo not to dominate.
TILE_PX = {2: {"cpu": 512, "mps": 1024, "cuda": 2048}, 3: {"cpu": 64, "mps": 96, "cuda": 160}}
# Tiles are batched on GPUs only, up to so many pixels read at once: on a CPU it gains nothing.
BATCH_PX = {"cpu": 0, "mps": 2**20, "cuda": 2**23}
# Features of a strip may take so much memory; a wider image is done in columns.
STRIP_BYTES = 250 * 2**20


class Engine(Protocol):
    """Runs a network over windows of an image."""

    @property
    def tile_px(self) -> int: ...  # noqa: D102
    @property
    def halo(self) -> int: ...  # noqa: D102
    @property
    def exact(self) -> bool: ...  # noqa: D102
    @property
    def tiles(self) -> Sequence[Tile]: ...  # noqa: D102
    def run(self, times: Sequence[int], read: Read) -> Iterator[tuple[int, Tile, Floats]]: ...  # noqa: D102


def choose_engine(runner: Runner, size: Sequence[int], window: Region, config: InferenceConfig) -> Engine:
    """Choose the exact engine where it can be had, else tiles.

    Parameters
    ----------
    runner : Runner
    size : (Z, Y, X)
        Of the image, on the network's grid.
    window : slices along Z, Y, X
        What is wanted of it.
    config : InferenceConfig
    """
    # A program of others has no layers to look at; on a GPU large tiles cost little, and halves are its own business.
    ours = is_buildable(runner.model.spec.network.variant)
    if ours and runner.device.type == "cpu" and not runner.half:
        try:
            return ExactEngine.of(runner, size, window, config.tile)
        except UntraceableError:
            pass
    return TiledEngine.of(runner, size, window, config)


@dataclass(frozen=True, slots=True)
class TiledEngine:
    """Runs the network on tiles with a halo, several at once where that pays.

    Attributes
    ----------
    runner : Runner
    tiles : sequence of Tile
        In Z, Y, X; they partition the window.
    tile_px, halo : int
    batch : int, optional
        Tiles at once; None chooses.
    """

    runner: Runner
    tiles: Sequence[Tile]
    tile_px: int
    halo: int
    batch: int | None

    @classmethod
    def of(cls, runner: Runner, size: Sequence[int], window: Region, config: InferenceConfig) -> TiledEngine:
        """Plan the tiles."""
        field = receptive_field(runner.network)
        tile_px = config.tile or TILE_PX[runner.dims][runner.device.type]
        tiles = _plan(size, window, runner.planar, (tile_px, field.halo, field.stride))
        return cls(runner, tiles, tile_px, field.halo, config.batch)

    @property
    def exact(self) -> bool:
        """Whether the halo is as wide as the network sees."""
        return self.runner.network.local

    def run(self, times: Sequence[int], read: Read) -> Iterator[tuple[int, Tile, Floats]]:
        """Yield time point, tile and the probabilities (K, Z, Y, X) of what is written."""
        work = [(t, tile) for t in times for tile in self.tiles]
        for batch in _batches(work, self.batch, BATCH_PX[self.runner.device.type]):
            blocks = [read(t, tile.read) for t, tile in batch]
            for (t, tile), values in zip(batch, self.runner.run(blocks), strict=True):
                yield t, tile, values[(slice(None), *tile.crop)]


@dataclass(frozen=True, slots=True)
class ExactEngine:
    """Computes just what a piece of the result depends on: windows, or strips with nothing done twice.

    Attributes
    ----------
    runner : Runner
    graph : Graph
        Of a plane, or of the volume.
    tiles : sequence of Tile
        In Z, Y, X; they partition the window.
    strips : StripPlan, optional
        How the whole is cut into strips; None where a part of the image is wanted, window by window.
    """

    runner: Runner
    graph: Graph
    tiles: Sequence[Tile]
    strips: StripPlan | None

    @classmethod
    def of(cls, runner: Runner, size: Sequence[int], window: Region, tile_px: int | None) -> ExactEngine:
        """Trace the network for an image of this size, and plan the pieces.

        Raises
        ------
        UntraceableError
            If the network cannot be traced.
        """
        grid = tuple(size[1:] if runner.planar else size)
        graph = _prepared(runner.network, grid, runner.device)
        wanted = window[1:] if runner.planar else window
        whole = all(part == slice(0, side) for part, side in zip(wanted, grid, strict=True))
        if tile_px is not None or not whole:
            side = tile_px or TILE_PX[runner.dims]["cpu"]
            return cls(runner, graph, _plan(size, window, runner.planar, (side, 0, runner.network.stride)), None)
        strips = plan_strips(graph, STRIP_BYTES)
        pieces: list[Region] = [tuple(slice(*part) for part in piece) for piece in cut_into_strips(grid, strips)]
        if runner.planar:
            planes = range(window[0].start, window[0].stop)
            pieces = [(slice(z, z + 1), *piece) for z in planes for piece in pieces]
        return cls(runner, graph, [_whole_tile(piece) for piece in pieces], strips)

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    @property
    def tile_px(self) -> int:
        """Longest side of a piece."""
        sides: list[int] = [part.stop - part.start for tile in self.tiles for part in tile.write]
        return max(sides)

    @property
    def halo(self) -> int:
        """Nothing is computed that is thrown away."""
        return 0

    def run(self, times: Sequence[int], read: Read) -> Iterator[tuple[int, Tile, Floats]]:
        """Yield time point, tile and the probabilities (K, Z, Y, X) of what is written."""
        for t in times:
            if self.strips is None:
                for tile in self.tiles:
                    window = self._intervals(tile.write)
                    yield t, tile, self._values(compute(self.graph, self._reader(t, tile.write[0], read), window))
            else:
                yield from self._stream(t, read)

    def _stream(self, t: int, read: Read) -> Iterator[tuple[int, Tile, Floats]]:
        """Go through each plane, or through the volume, strip by strip."""
        plan = self.strips
        assert plan is not None
        planes = sorted({tile.write[0].start for tile in self.tiles}) if self.runner.planar else [0]
        for z in planes:
            plane = slice(z, z + 1)
            reader = self._reader(t, plane, read)
            for window, logits in stream(self.graph, reader, rows=plan.rows, axis=plan.axis, columns=plan.columns):
                parts = tuple(slice(interval.start, interval.stop) for interval in window)
                region = (plane, *parts) if self.runner.planar else parts
                yield t, _whole_tile(region), self._values(logits)

    def _intervals(self, region: Region) -> Intervals:
        parts = region[1:] if self.runner.planar else region
        return tuple(Interval(part.start, part.stop) for part in parts)

    def _reader(self, t: int, plane: slice, read: Read) -> Callable[[Intervals], Tensor]:
        def pixels(window: Intervals) -> Tensor:
            parts = tuple(slice(interval.start, interval.stop) for interval in window)
            block = torch.from_numpy(read(t, (plane, *parts) if self.runner.planar else parts))
            return (block[:, 0] if self.runner.planar else block)[None]

        return pixels

    def _values(self, logits: Tensor) -> Floats:
        values: Floats = self.runner.probabilities(logits)[0]
        return values[:, None] if self.runner.planar else values


# The graph made last of each network: a preview and the run that follows it share one.
_GRAPHS: WeakKeyDictionary[Network, tuple[object, Graph]] = WeakKeyDictionary()


def _prepared(network: Network, grid: Sequence[int], device: torch.device) -> Graph:
    """Return the graph of a network for images of a size; made again if its weights have changed."""
    tensors = (*network.parameters(), *network.buffers())
    state = (tuple(grid), device, tuple((tensor.data_ptr(), tensor._version) for tensor in tensors))  # noqa: SLF001
    found = _GRAPHS.get(network)
    if found is None or found[0] != state:
        found = _GRAPHS[network] = (state, prepare(network, grid, device))
    return found[1]


def cut_into_strips(size: Sequence[int], plan: StripPlan) -> list[Intervals]:
    """Say which windows of an image of `size` `stream` will yield."""
    sides = [plan.rows if axis == plan.axis else side for axis, side in enumerate(plan.columns)]
    cuts = ([Interval(a, min(n, a + side)) for a in range(0, n, side)] for n, side in zip(size, sides, strict=True))
    return list(product(*cuts))


def _plan(size: Sequence[int], window: Region, planar: bool, how: tuple[int, int, int]) -> list[Tile]:
    """Plan tiles in Z, Y, X of (tile, halo, stride)."""
    if not planar:
        return plan_tiles(size, *how, window)
    flat = plan_tiles(size[1:], *how, window[1:])
    return [_in_plane(tile, z) for z in range(window[0].start, window[0].stop) for tile in flat]


def _in_plane(tile: Tile, z: int) -> Tile:
    at = slice(z, z + 1)
    return Tile((at, *tile.read), (slice(0, 1), *tile.crop), (at, *tile.write))


def _whole_tile(region: Region) -> Tile:
    return Tile(region, tuple(slice(0, part.stop - part.start) for part in region), region)


def _batches(work: Sequence[tuple[int, Tile]], count: int | None, batch_px: int) -> Iterator[list[tuple[int, Tile]]]:
    """Group neighbours whose reads have one shape."""
    batch: list[tuple[int, Tile]] = []
    shape: tuple[int, ...] = ()
    for item in work:
        sides = tuple(part.stop - part.start for part in item[1].read)
        limit = count or max(1, batch_px // prod(sides))
        if batch and (sides != shape or len(batch) >= limit):
            yield batch
            batch = []
        batch.append(item)
        shape = sides
    if batch:
        yield batch
