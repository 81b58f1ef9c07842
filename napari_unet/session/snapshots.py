"""Snapshots: all layers of a project at one moment, so that the journal need not be read from its beginning.

Each layer is one file, a Zarr array in a ZIP archive; a manifest, written last, says which files belong together
and what their contents add up to. A snapshot without a manifest is none. Files are written beside their place,
read back, and moved in; older snapshots are kept.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import time_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import PREFIX, replacing, write_bytes
from napari_unet.errors import SessionError
from napari_unet.session import files

KEPT = 3
CHUNK = 512
# Chunks are copied out of the living array so many at once.
_BAND_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer in a snapshot.

    Attributes
    ----------
    file : str
        Name of its file.
    shape : tuple of int
    dtype : str
    crc : int
        CRC-32 of its values in C order.
    about : dict
        What the project wants to know of it: its role, axes, scale and so on.
    """

    file: str
    shape: tuple[int, ...]
    dtype: str
    crc: int
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All layers at one moment.

    Attributes
    ----------
    path : Path
        Of the manifest.
    number : int
        Edits up to this one are in it; some that follow may be as well.
    time : float
        Seconds since 1970, UTC.
    layers : dict
        By their keys in the project.
    """

    path: Path
    number: int
    time: float
    layers: Mapping[str, StoredLayer]

    def load(self, key: str) -> npt.NDArray[Any]:
        """Read a layer.

        Raises
        ------
        SessionError
            If the file is gone or does not hold what was written.
        """
        layer = self.layers[key]
        path = self.path.parent / layer.file
        try:
            array = np.empty(layer.shape, np.dtype(layer.dtype))
            crc = _read(path, array.shape, array.dtype, array)
        except Exception as error:  # zarr and zipfile raise anything on damaged files
            raise SessionError(f'The snapshot "{path.name}" cannot be read ({error}).') from error
        if crc != layer.crc:
            raise SessionError(f'The snapshot "{path.name}" is damaged: it does not hold what was written to it.')
        return array


def write_snapshot(
    folder: Path,
    number: int,
    time: float,
    layers: Mapping[str, tuple[Any, Mapping[str, Any]]],
    settle: Callable[[], object] = bool,
) -> Snapshot:
    """Write all layers of a project; what they are while this goes on is what is kept.

    Parameters
    ----------
    folder : Path
    number : int
        Of the last edit that is surely in the layers.
    time : float
        Seconds since 1970, UTC.
    layers : dict of (array, about)
        By their keys. Arrays may go on changing: the edits that do so are in the journal.
    settle : callable
        Is called when the layers have been read, and returns when all edits so far are in the journal: else what is
        kept might hold half an edit whose record was lost.

    Raises
    ------
    ExportError
        If it cannot be written; older snapshots are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for key, (array, about) in layers.items():
        # No other snapshot has a file of this name, also if it has the same number.
        name = f"{number:012d}-{key}-{time_ns():020d}.zarr.zip"
        dtype = np.dtype(array.dtype).newbyteorder("=")  # Zarr gives no other one back
        with replacing(folder / name) as temporary:
            crc = _write(temporary, array, dtype)
            if _read(temporary, tuple(array.shape), dtype) != crc:
                raise OSError(None, "what the disk holds differs from what was written")
        stored[key] = StoredLayer(name, tuple(array.shape), dtype.str, crc, about)
    settle()
    manifest = {
        "number": number,
        "time": time,
        "layers": {
            key: {"file": x.file, "shape": x.shape, "dtype": x.dtype, "crc": x.crc, "about": x.about}
            for key, x in stored.items()
        },
    }
    path = folder / f"{number:012d}.json"
    write_bytes(path, json.dumps(manifest, indent=1).encode())
    return Snapshot(path, number, time, stored)


def read_snapshots(folder: Path) -> list[Snapshot]:
    """Find all snapshots, the newest first; files that are no manifests are left out."""
    if not folder.is_dir():
        return []
    found = [_manifest(path) for path in folder.glob("*.json")]
    return sorted((snapshot for snapshot in found if snapshot), key=lambda snapshot: snapshot.number, reverse=True)


def prune(folder: Path, keep: int = KEPT) -> int:
    """Remove all but the newest snapshots, and what killed writers left; return the oldest number that is kept."""
    snapshots = read_snapshots(folder)
    if len(snapshots) < len(list(folder.glob("*.json"))):  # what belongs to those that cannot be read is not known
        return min((snapshot.number for snapshot in snapshots), default=0)
    for snapshot in snapshots[keep:]:
        files.remove(snapshot.path)
    kept = snapshots[:keep]
    needed = {layer.file for snapshot in kept for layer in snapshot.layers.values()}
    for path in folder.glob("*.zarr.zip"):
        if path.name not in needed:
            files.remove(path)
    for path in folder.glob(f"{PREFIX}*"):
        files.remove(path)
    return min((snapshot.number for snapshot in kept), default=0)


def _manifest(path: Path) -> Snapshot | None:
    try:
        known = json.loads(path.read_bytes())
        layers = {
            str(key): StoredLayer(
                Path(x["file"]).name, tuple(map(int, x["shape"])), str(x["dtype"]), int(x["crc"]), dict(x["about"])
            )
            for key, x in known["layers"].items()
        }
        return Snapshot(path, int(known["number"]), float(known["time"]), layers)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, array: Any, dtype: np.dtype[Any]) -> int:  # noqa: ANN401
    """Write an array into a ZIP archive, band by band; return the CRC-32 of what was written."""
    import zarr

    crc = 0
    path.unlink()
    with zarr.storage.ZipStore(path, mode="w") as store:
        chunks = tuple(min(n, CHUNK) if axis >= len(array.shape) - 2 else 1 for axis, n in enumerate(array.shape))
        target = zarr.create_array(store, shape=array.shape, chunks=chunks, dtype=dtype)
        for band in _bands(tuple(array.shape), chunks, dtype.itemsize):
            values = np.array(array[band], dtype, order="C")
            crc = zlib.crc32(values.data, crc)
            target[band] = values
    return crc


def _read(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], out: npt.NDArray[Any] | None = None) -> int:
    """Read an array from a ZIP archive, into `out` if that is given, and return the CRC-32 of its values."""
    import zarr

    crc = 0
    with zarr.storage.ZipStore(path, mode="r") as store:
        source = zarr.open_array(store, mode="r")
        if source.shape != shape or source.dtype != dtype:
            raise ValueError(f"it holds {source.shape} {source.dtype}")
        for band in _bands(shape, source.chunks, dtype.itemsize):
            values = np.ascontiguousarray(source[band])
            crc = zlib.crc32(values.data, crc)
            if out is not None:
                out[band] = values
    return crc


def _bands(shape: tuple[int, ...], chunks: Sequence[int], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Divide an array into bands of whole chunks that follow one another in C order."""
    row = chunks[-2] * shape[-1] * itemsize
    rows = max(1, _BAND_BYTES // max(1, row)) * chunks[-2]
    places = product(*(range(n) for n in shape[:-2]))
    for place in places:
        for y in range(0, shape[-2], rows):
            yield (*(slice(i, i + 1) for i in place), slice(y, min(shape[-2], y + rows)), slice(0, shape[-1]))
