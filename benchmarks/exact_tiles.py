"""Compare tiled prediction with one forward pass over the whole image, in logits.

python benchmarks/exact_tiles.py [--model nuclei] [--sides 1021 777]

On the CPU, because predictions on CUDA are in float16.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.imaging.statistics import statistics_events


def main() -> None:
    """Print the largest difference for each size of tile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nuclei", help="a model that sees planes and takes one channel")
    parser.add_argument("--sides", type=int, nargs=2, default=(1021, 777), metavar=("Y", "X"))
    args = parser.parse_args()
    model = nu.load_model(args.model).with_spec(activation="none")  # predict then gives logits
    pixels = np.random.default_rng(0).gamma(2, 100, size=args.sides).astype(np.uint16)
    whole = forward(model, pixels)
    print(f"{args.model} on {args.sides[0]} x {args.sides[1]} pixels, CPU, float32")
    print(f"logits between {whole.min():.1f} and {whole.max():.1f}")
    print("tile  largest difference")
    for tile in (128, 256, 512):
        tiled = nu.predict(model, pixels, tile=tile, device="cpu")
        print(f"{tile:4}  {np.abs(tiled - whole).max():.1e}")


def forward(model: nu.Model, pixels: np.ndarray) -> np.ndarray:
    """Run the network once on the whole image, as training sees it."""
    image = open_image(pixels)
    statistics = finish(statistics_events(image, model.spec.normalization))
    values = statistics.normalize(pixels[None, None], t=0)[:, 0]  # (C, Y, X)
    network = model.network.cpu().eval()
    with torch.inference_mode():
        return network(torch.from_numpy(values[None]))[0].numpy()


if __name__ == "__main__":
    main()
