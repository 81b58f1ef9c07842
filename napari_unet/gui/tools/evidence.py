"""What the network or the image says about a window of a pane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from napari_unet.gui import layers
from napari_unet.gui.layers import Frame
from napari_unet.gui.segmenting import Kept
from napari_unet.gui.tools.pane import Pane
from napari_unet.imaging.image import Image
from napari_unet.jobs.scratch import open_array
from napari_unet.objects.editing.changes import Box, slices
from napari_unet.objects.editing.reaching import edges
from napari_unet.objects.editing.similarity import similarity
from napari_unet.objects.pixels import has_background

Floats = npt.NDArray[np.floating]

# How many times as hard it is to pass a border that the network is sure of, or a steep step of the image. The latter
# was chosen on nuclei that touch; more makes ways go around what is bright inside of them.
BY_NETWORK, BY_IMAGE = 100, 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """Probabilities that are kept, and the image where there are none.

    Attributes
    ----------
    kept : Kept, optional
    image : Image, optional
    channels : tuple of int, optional
    """

    kept: Kept | None
    image: Image | None
    channels: tuple[int, ...] | None = None

    @property
    def semantic(self) -> bool:
        """Whether labels are classes."""
        return self.kept is not None and self.kept.spec.meaning == "semantic"

    def objects(self, pane: Pane, box: Box, point: tuple[int, ...], number: int) -> tuple[Floats, Floats | None] | None:
        """Return the probability of any object in a box of a pane, and that of its inside if it is known.

        Parameters
        ----------
        point : tuple of int
            In the pane.
        number : int
            The class that is meant, where labels are classes.
        """
        block = self._probabilities(pane, box)
        if block is None:
            window = self._pixels(pane, box)
            here = tuple(at - first for at, (first, _) in zip(point, box, strict=True))
            return None if window is None else (similarity(window, here), None)
        assert self.kept is not None
        if not self.semantic:
            return 1 - block[0], block[1]
        classes = block[1:] if has_background(self.kept.spec, len(block)) else block
        return classes[min(max(number, 1), len(classes)) - 1], None

    def border(self, pane: Pane, box: Box) -> Floats | None:
        """Return how much speaks for a border between objects in a box of a pane, if anything is known; from 0 on."""
        if self.semantic:
            return None
        block = self._probabilities(pane, box)
        if block is not None:
            seen: Floats = block[2] if len(block) > 2 else 1 - block[1]
            return BY_NETWORK * seen
        window = self._pixels(pane, box)
        return None if window is None else BY_IMAGE * edges(window)

    def _probabilities(self, pane: Pane, box: Box) -> Floats | None:
        """Return (class, ...) probabilities of a box of a pane."""
        if self.kept is None:
            return None
        array = open_array(self.kept.probabilities)
        frame = self.kept.frame
        if frame.shape != pane.layer.data.shape:
            return None
        block = np.stack(
            [np.asarray(pane.of(frame.from_tzyx(one))[slices(box)]) for one in array[: len(self.kept.spec.classes)]]
        )
        if block.dtype == np.uint8:
            return np.asarray(block, np.float32) / np.float32(255)
        if self.kept.spec.activation == "none" and len(block) > 1:
            return np.asarray(softmax(block, axis=0))
        return np.asarray(block, np.float32)

    def _pixels(self, pane: Pane, box: Box) -> npt.NDArray[Any] | None:
        """Return (channel, ...) pixels of a box of a pane."""
        if self.image is None:
            return None
        frame = layers.frame_of_labels(pane.layer)
        everywhere = [(at, at + 1) for at in pane.place]
        for dim, part in zip(pane.dims, box, strict=True):
            everywhere[dim] = part
        t, z, y, x = frame.region(tuple(everywhere))
        read = [self.image.read(at, slice(*z), slice(*y), slice(*x), self.channels) for at in range(*t)]
        return np.stack([_like(pane, frame, np.stack([one[c] for one in read])) for c in range(len(read[0]))])


def _like(pane: Pane, frame: Frame, window: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn a (T, Z, Y, X) window into the axes of a pane."""
    own = frame.from_tzyx(window)
    flat = own[tuple(slice(None) if dim in pane.dims else 0 for dim in range(own.ndim))]
    rising = sorted(pane.dims)
    return np.transpose(flat, [rising.index(dim) for dim in pane.dims])
