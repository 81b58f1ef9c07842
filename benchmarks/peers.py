"""How others tile: the packages themselves where they can be had, else their algorithms written again ("-like")."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]

# Each description of a model states its own; these are our choice, an eighth of the block.
HALO = {2: 32, 3: 8}


@torch.inference_mode()
def monai(run: Run, image: Tensor, tile: int, overlap: float, mode: str, batch: int = 4) -> Tensor:
    """Let MONAI blend overlapping windows."""
    from monai.inferers import sliding_window_inference

    windows = (tile,) * (image.ndim - 2)
    blended: Tensor = sliding_window_inference(image, windows, batch, run, overlap=overlap, mode=mode)
    return blended


# --- Cellpose (core.run_net, transforms.make_tiles and average_tiles, 4.2.1) ----------------------


def tapered(run: Run, image: Tensor, tile: int, overlap: float = 0.1, batch: int = 8) -> Tensor:
    """Blend evenly spread tiles with weights that fall off at their edges, as Cellpose does for a plane.

    All tiles are cut before the first is run, and averaged when the last is done.

    Parameters
    ----------
    run : callable
        From (N, 1, Y, X) to (N, K, Y, X).
    image : (1, 1, Y, X) float32
    tile : int
        Side in pixels.
    overlap : float
        Of a tile.
    batch : int
        Tiles at once.
    """
    sides = [min(tile, size) for size in image.shape[2:]]
    starts = [_spread(size, side, overlap) for size, side in zip(image.shape[2:], sides, strict=True)]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    parts = torch.stack([image[0, :, y : y + sides[0], x : x + sides[1]] for y, x in corners])
    found = torch.cat([run(parts[first : first + batch]) for first in range(0, len(parts), batch)]).numpy()
    total = np.zeros((found.shape[1], *image.shape[2:]), np.float32)
    count = np.zeros(image.shape[2:])
    weights = _taper(sides[0])[:, None] * _taper(sides[1])
    for (y, x), part in zip(corners, found, strict=True):
        place = (slice(y, y + sides[0]), slice(x, x + sides[1]))
        total[:, *place] += part * weights
        count[place] += weights
    total /= count
    return torch.from_numpy(total)[None]


def _spread(size: int, side: int, overlap: float) -> list[int]:
    """Return the starts of tiles, evenly spread."""
    count = 1 if size <= side else int(np.ceil((1 + 2 * overlap) * size / side))
    return [int(start) for start in np.linspace(0, size - side, count)]


def _taper(side: int) -> np.ndarray:
    """Return a logistic fall-off of 7.5 pixels, half of it 20 pixels from the edge of a tile of at least 224."""
    longest = max(224, side)
    from_middle = np.abs(np.arange(longest) - (longest - 1) / 2)
    weights = 1 / (1 + np.exp((from_middle - (longest / 2 - 20)) / 7.5))
    first = longest // 2 - side // 2
    return weights[first : first + side]


# --- bioimageio.core ------------------------------------------------------------------------------


def find_bioimageio(folder: str | None) -> str | None:
    """Return the version of `bioimageio.core`, if it can be imported, from a folder of its own if need be.

    The folder is searched last, so that nothing else changes.
    """
    if folder:
        sys.path.append(str(Path(folder).resolve()))
    try:
        import bioimageio.core
        from loguru import logger
    except ImportError:
        return None
    logger.disable("bioimageio")
    return str(bioimageio.core.__version__)


def bioimageio(run: Run, image: Tensor, block: int) -> Tensor:
    """Tile as `predict_sample_with_fixed_blocking` does, with its own cutting, padding, cropping and putting together.

    What its `PredictionPipeline` does between cutting and putting together (a network behind an adapter that takes
    and gives numpy arrays) is done here, so that no model has to be described. Blocks are read with a
    halo, reflected at the border, and cropped.

    Parameters
    ----------
    run : callable
        From (1, 1, ...) to (1, K, ...).
    image : (1, 1, [Z,] Y, X) float32
    block : int
        Side of what is read, halo included.
    """
    from bioimageio.core.digest_spec import LinearSampleAxisTransform
    from bioimageio.core.sample import Sample
    from bioimageio.core.tensor import Tensor as Named

    space = ["z", "y", "x"][-(image.ndim - 2) :]
    names = ("batch", "channel", *space)
    halo = dict.fromkeys(space, HALO[len(space)])
    sample = Sample(members={"image": Named(image.numpy(), dims=names)}, stat={}, id=None)
    shape = {"batch": 1, "channel": 1, **{a: min(block, n) for a, n in zip(space, image.shape[2:], strict=True)}}
    _, blocks = sample.split_into_blocks({"image": shape}, halo={"image": halo}, pad_mode="symmetric")
    to_output = None
    whole: Sample | None = None
    for part in blocks:
        values = run(torch.from_numpy(np.ascontiguousarray(part.members["image"].to_numpy()))).numpy()
        if to_output is None:
            same = {a: LinearSampleAxisTransform(axis=a, scale=1, offset=0, member="image") for a in ("batch", *space)}
            to_output = {"logits": {"batch": same["batch"], "channel": values.shape[1], **same}}
        meta = part.get_transformed_meta(to_output)
        found = meta.with_data({"logits": Named(values, dims=names)}, stat={})
        if whole is None:
            whole = Sample.from_blocks([found])
        else:
            whole.set_block(found)
    assert whole is not None
    return torch.from_numpy(whole.members["logits"].to_numpy())
