"""Images that look like microscopy and whose objects are known exactly.

For demonstrations and tests: made from a seed in a second or two, offline, with shot noise, read
noise, blur and uneven light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """A made image and what is in it.

    Attributes
    ----------
    image : (Z, Y, X) or (Y, X) uint16
    truth : uint16, the shape of `image`
        Instance labels from 1 without gaps; 0 is background.
    pixel_size : PixelSize
    """

    image: npt.NDArray[np.uint16]
    truth: npt.NDArray[np.uint16]
    pixel_size: PixelSize


# --- nuclei in a stack --------------------------------------------------------------------------


def nuclei_stack(shape: tuple[int, int, int] = (24, 160, 160), count: int = 40, seed: int = 0) -> SyntheticImage:
    """Make a fluorescence stack of nuclei: voxels of 1 µm along Z and 0.25 µm in the plane.

    Parameters
    ----------
    shape : (Z, Y, X)
    count : int
        How many nuclei; fewer where there is no room for more. They may touch, but not overlap.
    seed : int
        The same seed makes the same stack.
    """
    rng = np.random.default_rng(seed)
    pixel_size = PixelSize(1.0, 0.25, 0.25)
    truth = _place_nuclei(shape, count, rng)
    light = _glow(truth, rng)
    haze = _blurred(light, (3.0, 12.0, 12.0))  # light from above and below the focus
    light = _blurred(light, (0.8, 1.1, 1.1)) + 0.35 * haze
    light *= np.exp(-np.arange(shape[0], dtype=np.float32) / (2.5 * shape[0]))[:, None, None]  # deeper is dimmer
    light *= _uneven(shape, rng)
    return SyntheticImage(_camera(light + 0.05, 260, rng), truth, pixel_size)


def _place_nuclei(shape: tuple[int, int, int], count: int, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Put dented, tilted ellipsoids where there is room."""
    truth = np.zeros(shape, np.uint16)
    dents = _noise(shape, (1.5, 5, 5), rng)
    placed = 0
    for _ in range(60 * count):
        if placed == count:
            break
        radii = np.array([rng.uniform(2.2, 3.4), rng.uniform(8.5, 12), rng.uniform(10, 15)])
        centre = rng.uniform((1, 2, 2), np.maximum(np.array(shape) - (2, 3, 3), (1.001, 2.001, 2.001)))
        box = tuple(slice(max(0, int(c - 16)), int(c + 17)) for c in centre)
        distance = _ellipsoid(box, shape, centre, radii, rng.uniform(0, np.pi))
        inside = distance + 0.12 * dents[box] < 1
        nearby = distance + 0.12 * dents[box] < 1.12
        if inside.sum() < 60 or truth[box][nearby].any():
            continue
        placed += 1
        truth[box][inside] = placed
    return truth


def _ellipsoid(
    box: tuple[slice, ...],
    shape: Sequence[int],
    centre: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    angle: float,
) -> npt.NDArray[np.float64]:
    """Distance from the centre, 1 on the surface."""
    ranges = [np.arange(s.start, min(s.stop, n)) - c for s, n, c in zip(box, shape, centre, strict=True)]
    z, y, x = np.meshgrid(*ranges, indexing="ij", sparse=True)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y
    distance: npt.NDArray[np.float64] = np.sqrt(
        (z / radii[0]) ** 2 + (across / radii[1]) ** 2 + (along / radii[2]) ** 2
    )
    return distance


def _glow(truth: npt.NDArray[np.uint16], rng: np.random.Generator) -> Floats:
    """Light of each nucleus: its own brightness, clumpy chromatin and darker nucleoli."""
    brightness = np.concatenate([[0], rng.lognormal(-0.2, 0.3, int(truth.max()))]).astype(np.float32)
    chromatin = 1 + 0.22 * _noise(truth.shape, (0.6, 1.6, 1.6), rng)
    nucleoli = 1 - 0.45 / (1 + np.exp(-9 * (_noise(truth.shape, (0.9, 3, 3), rng) - 1.5)))
    glow: Floats = (brightness[truth] * np.clip(chromatin, 0.2, None) * nucleoli).astype(np.float32)
    return glow


# --- cells with bright membranes ----------------------------------------------------------------


