"""Arrays that two processes share: files that both map into memory."""

from __future__ import annotations

import errno
import itertools
import math
import mmap
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import reserve
from napari_unet.errors import ExportError, ImageError
from napari_unet.imaging.image import ArrayLike
from napari_unet.jobs.leftovers import hold, remove_leftovers
from napari_unet.jobs.requests import ArrayRef

BLOCK_BYTES = 64 * 2**20
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


class Scratch:
    """A temporary folder for arrays, removed when it is closed, collected or Python ends.

    Folders of processes that ended without removing theirs are removed at creation.

    Parameters
    ----------
    parent : Path, optional
        Where to make it; the system's folder for temporary files by default.

    Attributes
    ----------
    folder : Path

    Raises
    ------
    ExportError
        If the folder cannot be made.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        remove_leftovers(parent)
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=f"napari-unet-{os.getpid()}-", dir=parent))
            held = hold(self.folder)
        except OSError as error:
            raise _not_writable(parent, error) from error
        self._numbers = itertools.count()
        self._finalizer = weakref.finalize(self, _remove, self.folder, held)

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> ArrayRef:
        """Make an array of zeros whose space on disk is reserved.

        Raises
        ------
        ExportError
            If the disk has too little space for it.
        """
        kind = np.dtype(dtype)
        path = self.folder / f"{next(self._numbers)}.raw"
        _reserve(path, max(1, math.prod(shape) * kind.itemsize))
        return ArrayRef(path=str(path), dtype=kind.str, shape=tuple(int(n) for n in shape))

    def stage(self, array: ArrayLike, *, snapshot: bool = False) -> ArrayRef:
        """Make an array readable for the other process.

        A memory-mapped file or a Zarr array on a local disk is named, not copied. Anything else is
        copied block by block, so that lazy arrays stay in bounded memory.

        Parameters
        ----------
        array : numpy, Zarr, Dask or memory-mapped array
        snapshot : bool
            Copy in any case: for labels that the user may go on painting.

        Raises
        ------
        ExportError
            If the disk has too little space for a copy.
        ImageError
            If the values are no numbers or cannot be read.
        """
        if np.dtype(array.dtype).kind not in "buif":
            raise ImageError(
                f"The array holds values of type {array.dtype}; only integer, float and boolean "
                "ones can be used. Choose another layer."
            )
        existing = None if snapshot else _mapped_file(array) or _local_zarr(array)
        if existing is not None:
            return existing
        ref = self.array(tuple(array.shape), array.dtype)
        target = open_array(ref, "r+")
        for block in blocks(tuple(array.shape), np.dtype(array.dtype).itemsize, _chunks(array)):
            target[block] = _read(array, block)
        return ref

    def release(self, ref: ArrayRef) -> None:
        """Remove an array that this folder holds; files that were only named stay untouched."""
        path = Path(ref.path)
        if path.parent == self.folder:
            # Windows refuses while the file is mapped; then it goes with the folder.
            try:
                path.unlink(missing_ok=True)
            except PermissionError:
                return

    def close(self) -> None:
        """Remove the folder with all its arrays."""
        self._finalizer()


def open_array(ref: ArrayRef, mode: Literal["r", "r+"] = "r") -> Any:  # noqa: ANN401
    """Open the array that a reference names.

    Returns
    -------
    numpy.memmap, zarr.Array, or numpy.ndarray where there are no values to map

    Raises
    ------
    ImageError
        If the file is gone or too short.
    """
    try:
        if ref.kind == "zarr":
            import zarr

            return zarr.open_array(store=ref.path, path=ref.component, mode=mode)
        if 0 in ref.shape:
            return np.empty(ref.shape, ref.dtype)
        return np.memmap(ref.path, np.dtype(ref.dtype), mode, ref.offset, ref.shape)
    except (OSError, ValueError) as error:
        raise ImageError(
            f'The pixels in "{ref.path}" cannot be read ({error}). Check that the file is still there and complete.'
        ) from error


def blocks(shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None = None) -> Iterator[tuple[slice, ...]]:
    """Divide an array into blocks of at most `BLOCK_BYTES`, or of one chunk if that is larger.

    >>> [block[0] for block in blocks((3, 8192, 8192), 1)]
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    if 0 in shape:
        return
    block = list(chunks or [1] * len(shape))
    for axis in reversed(range(len(shape))):
        fit = BLOCK_BYTES // (math.prod(block) * itemsize)
        block[axis] = min(shape[axis], block[axis] * max(1, fit))
    ranges = (range(0, size, step) for size, step in zip(shape, block, strict=True))
    for start in itertools.product(*ranges):
        yield tuple(slice(i, min(i + n, size)) for i, n, size in zip(start, block, shape, strict=True))


