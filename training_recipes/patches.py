"""Training patches: turned, stretched and at many scales, with targets made at the scale of the patch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage as ndi
from torch import Tensor
from torch.nn import functional as F

from napari_unet.training.augmentation import vary_intensity
from napari_unet.training.targets import INTERIOR, patch_targets
from planes import Plane

PATCH_PX = 128
# Half of the patches keep about the scale of the image, half bring its objects to about this diameter.
DIAMETER_PX = 22.0
NATIVE_ZOOM, NORMAL_ZOOM = math.log(1.5), math.log(1.7)
ZOOMS = (0.35, 4.0)
STRETCH = 0.12
# Images are smoothed before they are made smaller, in steps of this many octaves.
BLUR_STEP = 0.25
TOUCHING_WEIGHT = 4.0
DISTANCE_PX = 8.0


class Batch(NamedTuple):
    """Patches of one step.

    Attributes
    ----------
    image : (N, 1, [Z,] Y, X) float32
    target : (N, [Z,] Y, X) int64
    weight, distance : (N, [Z,] Y, X) float32
    labels : (N, Y, X) int32, optional
        Object ids, from which flows are made.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    distance: Tensor
    labels: Tensor | None = None


class Sampler:
    """Draws the patches of a step; the same ones for the same step.

    Parameters
    ----------
    planes : sequence of Plane
    batch : int
    seed : int
    """

    def __init__(self, planes: Sequence[Plane], batch: int, seed: int) -> None:
        self.planes, self.count, self.seed = planes, batch, seed
        shares = np.array([plane.share for plane in planes])
        self.shares = shares / shares.sum()
        self.foreground = [np.flatnonzero(plane.labels) for plane in planes]
        self.smoothed: dict[tuple[int, int], Tensor] = {}

    def __getitem__(self, step: int) -> Batch:
        """Draw the patches of a step."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._patch(rng) for _ in range(self.count)]
        labels = torch.from_numpy(np.stack([labels for _, labels, _ in drawn]))
        inside = torch.from_numpy(np.stack([inside for _, _, inside in drawn]))
        target, weight = patch_targets(labels)
        weight = torch.where(weight > 1, TOUCHING_WEIGHT, 1.0)
        distance = np.stack([ndi.distance_transform_edt(plane == INTERIOR) for plane in target.numpy()])
        image = torch.from_numpy(np.stack([image for image, _, _ in drawn]))[:, None]
        away = torch.from_numpy(distance).float().clamp_max(DISTANCE_PX)
        return Batch(image, target, weight * inside, away, labels)

    def _patch(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray, npt.NDArray]:
        k = int(rng.choice(len(self.planes), p=self.shares))
        plane = self.planes[k]
        zoom = _zoom(plane.diameter_px, rng)
        rows, columns = self._places(k, zoom, rng)
        height, width = plane.labels.shape
        inside = (rows >= -0.5) & (rows <= height - 0.5) & (columns >= -0.5) & (columns <= width - 0.5)
        y, x = (np.clip(np.rint(p).astype(np.intp), 0, n - 1) for p, n in ((rows, height), (columns, width)))
        grid = np.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], axis=-1).astype(np.float32)
        source = self._smoothed(k, zoom)
        image = F.grid_sample(source, torch.from_numpy(grid)[None], padding_mode="border", align_corners=False)[0]
        return vary_intensity(image.numpy(), rng)[0], plane.labels[y, x], inside.astype(np.float32)

    def _places(self, k: int, zoom: float, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray]:
        """Rows and columns in the image of each pixel of the patch."""
        shape = np.array(self.planes[k].labels.shape)
        if rng.random() < 0.7 and len(self.foreground[k]):
            place = int(rng.choice(self.foreground[k]))
            centre = np.array(np.unravel_index(place, tuple(shape))) + rng.uniform(-0.3, 0.3, 2) * PATCH_PX / zoom
        else:
            centre = rng.uniform(0, shape)
        # A patch that the image can fill is drawn from its inside, and a larger one holds all of it.
        reach = np.minimum(PATCH_PX / zoom / 2, shape / 2)
        centre = np.clip(centre, reach, shape - reach)
        angle = rng.integers(4) * math.pi / 2
        stretch = np.ones(2)
        if rng.random() < 0.5:
            angle += rng.uniform(-math.pi / 4, math.pi / 4)
            stretch = np.exp(rng.uniform(-STRETCH, STRETCH, 2))
        side = (np.arange(PATCH_PX) - (PATCH_PX - 1) / 2) / zoom
        v, u = side[:, None] * stretch[0], side[None] * stretch[1] * (-1 if rng.integers(2) else 1)
        cosine, sine = math.cos(angle), math.sin(angle)
        return centre[0] - 0.5 + cosine * v - sine * u, centre[1] - 0.5 + sine * v + cosine * u

    def _smoothed(self, k: int, zoom: float) -> Tensor:
        """Return an image (1, 1, Y, X) smoothed as `Rescaled` does before it makes one smaller."""
        step = max(0, round(-math.log2(zoom) / BLUR_STEP))
        if (k, step) not in self.smoothed:
            sigma = (2 ** (BLUR_STEP * step) - 1) / 2
            image = self.planes[k].image
            blurred = ndi.gaussian_filter(image, sigma, mode="nearest") if sigma else image
            self.smoothed[k, step] = torch.from_numpy(blurred)[None, None]
        return self.smoothed[k, step]


def _zoom(diameter_px: float, rng: np.random.Generator) -> float:
    if rng.random() < 0.5:
        zoom = math.exp(rng.uniform(-NATIVE_ZOOM, NATIVE_ZOOM))
    else:
        zoom = DIAMETER_PX / diameter_px * math.exp(rng.uniform(-NORMAL_ZOOM, NORMAL_ZOOM))
    return min(max(zoom, ZOOMS[0]), ZOOMS[1])
