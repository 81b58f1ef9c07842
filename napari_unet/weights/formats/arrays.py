"""Arrays of NumPy: from files into tensors."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.errors import ModelError
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.limits import check_claim, open_zip, reason, shorten

if TYPE_CHECKING:
    from torch import Tensor

MAX_ARRAY_BYTES = 8 * 1024**3
MAX_DIMENSIONS = 6
# A damaged header can end in the middle of what Python reads as its text.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    RecursionError,
    MemoryError,
    OverflowError,
    EOFError,
    tokenize.TokenError,
    zlib.error,
)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def to_tensor(path: Path, name: str, array: np.ndarray) -> Tensor:
    """Make a tensor of an array of numbers, whatever the machine that wrote it.

    Raises
    ------
    ModelError
        If torch has no such type or the array has more than 6 dimensions.
    """
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8 or array.ndim > MAX_DIMENSIONS:
        raise ModelError(
            f'"{path.name}" holds "{shorten(name)}" of type {shorten(str(array.dtype))} with {array.ndim} dimensions: '
            f"expected numbers with at most {MAX_DIMENSIONS}. Save the weights again, in single precision."
        )
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:
        native = native.astype(np.int64)
    return torch.from_numpy(native)


def read_npz(path: Path) -> Checkpoint:
    """Read named arrays from an ``.npz`` file, such as the variables of a network by their names in TensorFlow.

    The ``:0`` at the end of TensorFlow's names is left out. Nothing is unpickled.

    Raises
    ------
    ModelError
        If it is damaged, holds anything but arrays of numbers, or claims more than it holds.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    with open_zip(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise ModelError(
                    f'"{path.name}" holds "{shorten(member.filename)}", which is no array: expected a file that '
                    "numpy.savez wrote."
                )
            name = member.filename.removesuffix(".npy").removesuffix(":0")
            if name in tensors:
                raise ModelError(f'"{path.name}" is refused: it holds the array "{shorten(name)}" twice.')
            tensors[name] = to_tensor(path, name, _read_member(path, archive, member))
    if not tensors:
        raise ModelError(f'"{path.name}" holds no arrays: expected the weights of a network by their names.')
    return Checkpoint(path, "NumPy archive", (State("", tensors),))


def _read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename
    try:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADER_READERS:
                raise ValueError(f"version {version} of the format")
            shape, fortran, dtype = _HEADER_READERS[version](stream)
            if dtype.hasobject or dtype.kind not in "fiub":
                raise ModelError(
                    f'"{path.name}" is refused: its "{shorten(name)}" holds objects of Python or texts, which are '
                    "never opened: expected arrays of numbers."
                )
            limit = min(member.file_size, MAX_ARRAY_BYTES)
            claimed = check_claim(path, name, shape, dtype.itemsize, limit)
            content = stream.read(claimed + 1)
    except _HEADER_ERRORS as error:
        raise ModelError(
            f'"{path.name}" is damaged: its array "{shorten(name)}" cannot be read ({reason(error)}). Copy it again.'
        ) from error
    if len(content) != claimed:
        raise ModelError(
            f'"{path.name}" is damaged: its array "{shorten(name)}" holds {len(content):,} bytes and should hold '
            f"{claimed:,}. Copy it again."
        )
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
