"""The whole pipeline, from file to file, against one forward pass over the whole image; inference.py runs it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from cases import Peak, fold_modules, forward, operations, real_image, settle, timed

import napari_unet as nu
from napari_unet.events import TileDone
from napari_unet.imaging.image import open_image
from napari_unet.inference.pipeline import predict_events

CHUNK = 512
WHOLE = "network, whole image, folded"


def measure(rounds: int, peak: Peak, side: int, only: str) -> None:
    """Print a table for the bundled model, one for a network of 32 channels, and the time to the first piece.

    `only` is a part of the title.
    """
    pixels = real_image((side, side))
    settled = nu.new_model("unet", classes=("background", "foreground"), width=32)
    settle(settled.network)
    for title, model in (
        ("pipeline, nuclei, objects", nu.load_model("nuclei")),
        ("pipeline, U-Net, 32 channels, classes", settled),
    ):
        if only in title:
            compare(title, model, pixels, (rounds, peak))
    if only in "pipeline, first piece":
        first_piece(pixels, rounds)


def compare(title: str, model: nu.Model, pixels: np.ndarray, how: tuple[int, Peak]) -> None:
    """Time all ways in turns and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        ways = all_ways(model, pixels, Path(folder))
        spent: dict[str, list[Any]] = {name: [] for name in ways}
        peaks = []
        for work in ways.values():
            work()
        for _ in range(how[0]):
            rates = []
            for name in random.sample(list(ways), len(ways)):
                rates.append(how[1].sample())
                spent[name].append(timed(ways[name])[1])
            peaks.append(np.mean(rates))
    least = operations(model.network, pixels.shape) / np.array(peaks)
    shape = " x ".join(map(str, pixels.shape))
    print(f"\n{title}, {shape} pixels, {torch.get_num_threads()} thread(s)")
    print(f"{'':38} {'time / whole':>12} {'range':>13} {'wall s':>7} {'wall / whole':>12} {'of peak':>8}")
    base, clock = (np.array([getattr(one, kind) for one in spent[WHOLE]]) for kind in ("cpu", "wall"))
    for name, found in spent.items():
        cpu, wall = (np.array([getattr(one, kind) for one in found]) for kind in ("cpu", "wall"))
        span = f"{(cpu / base).min():.2f}-{(cpu / base).max():.2f}"
        print(
            f"{name:38} {np.median(cpu / base):12.2f} {span:>13} {np.median(wall):7.2f} "
            f"{np.median(wall / clock):12.2f} {np.median(least / cpu):8.2f}",
            flush=True,
        )


def all_ways(model: nu.Model, pixels: np.ndarray, folder: Path) -> dict[str, Callable[[], object]]:
    """Return by name what is to be compared."""
    import zarr

    folded = fold_modules(model.network.eval())
    image = torch.from_numpy(pixels.astype(np.float32) / 255)[None, None]
    lead, options = (len(model.spec.classes),), {"overwrite": True}
    source = zarr.create_array(folder / "image.zarr", data=pixels, chunks=(CHUNK, CHUNK), **options)
    tifffile.imwrite(folder / "image.tif", pixels)

    def predict(kind: str) -> None:
        out = zarr.create_array(
            folder / "out.zarr", shape=lead + pixels.shape, chunks=(*lead, CHUNK, CHUNK), dtype=kind, **options
        )
        nu.predict(model, source, out=out)

    def segment() -> None:
        out = zarr.create_array(
            folder / "labels.zarr", shape=pixels.shape, chunks=(CHUNK, CHUNK), dtype="u4", **options
        )
        nu.segment(model, source, out=out)

    def segment_tiff() -> None:
        found = nu.read_image(folder / "image.tif")
        nu.save_masks(folder / "labels.tif", nu.segment(model, found))

    return {
        WHOLE: lambda: forward(folded, image),
        "predict, in memory": lambda: nu.predict(model, pixels),
        "predict, Zarr to Zarr, float32": lambda: predict("f4"),
        "predict, Zarr to Zarr, uint8": lambda: predict("u1"),
        "segment, Zarr to Zarr": segment,
        "segment, TIFF to TIFF": segment_tiff,
    }


def first_piece(pixels: np.ndarray, rounds: int) -> None:
    """Print how long it takes until the first piece of the result is there, by the clock and in CPU time."""
    nu.predict(nu.load_model("nuclei"), pixels[:64, :64])
    cold, warm = [], []
    for _ in range(rounds):
        model = nu.load_model("nuclei")
        cold.append(timed(lambda model=model: until_first_piece(model, pixels))[1])
        warm.append(timed(lambda model=model: until_first_piece(model, pixels))[1])
    print(f"\nfirst piece, nuclei, {' x '.join(map(str, pixels.shape))} pixels, {torch.get_num_threads()} thread(s)")
    for name, found in (("first image of a size", cold), ("the next one", warm)):
        wall, cpu = (1000 * np.array([getattr(one, kind) for one in found]) for kind in ("wall", "cpu"))
        print(
            f"{name:38} {np.median(wall):6.0f} ms ({wall.min():.0f} to {wall.max():.0f}), CPU {np.median(cpu):.0f} ms"
        )


def until_first_piece(model: nu.Model, pixels: np.ndarray) -> None:
    """Predict until the first piece has been written."""
    work = predict_events(model, open_image(pixels))
    while not isinstance(next(work), TileDone):
        pass
    work.close()
