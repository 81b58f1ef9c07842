"""The engine of the fast mode: tiles of one shape, run by a network of integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_unet.inference.engines.base import Read
from napari_unet.inference.exact.intervals import Interval, Window, view
from napari_unet.inference.fast.placing import Placed, Placement, place
from napari_unet.inference.fast.quantizing import FastNetwork
from napari_unet.inference.running import probabilities_of
from napari_unet.networks.field import receptive_field
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.weights.model import Model
from napari_unet.weights.spec import Activation

# Context on each side, even where a network sees farther: what lies beyond changes less than integers do.
MOST_HALO = {2: 48, 3: 24}
# That the features of a tile may take.
TILE_BYTES = 280 * 2**20
# Tiles of thin networks could be larger still, but then a cancel would wait long for one.
MOST_PX = 2048 * 2048


@dataclass(frozen=True, slots=True)
class FastEngine:
    """Runs a network of integers.

    Attributes
    ----------
    network : FastNetwork
    geometry : NetworkOptions
        Of the network that it was made of.
    activation : "softmax" | "sigmoid" | "none" | "flows"
    size : sequence of int
        ([Z,] Y, X) of the plane or volume.
    halo : int
        Context on each side.
    most_px : float
        Largest tile.
    """

    network: FastNetwork
    geometry: NetworkOptions
    activation: Activation
    size: Sequence[int]
    halo: int
    most_px: float

    @classmethod
    def of(
        cls, fast: FastNetwork, model: Model, size: Sequence[int], share: float = 1.0, tile: int | None = None
    ) -> FastEngine:
        """Choose context and tiles.

        Parameters
        ----------
        fast : FastNetwork
        model : Model
            That it was made of.
        size : sequence of int
            ([Z,] Y, X) of the plane or volume.
        share : float
            Of the memory that tiles may take otherwise.
        tile : int, optional
            Largest side of a tile; None chooses.
        """
        network = model.network
        halo = min(receptive_field(network).halo, MOST_HALO[network.dims])
        most_px = min(share * TILE_BYTES / fast.bytes_per_pixel, MOST_PX if tile is None else tile**network.dims)
        return cls(fast, network.geometry, model.activation, size, halo, most_px)

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    @property
    def seam(self) -> None:
        """What changes is measured as a whole."""
        return

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield."""
        return [tile.write for tile in self.placement(window).tiles()]

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows and their probabilities (N, K, *size)."""
        placement = self.placement(window)
        for tile in placement.tiles():
            logits = self.network(self._framed(read, tile, placement))
            given = tuple(Interval(start, start + n) for start, n in zip(tile.starts, logits.shape[2:], strict=True))
            yield tile.write, probabilities_of(view(logits, given, tile.write), self.activation)

    def placement(self, window: Window) -> Placement:
        """Return how tiles cover a window."""
        return place(self.geometry, self.size, window, self.halo, self.most_px)

    def _framed(self, read: Read, tile: Placed, placement: Placement) -> Tensor:
        """Read what a tile sees, with what surrounds the image as the whole image would have it."""
        lines = [
            framed_positions(self.geometry, start, side, n)
            for start, side, n in zip(tile.starts, placement.shape, self.size, strict=True)
        ]
        window = tuple(Interval(int(line.min()), int(line.max()) + 1) for line in lines)
        pixels = read(window)
        for axis, (line, part) in enumerate(zip(lines, window, strict=True), start=2):
            if not torch.equal(line, torch.arange(*part)):
                pixels = pixels.index_select(axis, line - part.start)
        return pixels


def frame_patch(geometry: NetworkOptions, pixels: Tensor) -> Tensor:
    """Surround a patch (C, *size) as if it were an image."""
    for axis, n in enumerate(pixels.shape[1:]):
        side = geometry.fitting_along(axis, n + 2 * geometry.margin)
        pixels = pixels.index_select(axis + 1, framed_positions(geometry, 0, side, n))
    return pixels


def framed_positions(geometry: NetworkOptions, start: int, side: int, size: int) -> Tensor:
    """Say which pixels of an image of `size` are seen along an axis of the framed image: int64 (side,)."""
    positions = torch.arange(start, start + side) - geometry.margin
    if not geometry.margin or size == 1:
        return positions.clamp(0, size - 1)
    period = 2 * (size - 1)
    positions = positions % period
    return torch.minimum(positions, period - positions)
