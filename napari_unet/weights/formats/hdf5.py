"""HDF5 files opened as plain arrays and texts: no links out of the file, no claims beyond its size."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import check_claim, check_file, reason, shape_text, shorten

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 20_000
MAX_DEPTH = 24
MAX_ARRAY_BYTES = 8 * 1024**3
MAX_TOTAL_BYTES = 16 * 1024**3
MAX_ATTRIBUTE_BYTES = 64 * 1024**2
MAX_RATIO = 1000
TRIAL_SECONDS = 30.0
TRIAL_BYTES_A_SECOND = 20e6
CRASHED_ON_WINDOWS = 0xC0000000
# Deflate, shuffle and Fletcher's checksum are built in; any other filter would load a library from a folder.
BUILT_IN_FILTERS = frozenset({1, 2, 3})
FLOAT_AND_INTEGER = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"})


class Hdf5:
    """A checked view of an open HDF5 file.

    Parameters
    ----------
    path : Path
        For messages.
    file : h5py.File
    size : int
        Bytes of the file: nothing in it can truly be larger.
    """

    def __init__(self, path: Path, file: h5py.File, size: int) -> None:
        self.path, self.file, self.size = path, file, size
        self._total = 0

    def find(self, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
        """Follow the hard links of ``a/b/c`` below `group`; None if there is no such object."""
        found: Any = group
        for part in name.split("/"):
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) and part else None
            if link is None:
                return None
            self._check_link(part, link)
            found = found[part]
        return found if isinstance(found, (h5py.Group, h5py.Dataset)) else None

    def group(self, parent: h5py.Group, name: str) -> h5py.Group | None:
        """Return the group of this name below `parent`, if there is one."""
        found = self.find(parent, name)
        return found if isinstance(found, h5py.Group) else None

    def datasets(self, group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
        """All datasets below `group` with their paths, in the order of names."""
        found: list[tuple[str, h5py.Dataset]] = []
        pending: list[tuple[str, h5py.Group, int]] = [("", group, 0)]
        seen = 0
        while pending:
            prefix, parent, depth = pending.pop()
            seen += len(parent)
            if depth > MAX_DEPTH or seen > MAX_OBJECTS:
                raise ModelError(
                    f'"{self.path.name}" is refused: its groups are nested more than {MAX_DEPTH} deep or hold more '
                    f"than {MAX_OBJECTS:,} objects, which no network needs."
                )
            for name in parent:
                child = self.find(parent, name)
                if isinstance(child, h5py.Dataset):
                    found.append((prefix + name, child))
                elif child is not None:
                    pending.append((f"{prefix}{name}/", child, depth + 1))
        return sorted(found, key=lambda item: item[0])

    def read(self, dataset: h5py.Dataset) -> np.ndarray:
        """Read one dataset into memory, if it is an array of numbers that lies within the file.

        Raises
        ------
        ModelError
            If it is stored elsewhere, is no array of numbers or claims more than the file holds.
        """
        name = str(dataset.name)
        self._check_storage(name, dataset)
        kind = f"{dataset.dtype.kind}{dataset.dtype.itemsize}"
        if kind not in FLOAT_AND_INTEGER or dataset.shape is None:
            raise ModelError(
                f'"{self.path.name}" holds "{shorten(name)}" of type {shorten(str(dataset.dtype))}: expected an array '
                "of numbers. Save the weights again, in single precision."
            )
        self._check_size(name, dataset)
        return np.asarray(dataset[()])

    def _check_link(self, name: str, link: object) -> None:
        if not isinstance(link, h5py.HardLink):
            raise ModelError(
                f'"{self.path.name}" is refused: its "{shorten(name)}" is a link that may lead to another file. '
                "Save the weights into one file."
            )

    def _check_storage(self, name: str, dataset: h5py.Dataset) -> None:
        problem = ""
        if dataset.is_virtual or dataset.external is not None:
            problem = "lies in another file. Save the weights into one file"
        else:
            creation = dataset.id.get_create_plist()
            filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
            if not filters <= BUILT_IN_FILTERS:
                problem = "is packed by a plugin of HDF5. Save the weights unpacked"
        if problem:
            raise ModelError(f'"{self.path.name}" is refused: its array "{shorten(name)}" {problem}.')

    def _check_size(self, name: str, dataset: h5py.Dataset) -> None:
        stored = dataset.id.get_storage_size()
        claimed = math.prod(dataset.shape) * dataset.dtype.itemsize
        if stored > self.size or claimed > MAX_ARRAY_BYTES or self._total + claimed > MAX_TOTAL_BYTES:
            raise ModelError(
                f'"{self.path.name}" is refused: its array "{shorten(name)}" of {shape_text(dataset.shape)} claims '
                f"{claimed:,} bytes in a file of {self.size:,}. It is damaged or made to fill the memory."
            )
        # Packed arrays may be larger than what is stored, plain ones not.
        factor = MAX_RATIO if dataset.chunks else 1
        check_claim(self.path, name, dataset.shape, dataset.dtype.itemsize, factor * stored)
        self._total += claimed
        if self._total > MAX_RATIO * self.size:
            raise ModelError(
                f'"{self.path.name}" is refused: its arrays claim {self._total:,} bytes, and the file holds '
                f"{self.size:,}. It is damaged or made to fill the memory."
            )

    def text(self, group: h5py.Group, name: str) -> str | None:
        """Return a text attribute; None if there is none."""
        value = self._attribute(group, name)
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            return value.decode("utf-8")
        return str(value) if isinstance(value, str) else None

    def names(self, group: h5py.Group, name: str) -> list[str] | None:
        """Return a list of texts, which may be cut into ``name0``, ``name1`` and so on; None if there is none."""
        if name in group.attrs:
            return self._text_list(self._attribute(group, name))
        if f"{name}0" not in group.attrs:
            return None
        found: list[str] = []
        for i in range(len(group.attrs)):
            if f"{name}{i}" not in group.attrs:
                break
            found += self._text_list(self._attribute(group, f"{name}{i}"))
        return found

    def _attribute(self, group: h5py.Group, name: str) -> object:
        if name not in group.attrs:
            return None
        attribute = group.attrs.get_id(name)
        count = math.prod(attribute.shape)
        # A text of any length lies elsewhere in the file, and several may be the same one.
        variable = h5py.check_vlen_dtype(attribute.dtype) or h5py.check_string_dtype(attribute.dtype)
        longest = self.size if variable and attribute.dtype.kind == "O" else attribute.dtype.itemsize
        limit = MAX_ATTRIBUTE_BYTES if count == 1 else 256 * MAX_ATTRIBUTE_BYTES
        if count > MAX_OBJECTS or count * min(longest, MAX_ATTRIBUTE_BYTES) > limit:
            raise ModelError(
                f'"{self.path.name}" is refused: its description "{shorten(name)}" is too large to be one.'
            )
        return group.attrs[name]

    def _text_list(self, value: object) -> list[str]:
        # An empty list is written as an empty array of numbers.
        items = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else [value]
        texts = [item.decode("utf-8") if isinstance(item, bytes) else item for item in items]
        if not all(isinstance(text, str) for text in texts):
            raise ModelError(f'"{self.path.name}" is damaged: its list of names is none. Copy it again.')
        return [str(text) for text in texts]


@contextmanager
def open_hdf5(path: Path, content: bytes | None = None) -> Iterator[Hdf5]:
    """Open an HDF5 file, or its `content` that lay inside a zip, after a trial in a process of its own.

    Parameters
    ----------
    path : Path
    content : bytes, optional
        What to read instead of the file; `path` is then only for messages.

    Raises
    ------
    ModelError
        If it cannot be read, also for whatever goes wrong while it is read inside the block.
    """
    size = check_file(path) if content is None else len(content)
    try_elsewhere(path, content, size)
    with open_here(path, content) as hdf5:
        yield hdf5


@contextmanager
def open_here(path: Path, content: bytes | None = None) -> Iterator[Hdf5]:
    """Open an HDF5 file without a trial; see `open_hdf5`."""
    size = check_file(path) if content is None else len(content)
    # Locks fail on many network drives, and nothing is written here.
    options = {"locking": False} if content is None else {}
    try:
        with h5py.File(path if content is None else io.BytesIO(content), "r", **options) as file:
            yield Hdf5(path, file, size)
    except ModelError:
        raise
    # A damaged file can make h5py raise nearly anything.
    except Exception as error:
        raise ModelError(
            f'"{path.name}" is damaged or was copied only in part ({reason(error)}): expected an HDF5 file with '
            "weights. Copy it again."
        ) from error


def try_elsewhere(path: Path, content: bytes | None, size: int) -> None:
    """Read all of a file in a process of its own first: the HDF5 library can hang or crash on a damaged one.

    Raises
    ------
    ModelError
        If the process crashes or does not end in time.
    """
    command = (sys.executable, "-P", "-m", "napari_unet.weights.formats.hdf5_trial")
    try:
        code = subprocess.run(  # noqa: S603  # our own module, run by this Python
            (*command, "-" if content is not None else str(path.absolute())),
            input=content or b"",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_SECONDS + size / TRIAL_BYTES_A_SECOND,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        problem = "reading it does not end"
    except OSError:
        return  # where no process can be started, the file is opened all the same
    else:
        problem = "reading it crashes" if code < 0 or code >= CRASHED_ON_WINDOWS else ""
    if problem:
        raise ModelError(f'"{path.name}" is damaged: {problem}. Copy it again, or save the weights again.')
