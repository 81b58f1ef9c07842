"""Which engine runs a network: the quickest that can."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import torch

from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.devices import usable_bytes
from napari_unet.inference.engines.base import Engine
from napari_unet.inference.engines.blended import BlendedEngine
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.means import Means
from napari_unet.inference.engines.tiled import TiledEngine
from napari_unet.inference.engines.turned import TurnedEngine, context_px
from napari_unet.inference.exact.tracing import UntraceableError
from napari_unet.inference.fast.engine import FastEngine
from napari_unet.inference.fast.quantizing import FastNetwork
from napari_unet.inference.running import Runner
from napari_unet.networks.registry import is_buildable
from napari_unet.weights.model import Model

# What is kept of a tile with a halo: large enough for the halo not to dominate.
TILE_PX = {2: {"cpu": 512, "mps": 1024, "cuda": 2048}, 3: {"cpu": 64, "mps": 96, "cuda": 160}}
# Planes are run together on GPUs only, up to so many pixels: on a CPU it gains nothing.
BATCH_PX = {"cpu": 0, "mps": 2**20, "cuda": 2**23}
# Windows that are blended are run together up to so many pixels: enough to keep a GPU busy.
WINDOWS_PX = {"cpu": 0, "mps": 2**18, "cuda": 2**20}
# Features of a strip may take so much memory; a wider image is done in columns. The process takes about twice as much,
# as the system's allocator keeps and scatters what strips gave back.
STRIP_BYTES = {"cpu": 80 * 2**20, "mps": 2**30}
# Of the free memory of a GPU, for features. The rest is for what its libraries need beside them.
FREE_SHARE = 0.5
# GPU kernels count the elements of a tensor with 32 bits.
MOST_ELEMENTS = 2**31
# Of the memory for features, for the mean of what turned images give, beside them.
TURNED_SHARE = 0.5


def planes_at_once(device: torch.device, plane_px: int, share: float = 1.0) -> int:
    """How many planes a 2D network is given at once, with a share of the memory."""
    return max(1, int(BATCH_PX[device.type] * share) // plane_px)


def choose_engine(
    model: Model,
    size: Sequence[int],
    means: Means,
    tile: int | None = None,
    planes: int = 1,
    fast: FastNetwork | None = None,
) -> Engine:
    """Choose the exact engine where it can be had, else blended windows or tiles.

    Only a graph tells whether a network that interpolates by the size of the whole image can be exact, so the exact
    engine is tried first. Of a program of others nothing is known but how far it was seen to look: tiles have that
    as their halo.

    Parameters
    ----------
    model : Model
    size : sequence of int
        ([Z,] Y, X) of the plane or volume, on the network's grid.
    means : Means
    tile : int, optional
        Largest side of a piece; None chooses.
    planes : int
        That are run at once.
    fast : FastNetwork, optional
        Integers to compute with on the CPU.
    """
    if fast is not None and means.device.type == "cpu":
        return FastEngine.of(fast, model, size, means.share, tile)
    runner = Runner(model, means.device, means.precision)
    if is_buildable(model.spec.network.variant):  # a program of others has no layers to look at
        try:
            return ExactEngine.of(runner, size, int(budget_bytes(means) / planes), tile)
        except UntraceableError:
            if not runner.network.local:
                return _blended(runner, size, means, tile, planes)
    smaller = means.share ** (1 / runner.dims)
    side = tile or TILE_PX[runner.dims][means.device.type]
    return TiledEngine.of(runner, size, max(1, round(side * smaller)))


def configured_engine(
    model: Model, size: Sequence[int], config: InferenceConfig, means: Means, fast: FastNetwork | None = None
) -> Engine:
    """Choose the engine that a configuration asks for, for a plane or volume of a size ([Z,] Y, X)."""
    planes = planes_at_once(means.device, prod(size), means.share) if model.spec.dims == 2 else 1
    one = partial(choose_engine, model, means=means, tile=config.tile, planes=planes, fast=fast)
    if config.turns == "none":
        return one(size)
    most_px = int(budget_bytes(means) * TURNED_SHARE / planes / (4 * model.spec.network.out_channels))
    flows = model.activation == "flows"
    return TurnedEngine.of(one, size, config.turns, context_px(model.network), most_px, flows=flows)


def _blended(runner: Runner, size: Sequence[int], means: Means, tile: int | None, planes: int) -> BlendedEngine:
    budget, batch_px = int(budget_bytes(means) / planes), WINDOWS_PX[means.device.type] // planes
    sides = runner.model.spec.patch_px if tile is None else (tile,) * runner.dims
    return BlendedEngine.of(runner, size, budget, sides, batch_px)


def budget_bytes(means: Means) -> float:
    """Memory that features may take."""
    if means.device.type != "cuda":
        return means.share * STRIP_BYTES[means.device.type]
    dtype: torch.dtype = getattr(torch, means.precision)
    # So no tensor can have more elements than its kernels can count.
    most = MOST_ELEMENTS * dtype.itemsize
    return means.share * min(FREE_SHARE * usable_bytes(means.device), most)
