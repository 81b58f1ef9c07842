"""Tiled prediction against one forward pass over the whole image: time and error of each way; then the whole pipeline.

    python benchmarks/inference.py [--rounds 5] [--threads 1] [--quick] [--keep-memory] [--only TITLE] [--ways NAME]

All ways are run in turns, in shuffled order, in this one process. The ratio of each round is that of the
CPU times of the process to the time of one forward pass of the same network over the whole image, with its
batch normalization folded into its convolutions and channels last. Printed are

- the median of the ratios and their range, and the median of the wall-clock times;
- "of peak": the operations of one forward pass over the CPU time, as a part of the speed at which matrices are
  multiplied, which is measured before each turn. Work done twice does not count;
- the largest difference of the logits in units of their standard deviation, and of the probabilities, and how many
  labels of a million change.

Weights are random but for the bundled model. At the end comes the whole pipeline, from file to file ("pipeline").

With --keep-memory glibc does not give freed memory back to the system, which helps large tensors most.
With --peers DIR packages that are not installed are looked for there:

    python -m pip install --target DIR bioimageio.core
"""

from __future__ import annotations

import argparse
import ctypes
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import peers
import pipeline
import torch
from cases import CASES, QUICK, Case, Peak, fold_modules, forward, make, operations, timed
from torch import Tensor

from napari_unet.inference.exact.executor import compute
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, Window
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.tiles import plan_tiles
from napari_unet.networks.base import Network
from napari_unet.networks.field import receptive_field

WHOLE = "whole image, folded"
Ways = dict[str, Callable[[], Tensor]]


@dataclass
class Timing:
    """What was measured of one way."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    logit_error: float = 0.0
    probability_error: float = 0.0
    flips: float = 0.0

    def compare(self, logits: Tensor, reference: Tensor) -> None:
        """Note how far logits are from those of the whole image."""
        self.logit_error = float((logits - reference).abs().max() / reference.std())
        self.probability_error = float((logits.softmax(1) - reference.softmax(1)).abs().max())
        self.flips = float((logits.argmax(1) != reference.argmax(1)).double().mean()) * 1e6


def main() -> None:
    """Print a table for each case, and one for the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--only", default="", help='part of the title of a case, such as "large" or "pipeline"')
    parser.add_argument("--ways", default="", help="part of the names of ways, beside the whole image")
    parser.add_argument("--peers", metavar="DIR", help="where bioimageio.core lies, if it is not installed")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.keep_memory:
        keep_memory()
    version = peers.find_bioimageio(args.peers)
    print(f"bioimageio.core {version}" if version else "bioimageio.core is not installed; see --peers.")
    peak = Peak()
    print(peak)
    for case in QUICK if args.quick else CASES:
        if args.only in case.title:
            measure(case, args.rounds, peak, ways_of(case, args.ways, with_bioimageio=version is not None))
    pipeline.measure(args.rounds, peak, 512 if args.quick else 2048, args.only)


def keep_memory() -> None:
    """Let glibc take no memory by mmap, and give none back."""
    libc = ctypes.CDLL("libc.so.6")
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28)):
        libc.mallopt(option, value)


def ways_of(case: Case, wanted: str, *, with_bioimageio: bool) -> tuple[Network, Ways]:
    """Return the network of a case, and by name what is to be compared."""
    network, image = make(case)
    ways = our_ways(case, network, image)
    ways.update(peers_ways(case, network, image, with_bioimageio=with_bioimageio))
    return network, {name: way for name, way in ways.items() if name == WHOLE or wanted in name}


def measure(case: Case, rounds: int, peak: Peak, what: tuple[Network, Ways]) -> None:
    """Time all ways in turns and print a table."""
    network, ways = what
    reference = ways[WHOLE]()
    timings = {name: Timing() for name in ways}
    peaks = []
    for turn in range(rounds):
        rates = []
        for name in random.sample(list(ways), len(ways)):
            rates.append(peak.sample())
            logits, spent = timed(ways[name])
            timings[name].cpu.append(spent.cpu)
            timings[name].wall.append(spent.wall)
            if turn == 0:
                timings[name].compare(logits, reference)
            del logits
        peaks.append(np.mean(rates))
    print_table(case, timings, operations(network, case.size) / np.array(peaks))


def print_table(case: Case, timings: dict[str, Timing], least: np.ndarray) -> None:
    """Print a line for each way; `least` are the seconds that the operations would take at the peak, of each round."""
    print(f"\n{case.title}, {' x '.join(map(str, case.size))} pixels, {torch.get_num_threads()} thread(s)")
    print(
        f"{'':38} {'time / whole':>12} {'range':>13} {'wall s':>7} {'of peak':>8} "
        f"{'logits':>8} {'prob.':>8} {'labels/M':>9}"
    )
    base = np.array(timings[WHOLE].cpu)
    for name, timing in timings.items():
        cpu = np.array(timing.cpu)
        ratios = cpu / base
        print(
            f"{name:38} {np.median(ratios):12.2f} {f'{ratios.min():.2f}-{ratios.max():.2f}':>13} "
            f"{np.median(timing.wall):7.2f} {np.median(least / cpu):8.2f} "
            f"{timing.logit_error:8.0e} {timing.probability_error:8.0e} {timing.flips:9.0f}",
            flush=True,
        )


# --- ways ---------------------------------------------------------------------------------------


def our_ways(case: Case, network: Network, image: Tensor) -> Ways:
    """Return by name the whole image and our ways, each giving the logits of the whole image."""
    folded, tile = fold_modules(network), case.tile
    graph = prepare(network, case.size, torch.device("cpu"))
    ways: Ways = {WHOLE: lambda: forward(folded, image)}
    if case.all:
        ways["whole image, as it is"] = lambda: forward(network, image)
    for rows in case.rows:
        ways[f"ours, strips of {rows}"] = lambda rows=rows: in_strips(graph, image, rows)
    if case.all:
        ways[f"ours, windows of {tile}"] = lambda: in_windows(graph, image, tile)
        ways[f"ours, windows of {2 * tile}"] = lambda: in_windows(graph, image, 2 * tile)
        ways[f"plain halo, tiles of {tile}, folded"] = lambda: with_halo(folded, image, tile)
    return ways


def peers_ways(case: Case, network: Network, image: Tensor, *, with_bioimageio: bool) -> Ways:
    """Return by name the ways of others: with our folded network, which is quicker than what they would run."""
    folded, tile = fold_modules(network), case.tile
    ways: Ways = {}
    for overlap in (0.5, 0.25):
        ways[f"MONAI Gaussian {overlap}, folded"] = lambda overlap=overlap: peers.monai(
            lambda x: forward(folded, x), image, tile, overlap, "gaussian"
        )
    ways["MONAI constant 0.25, as it is"] = lambda: peers.monai(
        lambda x: forward(network, x), image, tile, 0.25, "constant"
    )
    if with_bioimageio:
        halo = peers.HALO[network.dims]
        ways[f"bioimageio.core, halo {halo}, folded"] = lambda: peers.bioimageio(
            lambda x: forward(folded, x), image, tile
        )
    if network.dims == 2:
        ways["Cellpose-like taper 0.1, folded"] = lambda: peers.tapered(lambda x: forward(folded, x), image, tile)
    return ways


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


if __name__ == "__main__":
    main()
