"""Cellpose's ``_seg.npy``: a dict of arrays, pickled."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ImageError, LabelsError
from napari_unet.imaging.foreign_labels.unpickling import Stored, unpickle

MAX_BYTES = 8 * 2**30


def is_pickled(path: Path) -> bool:
    """Whether a ``.npy`` file holds objects instead of numbers."""
    try:
        with path.open("rb") as file:
            return _stored_type(file).hasobject
    except (OSError, ValueError, EOFError):
        return False


def read_seg(path: Path) -> npt.NDArray[Any]:
    """Read the masks of a ``_seg.npy``; nothing of the file is run.

    Returns
    -------
    (Y, X) or (Z, Y, X) integers

    Raises
    ------
    ImageError
        If the file is damaged or too large.
    LabelsError
        If it asks for code to be run, or holds no masks.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ImageError(f'"{path.name}" has {size:,} bytes, and at most {MAX_BYTES:,} are read. Save the masks alone.')
    try:
        with path.open("rb") as file:
            _stored_type(file)
            found = unpickle(file.read(), path.name)
        return _masks(found, path.name)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(
            f'"{path.name}" is incomplete or damaged ({str(error)[:120]}). Copy or save it again from its source.'
        ) from error


def _stored_type(file: IO[bytes]) -> np.dtype[Any]:
    """Read the header, which says what follows it.

    Raises
    ------
    ValueError
        If it is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        dtype: np.dtype[Any] = read(file)[2]
    except Exception as error:  # numpy takes it for Python, and lets the parser's errors through
        raise ValueError(str(error)) from error
    return dtype


def _masks(found: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return the masks of the dict that an array of one object holds.

    Raises
    ------
    LabelsError
        If there are none.
    ValueError
        If they are no numbers.
    """
    items = found.items() if isinstance(found, Stored) else [found]
    fields = items[0] if len(items) == 1 else None
    if not isinstance(fields, dict) or not isinstance(fields.get("masks"), Stored):
        listed = ", ".join(str(key)[:40] for key in list(fields)[:8]) if isinstance(fields, dict) else "no named parts"
        raise LabelsError(
            f'"{name}" holds {listed or "nothing"}, and "masks" were expected, as in a _seg.npy of Cellpose. Choose '
            "such a file, or save the masks as PNG or TIFF."
        )
    masks: Stored = fields["masks"]
    return masks.numbers()
