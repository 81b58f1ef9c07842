"""Probabilities that nobody asked for, on their way to labels: on disk, as bytes, and never left behind."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import unnamed_file
from napari_unet.errors import ExportError

# From here on probabilities (as float32) are held on disk.
LARGE_BYTES = 2**28


class TemporaryArray:
    """An array of bytes in a file without a name: nothing is left of it, whatever happens to this process.

    It is mapped only while a part is read or written, so that it takes no memory.

    Parameters
    ----------
    shape : sequence of int

    Raises
    ------
    ExportError
        If there is too little space for it.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(np.uint8)
        size = max(1, math.prod(shape))
        try:
            self._file = unnamed_file(size)
        except OSError as error:
            raise _no_space(size, error) from error

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:  # noqa: ANN401  # whatever numpy takes
        return np.array(self._mapped()[key])

    def __setitem__(self, key: Any, values: Any) -> None:  # noqa: ANN401
        self._mapped()[key] = values

    def _mapped(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self._file, np.uint8, "r+", shape=self.shape)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


@contextmanager
def room_for_probabilities(shape: Sequence[int]) -> Iterator[TemporaryArray | None]:
    """Give a temporary array for probabilities (K, T, Z, Y, X), if they are large; None if memory is good enough."""
    if 4 * math.prod(shape) <= LARGE_BYTES:
        yield None
        return
    array = TemporaryArray(shape)
    try:
        yield array
    finally:
        array.close()


def _no_space(size: int, error: OSError) -> ExportError:
    folder = Path(tempfile.gettempdir())
    return ExportError(
        f"Probabilities take {size / 1e9:,.1f} GB of temporary space, which could not be had in "
        f'"{folder}" ({error.strerror}). Make space there, or name another folder by the environment variable TMPDIR.'
    )
