"""How an image is known again."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from napari_unet.networks.spec import Config

# So many blocks of this side are looked at, evenly spread.
BLOCKS, SIDE = 8, 64


class ImageIdentity(Config):
    """How an image is known again.

    Attributes
    ----------
    name : str
    path : str, optional
        Of its file, as it was opened last.
    shape : tuple of int
    dtype : str
    fingerprint : str
        Of some of its pixels, see `fingerprint`.
    """

    name: str
    path: str | None = None
    shape: tuple[int, ...]
    dtype: str
    fingerprint: str

    def same_pixels(self, other: ImageIdentity) -> bool:
        """Whether the pixels are the same, wherever they lie."""
        return (self.shape, self.dtype, self.fingerprint) == (other.shape, other.dtype, other.fingerprint)


def fingerprint(array: Any) -> str:  # noqa: ANN401
    """Return a number, in hexadecimal digits, that tells images apart by some of their pixels.

    Parameters
    ----------
    array : numpy, Zarr, Dask or memory-mapped array
        Little of it is read.
    """
    shape = tuple(int(n) for n in array.shape)
    found = hashlib.sha256(repr((shape, np.dtype(array.dtype).str)).encode())
    for number in range(BLOCKS):
        share = number / max(1, BLOCKS - 1)
        block = tuple(
            slice(start, start + min(SIDE, n)) for n, start in ((n, int(share * max(0, n - SIDE))) for n in shape)
        )
        found.update(np.ascontiguousarray(array[_narrow(block)]).tobytes())
    return found.hexdigest()[:32]


def _narrow(block: tuple[slice, ...]) -> tuple[slice, ...]:
    """Of all axes but the last two, take one position."""
    return tuple(
        slice(part.start, part.start + 1) if axis < len(block) - 2 else part for axis, part in enumerate(block)
    )
