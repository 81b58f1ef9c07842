"""Training patches, drawn where the user has reviewed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.training.augmentation import REACH, cut_patch, vary_intensity
from napari_unet.training.pairs import Field

MAX_CENTRES = 50_000
DEPTH_PX = 16  # of 3D patches


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches for one step.

    Attributes
    ----------
    image : (N, C, [Z,] Y, X) float32
    target : (N, [Z,] Y, X) int64
    weight : (N, [Z,] Y, X) float32
        0 where nothing is known.
    places : tuple of str
        Where each comes from, for people.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    places: tuple[str, ...] = ()

    def __add__(self, other: Batch) -> Batch:
        image, target, weight = (torch.cat(pair) for pair in zip(self._tensors, other._tensors, strict=True))
        return Batch(image, target, weight, self.places + other.places)

    @property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.image, self.target, self.weight

    def split(self, parts: int) -> list[Batch]:
        """Divide the patches among `parts` smaller batches, or as many as there are patches."""
        pieces = zip(*(x.tensor_split(min(parts, len(x))) for x in self._tensors), strict=True)
        return [Batch(*piece) for piece in pieces]


class PatchSampler:
    """Draws patches around reviewed pixels, half of them around foreground.

    Parameters
    ----------
    fields : sequence of Field
        Those without pixels to train on are left out.
    patch_px : int
        Side of a patch in Y and X.
    stride : int
        Of the network; patches of volumes are a multiple of it deep.
    rng : numpy Generator
    """

    def __init__(self, fields: Sequence[Field], patch_px: int, stride: int, rng: np.random.Generator) -> None:
        self.fields = [field for field in fields if field.train.any()]
        self.rng = rng
        side = max(stride, round(patch_px / stride) * stride)
        depth = math.ceil(DEPTH_PX / stride) * stride
        self.size = (side, side) if self.fields[0].train.ndim == 2 else (depth, side, side)
        self.centres = [self._centres(field.train) for field in self.fields]
        self.foreground = [self._centres(field.train & (field.target > 0)) for field in self.fields]
        # The square root keeps one large field from drowning many small ones.
        share = np.array([field.emphasis * np.sqrt(field.train.sum()) for field in self.fields])
        self.share = share / share.sum()

    def _centres(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        places = np.flatnonzero(mask)
        if len(places) > MAX_CENTRES:
            places = self.rng.choice(places, MAX_CENTRES, replace=False)
        return places

    def batch(self, count: int) -> Batch:
        """Draw `count` patches."""
        images, targets, weights, places = zip(*(self._patch() for _ in range(count)), strict=True)
        return Batch(torch.stack(images), torch.stack(targets), torch.stack(weights), places)

    def _patch(self) -> tuple[Tensor, Tensor, Tensor, str]:
        k = int(self.rng.choice(len(self.fields), p=self.share))
        field = self.fields[k]
        wants_foreground = self.rng.random() < 0.5 and len(self.foreground[k])
        centre = int(self.rng.choice(self.foreground[k] if wants_foreground else self.centres[k]))
        places = self._places(field, centre)
        crop = tuple(np.clip(place, 0, size - 1) for place, size in zip(places, field.train.shape, strict=True))
        image = torch.from_numpy(np.stack([channel[crop] for channel in field.image]))
        weight = np.where(field.train[crop], field.weight[crop], 0)
        # What lies beyond the edge repeats it in the image and carries no weight.
        for place, inside in zip(places, crop, strict=True):
            weight = np.where(place == inside, weight, 0)
        labels = torch.from_numpy(np.stack([field.target[crop].astype(np.float32), weight.astype(np.float32)]))
        image, labels = cut_patch(image, labels, self.size, self.rng)
        varied = torch.from_numpy(vary_intensity(image.numpy(), self.rng))
        return varied, labels[0].long(), labels[1], self._describe(field, centre)

    @staticmethod
    def _describe(field: Field, centre: int) -> str:
        y, x = (int(place) for place in np.unravel_index(centre, field.train.shape)[-2:])
        return f'"{field.name}" around y {y + field.origin[0]}, x {x + field.origin[1]}'

    def _places(self, field: Field, centre: int) -> tuple[npt.NDArray[np.intp], ...]:
        """Open mesh of the pixels around a centre, moved at random; may reach beyond the edge."""
        planar = [math.ceil(side * REACH) for side in self.size[-2:]]
        reach = [*self.size[:-2], *planar]
        ranges = []
        for middle, n, patch in zip(np.unravel_index(centre, field.train.shape), reach, self.size, strict=True):
            start = int(middle) - n // 2 + int(self.rng.integers(-patch // 4, patch // 4 + 1))
            ranges.append(np.arange(start, start + n))
        return np.ix_(*ranges)
