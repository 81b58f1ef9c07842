"""What a network costs on an image, before anything runs on it."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.inference.config import Cost, InferenceConfig, Turns
from napari_unet.inference.devices import choose_device
from napari_unet.inference.engines.base import Engine
from napari_unet.inference.engines.blended import BlendedEngine
from napari_unet.inference.engines.choosing import choose_engine, configured_engine, planes_at_once
from napari_unet.inference.engines.exact import ExactEngine
from napari_unet.inference.engines.means import Means, first_means
from napari_unet.inference.engines.tiled import TiledEngine
from napari_unet.inference.engines.turned import TurnedEngine, context_px
from napari_unet.inference.exact.intervals import Window, size_of, whole
from napari_unet.inference.exact.memory import Ledger, weight_bytes
from napari_unet.networks.base import Network
from napari_unet.networks.registry import resolve_options
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.model import Model, model_from_spec
from napari_unet.weights.spec import ModelSpec

# Side of the window that is run to measure: large enough to keep all cores busy, over within a second.
PROBE_PX = {2: 256, 3: 48}
# Beside the network: chunks of a file that are kept and read ahead, and pieces that are being written.
AROUND_BYTES = 100 * 2**20


def estimate_cost(
    spec: NetworkSpec, size: Sequence[int], device: str = "auto", tile: int | None = None, turns: Turns = "none"
) -> Cost:
    """Estimate what a network costs on an image; runs a small window of it.

    The engine is the one that would run the image.

    Parameters
    ----------
    spec : NetworkSpec
    size : (T, Z, Y, X) of int
        Of the image.
    device : str
        "auto", "cpu", "mps", "cuda" or "cuda:N".
    tile : int, optional
        Largest side of a piece; None chooses.
    turns : "none" | "flips" | "all"
        Versions of the image that are averaged.

    Raises
    ------
    ModelError, DeviceError
        If there is no such network or device.
    """
    place, model = choose_device(device), _random_model(spec)
    means = first_means(place, "auto")
    times, depth, *plane = size
    planar = model.network.dims == 2
    grid = plane if planar else [depth, *plane]
    planes = min(depth, planes_at_once(place, prod(grid))) if planar else 1
    engine = configured_engine(model, grid, InferenceConfig(tile=tile, turns=turns), means)
    work = _work(engine, model.network, whole(grid), planes)
    probe = (PROBE_PX[model.network.dims],) * model.network.dims
    pixels = times * (depth if planar else 1) * work.pixels
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        operations=count_operations(_shadow(model.network), probe) / prod(probe) * pixels,
        memory_bytes=work.memory_bytes + (AROUND_BYTES if place.type == "cpu" else 0),
        seconds=_seconds(model, probe, means) / prod(probe) * pixels,
        tiles=times * (-(-depth // planes) if planar else 1) * work.pieces,
        device=str(place),
    )


def _random_model(spec: NetworkSpec) -> Model:
    classes = tuple(str(number) for number in range(spec.out_channels))
    dims = resolve_options(spec).dims
    described = ModelSpec(
        name=spec.variant, network=spec, dims=dims, classes=classes, meaning="semantic", activation="sigmoid"
    )
    return model_from_spec(described)


@dataclass(frozen=True, slots=True)
class _Work:
    """What has to be done for a plane or volume.

    Attributes
    ----------
    pieces : int
    pixels : float
        That are computed, those that are computed several times included.
    memory_bytes : int
        At once, weights included.
    """

    pieces: int
    pixels: float
    memory_bytes: int


def _work(engine: Engine, network: Network, window: Window, planes: int) -> _Work:
    """Work of an engine on a window of so many planes at once."""
    match engine:
        case ExactEngine():
            return _work_of_strips(engine, network, window, planes)
        case TiledEngine():
            seen = [size_of(tile) for tile in engine.seen(window)]
            memory = peak_bytes(_shadow(network), max(seen, key=prod), planes)
            return _Work(len(seen), sum(map(prod, seen)), memory)
        case BlendedEngine():
            return _work_of_windows(engine, network, window, planes)
        case TurnedEngine():
            return _work_of_turns(engine, network, window, planes)
        case _:
            pieces = engine.pieces(window)
            return _Work(len(pieces), prod(size_of(window)), 0)


def _work_of_strips(engine: ExactEngine, network: Network, window: Window, planes: int) -> _Work:
    plan, context = engine.plan(window), context_px(network)
    sides = [
        n if axis == plan.axis else n + 2 * context * (-(-n // side) - 1)
        for axis, (n, side) in enumerate(zip(size_of(window), plan.columns, strict=True))
    ]
    return _Work(len(engine.pieces(window)), prod(sides), weight_bytes(engine.graph) + planes * plan.peak_bytes)


def _work_of_windows(engine: BlendedEngine, network: Network, window: Window, planes: int) -> _Work:
    along = [
        [cover.windows[n].length for n in cover.touching(part)]
        for cover, part in zip(engine.covers, window, strict=True)
    ]
    memory = peak_bytes(_shadow(network), list(map(max, along)), planes * engine.at_once)
    return _Work(len(engine.pieces(window)), prod(map(sum, along)), memory)


def _work_of_turns(engine: TurnedEngine, network: Network, window: Window, planes: int) -> _Work:
    """Work of all members on all pieces, each of which they need with its surroundings."""
    pieces, size, context = engine.pieces(window), size_of(window), context_px(network)
    members = [_work(member, network, turn.window(window), planes) for turn, member in engine.members]
    seen = sum(prod(min(n + 2 * context, most) for n, most in zip(size_of(p), size, strict=True)) for p in pieces)
    pixels = sum(work.pixels for work in members) * seen / prod(size)
    return _Work(len(pieces), pixels, max(work.memory_bytes for work in members))


def _seconds(model: Model, probe: Sequence[int], means: Means) -> float:
    """Seconds that the engine takes for a small image, after one run that warms up."""
    engine = choose_engine(model, probe, means)
    for _ in range(2):
        begun = time.perf_counter()
        for _, values in engine.run(lambda w: torch.zeros((1, model.network.in_channels, *size_of(w))), whole(probe)):
            values.cpu()  # waits for the device
    return time.perf_counter() - begun


def _shadow(network: Network) -> Network:
    """Return the same network without numbers."""
    return copy.deepcopy(network).to("meta")


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


def peak_bytes(network: Network, size: Sequence[int], planes: int = 1) -> int:
    """Largest memory in use at once during a forward pass over an image of `size`, weights included.

    Parameters
    ----------
    network : Network
        On the "meta" device, where nothing is computed and no memory is taken.
    size : sequence of int
        ([Z,] Y, X).
    planes : int
        Images of that size at once.
    """
    ledger = Ledger()
    with torch.no_grad():
        image = _image(network, size, planes)
        with ledger:
            network.on_grid(image)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    return int(weights + image.nbytes + ledger.peak)


def _image(network: Network, size: Sequence[int], planes: int = 1) -> Tensor:
    device = next(network.parameters()).device
    return torch.zeros((planes, network.in_channels, *size), device=device)