def _read(array: ArrayLike, block: tuple[slice, ...]) -> npt.NDArray[Any]:
    try:
        return np.asarray(array[block])
    except Exception as error:  # what a lazy array raises depends on the library that reads it
        raise ImageError(
            f"The pixels cannot be read ({error}). Check that the file is still there and complete."
        ) from error


def _reserve(path: Path, size: int) -> None:
    """Make a file of zeros whose `size` bytes are there: a full disk fails here, not later."""
    try:
        with path.open("xb") as file:
            reserve(file.fileno(), size, path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in _DISK_FULL:
            raise _not_writable(path.parent, error) from error
        free = shutil.disk_usage(path.parent).free
        raise ExportError(
            f'The temporary folder "{path.parent.parent}" has {free / 1e6:.1f} MB free, and '
            f"{size / 1e6:.1f} MB are needed. Free some space there, or set TMPDIR to a folder on "
            "a larger disk and start again."
        ) from error


def _not_writable(folder: Path, error: OSError) -> ExportError:
    return ExportError(
        f'The temporary folder "{folder}" cannot be written ({error.strerror}). '
        "Allow it, or set TMPDIR to another folder and start again."
    )


def _mapped_file(array: ArrayLike) -> ArrayRef | None:
    """Name the file that a memory-mapped array shows, if all its values are there in order."""
    if not isinstance(array, np.memmap) or array.filename is None or array.size == 0:
        return None
    if array.mode == "c" or not array.flags.c_contiguous:
        return None
    root: Any = array
    while isinstance(root, np.ndarray):
        root = root.base
    if not isinstance(root, mmap.mmap):
        return None
    # A slice keeps the offset of the array it was cut from: the addresses tell the position.
    first = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    address = np.frombuffer(root, np.uint8).ctypes.data
    offset = first + array.ctypes.data - address
    path = Path(array.filename)
    if not path.is_file() or path.stat().st_size < offset + array.nbytes:
        return None
    return ArrayRef(path=str(path.resolve()), dtype=array.dtype.str, shape=array.shape, offset=offset)


def _local_zarr(array: ArrayLike) -> ArrayRef | None:
    """Name the folder of a Zarr array, if it is one on a local disk."""
    zarr: Any = sys.modules.get("zarr")
    # Another thread may just be importing it: then this array is none of its arrays.
    if not hasattr(zarr, "Array") or not isinstance(array, zarr.Array):
        return None
    if not isinstance(array.store, zarr.storage.LocalStore):
        return None
    root = Path(array.store.root).resolve()
    kind = np.dtype(array.dtype).str
    return ArrayRef(path=str(root), kind="zarr", dtype=kind, shape=tuple(array.shape), component=array.path)


def _chunks(array: ArrayLike) -> tuple[int, ...] | None:
    """Shape of what Zarr (`shards`, `chunks`) and Dask (`chunksize`) arrays read at once."""
    for name in ("shards", "chunksize", "chunks"):
        shape = getattr(array, name, None)
        if isinstance(shape, tuple) and all(isinstance(n, int) and n > 0 for n in shape):
            return shape
    return None


def _remove(folder: Path, held: int | None) -> None:
    """Remove a folder; what Windows still has mapped is left to a later `remove_leftovers`."""
    if held is not None:
        os.close(held)
    shutil.rmtree(folder, ignore_errors=True)
