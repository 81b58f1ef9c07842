"""When a file is read at once, when lazily, and when what it claims cannot be true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ImageError

IN_MEMORY_BYTES = 64 * 2**20
"""Images up to this size are read at once, so that no file stays open."""

BOMB_BYTES = 2**30
BOMB_RATIO = 1000


def pixel_bytes(shape: Sequence[int], dtype: npt.DTypeLike) -> int:
    """Bytes that the pixels take in memory; exact however large the claim is."""
    return math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize


def check_claim(name: str, claimed_bytes: int, file_bytes: int) -> None:
    """Refuse a file whose header claims far more pixels than the file can hold.

    Deflate reaches a ratio of about 1000, and only on a constant image.

    Raises
    ------
    ImageError
        If the pixels would take more than 1 GiB and more than 1000 times the bytes of the file.
    """
    if claimed_bytes > BOMB_BYTES and claimed_bytes > BOMB_RATIO * file_bytes:
        raise ImageError(
            f'"{name}" claims {claimed_bytes / 2**30:.1f} GiB of pixels in a file of '
            f"{file_bytes} bytes, so it is damaged or malicious and was not opened."
        )
