"""Tiled inference against one whole-image forward pass: time ratio and largest difference of the logits.

    python benchmarks/tiling.py [--side 1024] [--rounds 5] [--threads 1]

Both are run in turns, in shuffled order, in this one process; the ratio of each round is taken of CPU
times, and the median of the ratios is printed with its range.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import numpy as np
import torch

import napari_unet as nu

TILES = (128, 256, 512)


def main() -> None:
    """Print one line a tile size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = nu.load_model("nuclei").with_spec(activation="none")
    image = np.random.default_rng(0).gamma(2, 50, (args.side - 13, args.side + 7)).astype(np.float32)
    whole = nu.predict(model, image, tile=4 * args.side)
    print(f"nuclei, {image.shape[0]} x {image.shape[1]} pixels, {args.threads} thread(s), {args.rounds} rounds")
    seconds: dict[int, list[float]] = {}
    error: dict[int, float] = {}
    for _ in range(args.rounds):
        for tile in random.sample((0, *TILES), k=len(TILES) + 1):
            found, spent = timed(lambda tile=tile: nu.predict(model, image, tile=tile or 4 * args.side))
            seconds.setdefault(tile, []).append(spent)
            error[tile] = max(error.get(tile, 0.0), float(np.abs(found - whole).max()))
    for tile in TILES:
        ratios = np.array(seconds[tile]) / np.array(seconds[0])
        print(
            f"tile {tile:4}: time over whole image {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}), "
            f"largest logit difference {error[tile]:.1e} (logits have a spread of {whole.std():.1f})"
        )


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Run and return the result with the CPU seconds of this process."""
    begun = time.process_time()
    return work(), time.process_time() - begun


if __name__ == "__main__":
    main()
