"""Variations of training patches, all from one explicit random generator."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor
from torch.nn import functional as F

ZOOM = (0.75, 1.3)
# Side of the crop from which a patch can be cut at any angle and zoom
REACH = math.sqrt(2) / ZOOM[0]


def cut_patch(image: Tensor, target: Tensor, size: tuple[int, ...], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Cut the centre of a crop, turned, zoomed and mirrored at random in the plane.

    Half of the patches are only mirrored and turned by right angles, so that the network also sees
    the image's own texture, without interpolation.

    Parameters
    ----------
    image : (C, [Z,] Y, X) float32
        A crop at least `REACH` times as large as the patch in Y and X.
    target : (K, [Z,] Y, X) float32
        Ids, and what counts: are not interpolated.
    size : tuple of int
        Side of the patch along each axis.
    rng : numpy Generator

    Returns
    -------
    image, target : patches of `size`
    """
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    if rng.random() < 0.5:
        image, target = _middle(image, size), _middle(target, size)
    else:
        angle, zoom = rng.uniform(-math.pi / 4, math.pi / 4), math.exp(rng.uniform(*np.log(ZOOM)))
        grid = _grid(tuple(image.shape[1:]), size, angle, zoom)
        image = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
        target = F.grid_sample(target[None], grid, mode="nearest", padding_mode="border", align_corners=False)[0]
    image, target = torch.rot90(image, turns, (-2, -1)), torch.rot90(target, turns, (-2, -1))
    return (image.flip(-1), target.flip(-1)) if mirrored else (image, target)


def _middle(block: Tensor, size: tuple[int, ...]) -> Tensor:
    for axis, n in enumerate(size, start=1):
        block = block.narrow(axis, (block.shape[axis] - n) // 2, n)
    return block


def _grid(crop: tuple[int, ...], size: tuple[int, ...], angle: float, zoom: float) -> Tensor:
    """Make the sampling grid (1, *size, dims) of a turn and zoom about the centre; X comes first."""
    dims = len(size)
    matrix = torch.eye(dims, dims + 1)
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix[0, :2] = torch.tensor([cosine, -sine])
    matrix[1, :2] = torch.tensor([sine, cosine])
    base = F.affine_grid(torch.eye(dims, dims + 1)[None], [1, 1, *size], align_corners=False)
    pixels = base * (torch.tensor(size[::-1]) / 2)
    turned = pixels @ matrix[:, :dims].T
    return turned / (torch.tensor(crop[::-1]) / 2)


def vary_intensity(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Change contrast, brightness, gamma, sharpness and noise of a normalized patch.

    Parameters
    ----------
    image : (C, [Z,] Y, X) float32
        About 0 to 1.
    rng : numpy Generator
    """
    gamma = math.exp(rng.uniform(-0.35, 0.35))
    varied: npt.NDArray[np.floating] = np.sign(image) * np.abs(image) ** gamma
    varied = varied * math.exp(rng.uniform(-0.35, 0.35)) + rng.uniform(-0.08, 0.08)
    if rng.random() < 0.2:
        sigma = rng.uniform(0.3, 1.2)
        varied = ndi.gaussian_filter(varied, (*(0,) * (image.ndim - 2), sigma, sigma))
    if rng.random() < 0.3:
        varied = varied + rng.normal(0, rng.uniform(0, 0.06), image.shape)
    return varied.astype(np.float32)
