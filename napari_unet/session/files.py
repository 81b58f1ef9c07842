"""The few calls that write to the disk, in one place, so that each of them can be made to fail in tests."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from napari_unet.atomic import sync_folder

__all__ = ["append", "remove", "sync", "sync_folder", "write_all"]


def append(path: Path) -> int:
    """Open a file to append to, made if there is none; return its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`; the system may take it in several goes."""
    left = memoryview(content)
    while left:
        count = os.write(descriptor, left)
        if count <= 0:
            raise OSError(errno.EIO, "the system took nothing")
        left = left[count:]


def sync(descriptor: int) -> None:
    """Return when what was written is on the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def remove(path: Path) -> None:
    """Remove a file that may be gone, or in use, or not ours."""
    with contextlib.suppress(OSError):
        path.unlink()
