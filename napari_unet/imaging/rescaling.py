"""An image at another scale, resampled region by region; and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.imaging.gathering import Readable

# Nearer to 1 than this is left alone: resampling would cost more than it gives.
TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Rescaled:
    """An image whose planes are resampled by `factor` as they are read.

    Attributes
    ----------
    image : Readable
    factor : float
        New size over old size, in Y and X.
    """

    image: Readable
    factor: float

    @property
    def name(self) -> str:
        """Of the image."""
        return self.image.name

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes after resampling."""
        size = self.image.sizes
        return {**size, "Y": scaled(size["Y"], self.factor), "X": scaled(size["X"], self.factor)}

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the image before resampling, whose range the values keep."""
        return self.image.dtype

    @property
    def chunks(self) -> dict[str, int]:
        """Of the image, about as large on the new grid."""
        chunks = self.image.chunks
        return {**chunks, "Y": scaled(chunks["Y"], self.factor), "X": scaled(chunks["X"], self.factor)}

    def read(self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None) -> npt.NDArray[Any]:
        """Read a region (C, Z, Y, X) of the resampled image; see `Image.read`."""
        size, new = self.image.sizes, self.sizes
        places_y = positions(y, size["Y"], new["Y"])
        places_x = positions(x, size["X"], new["X"])
        margin = int(np.ceil(4 * self._blur)) + 1
        source_y, source_x = (
            slice(max(0, int(p[0]) - margin), min(n, int(p[-1]) + margin + 2))
            for p, n in ((places_y, size["Y"]), (places_x, size["X"]))
        )
        block = self.image.read(t, z, source_y, source_x, channels).astype(np.float32)
        if self._blur:
            block = ndi.gaussian_filter(block, (0, 0, self._blur, self._blur), mode="nearest")
        block = interpolate(block, places_y - source_y.start, axis=2)
        return interpolate(block, places_x - source_x.start, axis=3)

    @property
    def _blur(self) -> float:
        """Standard deviation in old pixels of the smoothing that prevents aliasing."""
        return max(0.0, (1 / self.factor - 1) / 2)


def scaled(size: int, factor: float) -> int:
    """Size after rescaling, at least one pixel."""
    return max(1, round(size * factor))


def positions(wanted: slice, old: int, new: int) -> npt.NDArray[np.float64]:
    """Where the pixels of a range of the new grid lie on the old one, in old pixels."""
    centres = (np.arange(wanted.start, wanted.stop) + 0.5) * old / new - 0.5
    return np.clip(centres, 0, old - 1)


def interpolate(block: npt.NDArray[np.float32], places: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float32]:
    """Interpolate linearly along one axis, at places given in pixels."""
    below = np.clip(np.floor(places).astype(int), 0, block.shape[axis] - 1)
    above = np.minimum(below + 1, block.shape[axis] - 1)
    shape = [1] * block.ndim
    shape[axis] = -1
    share = (places - below).astype(np.float32).reshape(shape)
    mixed: npt.NDArray[np.float32] = block.take(below, axis) * (1 - share) + block.take(above, axis) * share
    return mixed
