"""What a network costs on an image, before anything runs on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.inference.config import TURNS, Cost, Turns
from napari_unet.inference.devices import choose_device
from napari_unet.inference.engines.blended import window_sides
from napari_unet.inference.engines.choosing import STRIP_BYTES, TILE_PX
from napari_unet.inference.engines.exact import ROWS
from napari_unet.inference.engines.overlapping import spread_along
from napari_unet.inference.exact.memory import Ledger, weight_bytes
from napari_unet.inference.exact.planning import pieces_of, plan_strips
from napari_unet.inference.exact.tracing import UntraceableError, trace
from napari_unet.inference.tiles import plan_tiles
from napari_unet.networks.base import Network
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build
from napari_unet.networks.spec import NetworkSpec

# Side of the window that is run to measure: large enough to keep all cores busy, over within a second.
PROBE_PX = {2: 256, 3: 48}


def estimate_cost(
    spec: NetworkSpec, size: Sequence[int], device: str = "auto", tile: int | None = None, turns: Turns = "none"
) -> Cost:
    """Estimate what a network costs on an image; runs one small forward pass.

    Parameters
    ----------
    spec : NetworkSpec
    size : (T, Z, Y, X) of int
        Of the image.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    tile : int, optional
        Side of the write region of a tile; None chooses.
    turns : "none" | "flips" | "all"
        Versions of the image that are averaged; what their pieces compute of each other is not counted.

    Raises
    ------
    ModelError, DeviceError
        If there is no such network or device.
    """
    place = choose_device(device)
    network = build(spec).eval()
    times, depth, *plane = size
    planar = network.dims == 2
    grid = plane if planar else [depth, *plane]
    with torch.device("meta"):
        shadow = build(spec).eval()
    probe = (PROBE_PX[network.dims],) * network.dims
    work = _strips(network, grid) if place.type == "cpu" and tile is None else None
    if work is None and not network.local:
        work = _windows(shadow, grid, () if tile is None else (tile,) * network.dims)
    work = work or _tiles(network, shadow, grid, tile or TILE_PX[network.dims][place.type])
    repeats = times * (depth if planar else 1)
    pixels = repeats * work.pixels * TURNS[turns]
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        operations=count_operations(shadow, probe) / prod(probe) * pixels,
        memory_bytes=work.memory_bytes,
        seconds=forward_seconds(network.to(place), probe) / prod(probe) * pixels,
        tiles=repeats * work.pieces,
        device=str(place),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What has to be done for a plane or volume.

    Attributes
    ----------
    pieces : int
        Tiles or strips.
    pixels : int
        That are computed, the overlap of tiles included.
    memory_bytes : int
        At once, weights included.
    """

    pieces: int
    pixels: int
    memory_bytes: int


def _strips(network: Network, grid: Sequence[int]) -> _Work | None:
    """Work of strips; None where a network cannot be run so."""
    try:
        graph = trace(network, grid)
    except UntraceableError:
        return None
    plan = plan_strips(graph, STRIP_BYTES["cpu"], graph.everything, ROWS["cpu", graph.dims])
    return _Work(len(pieces_of(graph.everything, plan)), prod(grid), weight_bytes(graph) + plan.peak_bytes)


def _tiles(network: Network, shadow: Network, grid: Sequence[int], tile: int) -> _Work:
    """Work of tiles with a halo."""
    field = receptive_field(network)
    tiles = plan_tiles(grid, tile, field.halo, field.stride)
    sides = [tuple(part.stop - part.start for part in one.read) for one in tiles]
    return _Work(len(tiles), sum(map(prod, sides)), peak_bytes(shadow, max(sides, key=prod)))


def _windows(shadow: Network, grid: Sequence[int], sides: Sequence[int]) -> _Work:
    """Work of windows that are blended, one after the other."""
    geometry = shadow.geometry
    strides = zip(grid, window_sides(geometry, sides), geometry.strides, strict=True)
    along = [spread_along(*parts) for parts in strides]
    pixels = prod(sum(window.length for window in windows) for windows in along)
    largest = [max(window.length for window in windows) for windows in along]
    # Those along the longest axis are pieces, as each completes a part of the image.
    return _Work(len(along[grid.index(max(grid))]), pixels, peak_bytes(shadow, largest))


def count_operations(network: Network, size: Sequence[int]) -> float:
    """Multiplications and additions of one forward pass over an image of `size`.

    Parameters
    ----------
    network : Network
        May lie on the "meta" device, where nothing is computed.
    size : sequence of int
        ([Z,] Y, X).
    """
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.on_grid(_image(network, size))
    return float(counter.get_total_flops())


def peak_bytes(network: Network, size: Sequence[int]) -> int:
    """Largest memory in use at once during a forward pass over an image of `size`, weights included.

    Parameters
    ----------
    network : Network
        On the "meta" device, where nothing is computed and no memory is taken.
    size : sequence of int
        ([Z,] Y, X).
    """
    ledger = Ledger()
    with torch.no_grad():
        image = _image(network, size)
        with ledger:
            network.on_grid(image)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    return int(weights + image.nbytes + ledger.peak)


def forward_seconds(network: Network, size: Sequence[int]) -> float:
    """Seconds of one forward pass over an image of `size`, after one that warms up."""
    image = _image(network, size)
    with torch.inference_mode():
        network.on_grid(image)
        _wait(image.device)
        begun = time.perf_counter()
        network.on_grid(image)
        _wait(image.device)
    return time.perf_counter() - begun


def _image(network: Network, size: Sequence[int]) -> Tensor:
    device = next(network.parameters()).device
    return torch.zeros((1, network.in_channels, *size), device=device)


def _wait(device: torch.device) -> None:
    if device.type in {"cuda", "mps"}:
        getattr(torch, device.type).synchronize()