def membrane_cells(shape: tuple[int, int] = (512, 512), count: int = 240, seed: int = 0) -> SyntheticImage:
    """Make a plane of epithelium: bright membranes, dark grainy interiors, gaps between clusters.

    A model of bright nuclei sees it the wrong way round: here the outlines are bright.

    Parameters
    ----------
    shape : (Y, X)
    count : int
        Cells that would fill the plane, at least 2; about a fifth of them is left out for the gaps.
    seed : int
        The same seed makes the same image.
    """
    rng = np.random.default_rng(seed)
    cells, to_membrane = _tessellation(shape, max(2, count), rng)
    truth = _leave_gaps(cells, rng)
    tissue = _blurred((truth > 0).astype(np.float32), (1.0, 1.0))
    brightness = rng.normal(1, 0.18, int(truth.max()) + 1).clip(0.5, 1.6).astype(np.float32)
    grains = np.clip(1 + 0.45 * _noise(shape, (1.3, 1.3), rng) + 0.25 * _noise(shape, (5, 5), rng), 0.05, None)
    interior = 0.15 * brightness[truth] * grains
    stain = np.clip(0.85 + 0.22 * _noise(shape, (14, 14), rng) + 0.16 * _noise(shape, (2.5, 2.5), rng), 0.35, None)
    membrane = np.exp(-((to_membrane / 2.2) ** 2)) * stain
    light = _blurred((interior + membrane) * tissue, (1.1, 1.1))
    light += 0.10 * _blurred(light, (14.0, 14.0)) + 0.03 + _debris(truth, rng)
    return SyntheticImage(_camera(light * _uneven(shape, rng), 420, rng), truth, PixelSize(y_um=0.2, x_um=0.2))


def _tessellation(shape: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], Floats]:
    """Cells (Y, X) from 0, and the distance of each pixel from the nearest membrane."""
    from scipy.spatial import cKDTree

    bend = np.sqrt(shape[0] * shape[1] / count)
    grid = np.argwhere(np.ones(shape, bool)).astype(np.float64)
    seeds = rng.uniform(0, shape, (count, 2))
    for _ in range(3):  # evens out the sizes of the cells (Lloyd's algorithm), but not entirely
        sample = rng.uniform(0, shape, (60 * count, 2))
        nearest = cKDTree(seeds).query(sample)[1]
        members = np.bincount(nearest, minlength=count)
        sums = np.stack([np.bincount(nearest, sample[:, i], minlength=count) for i in (0, 1)], -1)
        seeds = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], seeds)
    shift = [0.07 * bend * _noise(shape, (bend / 5, bend / 5), rng).ravel() for _ in (0, 1)]
    distance, index = map(np.asarray, cKDTree(seeds).query(grid + np.stack(shift, -1), k=2))
    apart = np.linalg.norm(seeds[index[:, 0]] - seeds[index[:, 1]], axis=1)
    to_membrane = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    return index[:, 0].reshape(shape), to_membrane.reshape(shape).astype(np.float32)


def _leave_gaps(cells: npt.NDArray[np.intp], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Take out whole cells in some areas; number the others from 1, one connected piece each."""
    from scipy import ndimage

    count = int(cells.max()) + 1
    size = np.bincount(cells.ravel(), minlength=count)
    area = _noise(cells.shape, (cells.shape[0] / 10, cells.shape[1] / 10), rng)
    level = np.bincount(cells.ravel(), area.ravel(), minlength=count) / np.maximum(size, 1)
    # a cell whose bent outline falls apart is taken out too
    boxes = ndimage.find_objects(cells + 1)
    whole = [ndimage.label(cells[box] == i)[1] == 1 if box else False for i, box in enumerate(boxes)]
    kept = (level <= np.quantile(level, 0.8)) & np.array(whole) & (size >= 30)
    number = np.zeros(count, np.uint16)
    number[kept] = np.arange(1, int(kept.sum()) + 1)
    return number[cells]


def _debris(truth: npt.NDArray[np.uint16], rng: np.random.Generator) -> Floats:
    """Sparse bright specks, outside of the cells only."""
    specks = (rng.random(truth.shape) < 4e-4) & (truth == 0)
    return _blurred(specks.astype(np.float32) * rng.uniform(2, 9, truth.shape).astype(np.float32), (1.4, 1.4))


# --- optics and camera --------------------------------------------------------------------------


def _noise(shape: Sequence[int], sigma: Sequence[float], rng: np.random.Generator) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1."""
    field = _blurred(rng.standard_normal(shape, dtype=np.float32), sigma)
    spread = float(field.std())
    centred: Floats = (field - field.mean()) / (spread or 1.0)
    return centred


def _blurred(image: Floats, sigma: Sequence[float]) -> Floats:
    from scipy import ndimage

    blurred: Floats = ndimage.gaussian_filter(image, sigma, truncate=3.0)
    return blurred


def _uneven(shape: Sequence[int], rng: np.random.Generator) -> Floats:
    """Illumination that falls off from a point near the middle, by a quarter at most."""
    height, width = shape[-2:]
    y, x = np.arange(height)[:, None], np.arange(width)
    y0, x0 = rng.uniform(0.35, 0.65, 2) * (height, width)
    fall: Floats = (1 - 0.25 * (((y - y0) / height) ** 2 + ((x - x0) / width) ** 2)).astype(np.float32)
    return fall


def _camera(light: Floats, photons: float, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Count photons (Poisson), add read noise (3 electrons) and the camera's offset."""
    electrons = rng.poisson(np.clip(light, 0, None) * photons) + rng.normal(0, 3, light.shape)
    counts: npt.NDArray[np.uint16] = np.clip(np.rint(100 + 2.2 * electrons), 0, 65535).astype(np.uint16)
    return counts
