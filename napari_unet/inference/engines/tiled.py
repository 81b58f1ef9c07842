"""The engine of networks that cannot be looked into: tiles with a halo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from napari_unet.inference.engines.base import Read
from napari_unet.inference.exact.intervals import Interval, Window
from napari_unet.inference.running import Runner
from napari_unet.inference.tiles import Tile, plan_tiles
from napari_unet.networks.field import receptive_field


@dataclass(frozen=True, slots=True)
class TiledEngine:
    """Runs the network on tiles, and throws away what their border could have spoilt.

    Attributes
    ----------
    runner : Runner
    size : sequence of int
        ([Z,] Y, X) of the plane or volume.
    tile, halo, stride : int
        Side of what is kept of a tile, context on each side, and what tiles are aligned to.
    """

    runner: Runner
    size: Sequence[int]
    tile: int
    halo: int
    stride: int

    @classmethod
    def of(cls, runner: Runner, size: Sequence[int], tile: int) -> TiledEngine:
        """Measure how far the network sees."""
        known = receptive_field(runner.network)
        return cls(runner, size, tile, known.halo, known.stride)

    @property
    def exact(self) -> bool:
        """Whether the halo is as wide as the network sees."""
        return self.runner.network.local

    @property
    def seam(self) -> None:
        """There is none, or none that could be measured."""
        return

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield."""
        return [_window(tile.write) for tile in self._tiles(window)]

    def seen(self, window: Window) -> list[Window]:
        """Say what `run` will read for each of them."""
        return [_window(tile.read) for tile in self._tiles(window)]

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows and their probabilities (N, K, *size)."""
        for tile in self._tiles(window):
            yield _window(tile.write), self._probabilities(read, tile)

    def _probabilities(self, read: Read, tile: Tile) -> Tensor:
        logits = self.runner.logits(read(_window(tile.read)))
        return self.runner.probabilities(logits[(slice(None), slice(None), *tile.crop)])

    def _tiles(self, window: Window) -> list[Tile]:
        return plan_tiles(self.size, self.tile, self.halo, self.stride, [slice(*part) for part in window])


def _window(region: Sequence[slice]) -> Window:
    return tuple(Interval(part.start, part.stop) for part in region)
