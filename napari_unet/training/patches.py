"""Training patches, drawn where the user has reviewed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_unet.training.augmentation import REACH, cut_patch, vary_intensity
from napari_unet.training.pairs import Field
from napari_unet.training.targets import patch_targets
from napari_unet.weights.spec import Meaning

MAX_CENTRES = 50_000
DEPTH_PX = 16  # of 3D patches
EXACT = 2**24  # whole numbers below are exact in float32


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches for one step.

    Attributes
    ----------
    image : (N, C, [Z,] Y, X) float32
    target : (N, [Z,] Y, X) int64
    weight : (N, [Z,] Y, X) float32
        0 where nothing is known.
    plain : (N, C, [Z,] Y, X) float32
        The image before its intensities were varied.
    unreviewed : (N, [Z,] Y, X) float32
        1 where nobody has said what there is, else 0.
    labels : (N, [Z,] Y, X) float32
        The whole numbers from which the targets were made, object ids or classes; -1 beyond the edge of the image.
    places : tuple of str
        Where each comes from, for people.
    rehearsed : int
        How many of them, at the end, show what the model knew before.
    rehearsed_share : float
        Of all that are rehearsed in the step; `split` sets it.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    plain: Tensor
    unreviewed: Tensor
    labels: Tensor
    places: tuple[str, ...] = ()
    rehearsed: int = 0
    rehearsed_share: float = 1.0

    def followed_by(self, rehearsed: Batch) -> Batch:
        """Join these patches with others that show what the model knew before."""
        tensors = (torch.cat(pair) for pair in zip(self._tensors, rehearsed._tensors, strict=True))
        return replace(self._made(tensors), places=self.places + rehearsed.places, rehearsed=len(rehearsed.image))

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.image, self.target, self.weight, self.plain, self.unreviewed, self.labels

    def split(self, parts: int) -> list[Batch]:
        """Divide the patches among `parts` smaller batches, or as many as there are patches."""
        first = len(self.image) - self.rehearsed
        pieces = zip(*(x.tensor_split(min(parts, len(x))) for x in self._tensors), strict=True)
        batches: list[Batch] = []
        for tensors in pieces:
            count = len(tensors[0])
            first -= count
            again = min(count, max(0, -first))
            share = again / max(1, self.rehearsed)
            batches.append(replace(self._made(tensors), rehearsed=again, rehearsed_share=share))
        return batches

    @staticmethod
    def _made(tensors: Iterable[Tensor]) -> Batch:
        """From what `_tensors` gives, in parts or joined."""
        image, target, weight, plain, unreviewed, labels = tensors
        return Batch(image, target, weight, plain, unreviewed, labels)


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
    meaning : "instances" | "semantic"
        Whether labels are objects, or classes.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        patch_px: int,
        stride: int,
        rng: np.random.Generator,
        meaning: Meaning = "instances",
    ) -> None:
        self.fields = [field for field in fields if field.train.any()]
        self.rng, self.meaning = rng, meaning
        side = max(stride, round(patch_px / stride) * stride)
        depth = math.ceil(DEPTH_PX / stride) * stride
        self.size = (side, side) if self.fields[0].train.ndim == 2 else (depth, side, side)
        self.centres = [self._centres(field.train) for field in self.fields]
        self.foreground = [self._centres(field.train & (field.labels > 0)) for field in self.fields]
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
        plain, drawn, places = zip(*(self._patch() for _ in range(count)), strict=True)
        varied = [torch.from_numpy(vary_intensity(patch.numpy(), self.rng)) for patch in plain]
        labels, counts, unreviewed, inside = torch.stack(drawn).unbind(dim=1)
        if self.meaning == "semantic":
            target, weight = labels.long(), counts
        else:
            target, weight = patch_targets(labels)
        ids = torch.where(inside > 0, labels, -1)
        return Batch(torch.stack(varied), target, weight * counts, torch.stack(plain), unreviewed, ids, places)

    def _patch(self) -> tuple[Tensor, Tensor, str]:
        """Draw an image (C, [Z,] Y, X), its labels, what counts, is unreviewed and exists (4, [Z,] Y, X); say where."""
        k = int(self.rng.choice(len(self.fields), p=self.share))
        field = self.fields[k]
        wants_foreground = self.rng.random() < 0.5 and len(self.foreground[k])
        centre = int(self.rng.choice(self.foreground[k] if wants_foreground else self.centres[k]))
        places = self._places(field, centre)
        crop = tuple(np.clip(place, 0, size - 1) for place, size in zip(places, field.train.shape, strict=True))
        image = torch.from_numpy(np.stack([channel[crop] for channel in field.image]))
        known = np.stack([field.train[crop], np.zeros_like(field.train[crop]), np.ones_like(field.train[crop])])
        if field.unreviewed is not None:
            known[1] = field.unreviewed[crop]
        # What lies beyond the edge repeats it in the image and does not count.
        for place, inside in zip(places, crop, strict=True):
            known &= place == inside
        labels = torch.from_numpy(np.stack([self._ids(field.labels[crop]), *known.astype(np.float32)]))
        image, labels = cut_patch(image, labels, self.size, self.rng)
        return image, labels, self._describe(field, centre)

    def _ids(self, labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """Return labels as numbers that float32 can hold; objects are numbered anew if theirs are too large."""
        if self.meaning == "instances" and labels.max(initial=0) >= EXACT:
            found, numbered = np.unique(labels, return_inverse=True)
            return (numbered.reshape(labels.shape) + int(found[0] > 0)).astype(np.float32)
        return labels.astype(np.float32)

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
