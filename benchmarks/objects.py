"""Objects block by block against objects of the whole image: seconds, objects a second, memory, and whether they agree.

    python benchmarks/objects.py [--rounds 3] [--side 4096] [--depth 64] [--width 512] [--network]

Dense touching cells with background, interior and border probabilities; planes also with flows. Both ways are run in
turns, in shuffled order, in this one process; the medians of CPU seconds are printed with their range. Memory is the
peak that Python allocates beyond probabilities and labels, measured in a run of its own. With ``--network``, the time
that the bundled 2D network takes for as many pixels, on one thread, is printed beside.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from scipy.spatial import cKDTree

from napari_unet.events import finish
from napari_unet.objects.blocks import Part
from napari_unet.objects.blockwise import label_in_blocks
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode
from napari_unet.objects.large import cut


def main() -> None:
    """Print a few lines for a plane and for a volume."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--network", action="store_true")
    args = parser.parse_args()
    compare((args.side, args.side), args.rounds)
    compare((args.side, args.side), args.rounds, flows=True)
    compare((args.depth, args.width, args.width), args.rounds)
    if args.network:
        print(f"the network: {network_seconds(args.side):.1f} s for {args.side} x {args.side} pixels")


def compare(shape: tuple[int, ...], rounds: int, *, flows: bool = False) -> None:
    """Label dense cells both ways."""
    probabilities = dense_cells(shape, np.random.default_rng(0), flows=flows)
    ways = {"whole image": whole, "block by block": blockwise}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    labels = {}
    for _ in range(rounds):
        for name in random.sample(list(ways), k=len(ways)):
            labels[name], spent = timed(lambda way=ways[name]: way(probabilities))
            seconds[name].append(spent)
    count = int(labels["whole image"].max())
    changed = int((labels["whole image"] != labels["block by block"]).sum())
    by = " by flows" if flows else ""
    print(f"{' x '.join(map(str, shape))}, {count} objects{by}; pixels that differ: {changed}")
    for name, spent in seconds.items():
        middle, peak = float(np.median(spent)), peak_mb(ways[name], probabilities)
        print(
            f"  {name:15}: {middle:6.2f} s ({min(spent):.2f} to {max(spent):.2f}), {count / middle:8.0f} objects/s, "
            f"{probabilities[0].size / middle / 1e6:5.2f} Mpx/s, peak memory {peak:5.0f} MB"
        )


def whole(probabilities: np.ndarray) -> np.ndarray:
    """Label at once."""
    return decode(probabilities, spec(probabilities), ObjectOptions())[0]


def blockwise(probabilities: np.ndarray) -> np.ndarray:
    """Label block by block."""
    labels = np.zeros(probabilities.shape[1:], np.uint32)
    large = cut(Part(probabilities, ()), Part(labels, ()), labels.shape)
    finish(label_in_blocks(large, spec(probabilities), ObjectOptions()))
    return labels


def spec(probabilities: np.ndarray) -> SimpleNamespace:
    """Describe the outputs."""
    activation = "flows" if len(probabilities) > 3 else "softmax"
    return SimpleNamespace(meaning="instances", activation=activation, dims=probabilities.ndim - 1)


def dense_cells(
    shape: tuple[int, ...], rng: np.random.Generator, spacing: float = 24, *, flows: bool = False
) -> np.ndarray:
    """Return maps of cells that fill most of the image, one a `spacing` to the power of the dimensions."""
    base = tuple(min(size, 512 if len(shape) == 2 else 128) for size in shape)
    points = rng.uniform(0, base, (int(np.prod(base) / spacing ** len(base)), len(base)))
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in base), indexing="ij"), axis=-1)
    distances, owners = cKDTree(points).query(grid, k=2)
    nearest, second = np.moveaxis(distances.astype(np.float32), -1, 0)
    radius = 0.8 * spacing
    logits = np.stack([nearest - radius, np.minimum((second - nearest) / 2, radius - nearest) - 2, 0 * nearest])
    repeats = [-(-size // part) for size, part in zip(shape, base, strict=True)]
    logits = np.tile(logits, (1, *repeats))[(slice(None), *(slice(0, size) for size in shape))]
    for plane in range(2):
        logits[plane] += 0.3 * rng.standard_normal(shape, dtype=np.float32)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    if not flows:
        return logits
    way = np.moveaxis(points[owners[..., 0]] - grid, -1, 0) / np.maximum(nearest, 1)
    moves = np.tile((1 + way.astype(np.float32)) / 2, (1, *repeats))[(slice(None), *(slice(0, size) for size in shape))]
    moves += 0.1 * rng.standard_normal(moves.shape, dtype=np.float32)
    return np.concatenate([logits, np.clip(moves, 0, 1)])


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Run and return the result with the CPU seconds of this process."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def peak_mb(way: Callable[[np.ndarray], np.ndarray], probabilities: np.ndarray) -> float:
    """Return the peak that a way allocates beyond the labels."""
    tracemalloc.start()
    labels = way(probabilities)
    peak = tracemalloc.get_traced_memory()[1] - labels.nbytes
    tracemalloc.stop()
    return peak / 1e6


def network_seconds(side: int) -> float:
    """Return the CPU seconds of the bundled 2D network for side x side pixels, from a quarter of a side."""
    import torch

    import napari_unet as nu

    torch.set_num_threads(1)
    model = nu.load_model("nuclei")
    image = np.random.default_rng(0).gamma(2, 50, (side // 4, side // 4)).astype(np.float32)
    nu.predict(model, image[:64, :64])
    return 16 * timed(lambda: nu.predict(model, image))[1]


if __name__ == "__main__":
    main()
