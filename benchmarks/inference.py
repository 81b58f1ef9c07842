"""What tiling costs in time and in exactness: this package's strips and windows, and MONAI's sliding windows.

    python benchmarks/inference.py [--rounds 5] [--threads 1] [--quick] [--keep-memory] [--only TITLE]

All ways are run in turns, in shuffled order, in this one process. The ratio of each round is that of the
CPU times of the process to the time of one forward pass of the same network over the whole image, with its
batch normalization folded into its convolutions and channels last; printed are the median of the ratios and their
range, the median of the wall-clock times, the largest difference of the logits in units of their standard
deviation, and how many labels per million change. Weights are random.

With --keep-memory glibc does not give freed memory back to the system, which helps large tensors most.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet.inference.exact.executor import compute
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, Window
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.tiles import plan_tiles
from napari_unet.networks.base import Network
from napari_unet.networks.blocks import Unit
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Case:
    """A network and an image."""

    title: str
    variant: str
    width: int
    size: tuple[int, ...]
    tile: int
    rows: tuple[int, ...]


CASES = (
    Case("2D, 32 channels", "unet", 32, (1024, 1024), 256, (64, 128)),
    Case("2D, 64 channels", "unet", 64, (768, 768), 256, (64, 128)),
    Case("3D, 16 channels", "unet-3d", 16, (96, 128, 128), 64, (8, 16)),
)
QUICK = (
    Case("2D, 16 channels", "unet", 16, (512, 512), 256, (64, 128)),
    Case("3D, 8 channels", "unet-3d", 8, (48, 64, 64), 32, (8, 16)),
)


@dataclass
class Timing:
    """What was measured of one way."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    error: float = 0.0
    flips: float = 0.0


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--only", default="", help="part of the title of a case")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.keep_memory:
        keep_memory()
    for case in QUICK if args.quick else CASES:
        if args.only in case.title:
            measure(case, args.rounds)


def keep_memory() -> None:
    """Let glibc take no memory by mmap, and give none back."""
    libc = ctypes.CDLL("libc.so.6")
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
        libc.mallopt(option, value)


def measure(case: Case, rounds: int) -> None:
    """Time all ways in turns and print a table."""
    torch.manual_seed(0)
    network = build_network(case.variant, 1, 2, width=case.width).eval()
    settle(network)
    image = torch.randn((1, 1, *case.size))
    ways = all_ways(case, network, image)
    reference = ways["whole image, folded"]()
    timings = {name: Timing() for name in ways}
    for turn in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            cpu, wall = time.process_time(), time.perf_counter()
            logits = ways[name]()
            timings[name].cpu.append(time.process_time() - cpu)
            timings[name].wall.append(time.perf_counter() - wall)
            if turn == 0:
                timings[name].error = float((logits - reference).abs().max() / reference.std())
                timings[name].flips = float((logits.argmax(1) != reference.argmax(1)).double().mean()) * 1e6
    print(f"\n{case.title}, {' x '.join(map(str, case.size))} pixels, {torch.get_num_threads()} thread(s)")
    print(f"{'':34} {'time / whole':>12} {'range':>13} {'wall s':>7} {'error':>8} {'labels/M':>9}")
    base = np.array(timings["whole image, folded"].cpu)
    for name, timing in timings.items():
        ratios = np.array(timing.cpu) / base
        span = f"{ratios.min():.2f}-{ratios.max():.2f}"
        wall = np.median(timing.wall)
        print(f"{name:34} {np.median(ratios):12.2f} {span:>13} {wall:7.2f} {timing.error:8.0e} {timing.flips:9.0f}")


def settle(network: Network) -> None:
    """Give batch normalization something to do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)


def all_ways(case: Case, network: Network, image: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return by name what is to be compared, each giving the logits of the whole image."""
    folded = fold_modules(network)
    graph = prepare(network, case.size, torch.device("cpu"))
    tile = case.tile
    ways: dict[str, Callable[[], Tensor]] = {
        "whole image, folded": lambda: forward(folded, image),
        "whole image, as it is": lambda: forward(network, image),
    }
    for rows in case.rows:
        ways[f"ours, strips of {rows}"] = lambda rows=rows: in_strips(graph, image, rows)
    ways[f"ours, windows of {tile}"] = lambda: in_windows(graph, image, tile)
    ways[f"ours, windows of {2 * tile}"] = lambda: in_windows(graph, image, 2 * tile)
    ways[f"plain halo, tiles of {tile}, folded"] = lambda: with_halo(folded, image, tile)
    for overlap in (0.5, 0.25):
        ways[f"MONAI Gaussian {overlap}, folded"] = lambda overlap=overlap: monai(
            folded, image, tile, overlap, "gaussian"
        )
    ways["MONAI constant 0.25, as it is"] = lambda: monai(network, image, tile, 0.25, "constant", batch=4)
    return ways


def fold_modules(network: Network) -> Network:
    """Return a copy whose convolutions do the work of their batch normalization, with channels last."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, Unit):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return copied.to(memory_format=LAST[network.dims])


@torch.inference_mode()
def forward(network: nn.Module, image: Tensor) -> Tensor:
    """Run a network on a whole image, in the layout of its weights."""
    last = LAST[image.ndim - 2]
    weight = next(x for x in network.parameters() if x.ndim == image.ndim and x.shape[1] > 1)
    if weight.is_contiguous(memory_format=last):
        image = torch.empty_like(image, memory_format=last).copy_(image)
    logits: Tensor = network(image)
    return logits


def at(x: Tensor, window: Window) -> Tensor:
    """View a window."""
    return x[(..., *(slice(*interval) for interval in window))]


def in_strips(graph: Graph, image: Tensor, rows: int) -> Tensor:
    """Put all strips together."""
    logits = torch.empty((1, graph.nodes[-1].lead[1], *graph.size))
    for window, found in stream(graph, lambda window: at(image, window), rows=rows):
        at(logits, window).copy_(found)
    return logits


def in_windows(graph: Graph, image: Tensor, tile: int) -> Tensor:
    """Put windows together that were computed one by one."""
    logits = torch.empty((1, graph.nodes[-1].lead[1], *graph.size))
    for plan in plan_tiles(graph.size, tile, 0, 1):
        window = tuple(Interval(part.start, part.stop) for part in plan.write)
        at(logits, window).copy_(compute(graph, lambda window: at(image, window), window))
    return logits


def with_halo(network: Network, image: Tensor, tile: int) -> Tensor:
    """Put tiles together whose surroundings were computed too, and cut off."""
    known = receptive_field(network)
    logits = torch.empty((1, network.out_channels, *image.shape[2:]))
    for plan in plan_tiles(image.shape[2:], tile, known.halo, known.stride):
        logits[(..., *plan.write)] = forward(network, image[(..., *plan.read)])[(..., *plan.crop)]
    return logits


@torch.inference_mode()
def monai(network: Network, image: Tensor, tile: int, overlap: float, mode: str, batch: int = 1) -> Tensor:
    """Let MONAI blend overlapping windows."""
    from monai.inferers import sliding_window_inference

    windows = (tile,) * network.dims
    blended: Tensor = sliding_window_inference(
        image, windows, batch, lambda x: forward(network, x), overlap=overlap, mode=mode
    )
    return blended


if __name__ == "__main__":
    main()
