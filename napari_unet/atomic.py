"""Files that are either as they were or wholly new."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from napari_unet.errors import ExportError


def replace_file(path: Path, write: Callable[[Path], None], verify: Callable[[Path], None]) -> Path:
    """Write a file beside `path`, verify it, and only then put it in place.

    Parameters
    ----------
    path : Path
        The target.
    write : callable
        Writes the temporary file whose path it is given.
    verify : callable
        Reads it back and raises `ExportError` if it is not what was meant.

    Raises
    ------
    ExportError
        If anything goes wrong; `path` is unchanged then and nothing is left beside it.
    """
    temporary = path.with_name(f".{secrets.token_hex(6)}{path.suffix}")
    try:
        write(temporary)
        _sync(temporary)
        verify(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)
    except ExportError:
        raise
    except (OSError, ValueError) as error:
        raise ExportError(f'"{path.name}" could not be written to {path.parent}: {_reason(error)}.') from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text.strip().rstrip('.')}. Nothing was changed; choose another folder or make room, and try again"


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; Windows cannot open folders and needs no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
