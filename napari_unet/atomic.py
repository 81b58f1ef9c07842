"""Files that are either as they were or wholly new, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from napari_unet.errors import ExportError

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_CANNOT_RESERVE = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

PREFIX = ".saving-"
"""Of temporary files; one that is found later was left by a process that was killed."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to; put it in place at the end.

    Flushed to the disk before it takes the place of the old file, and removed if anything fails.

    Yields
    ------
    Path
        An empty file in the same folder, with the same suffix.

    Raises
    ------
    ExportError
        If the file cannot be written; whatever stood at `path` is unchanged.
    """
    temporary = None
    try:
        temporary = _temporary(path)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)  # noqa: PTH105  # tests fail it by this name
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise ExportError(_sentence(path, error)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; put it in place at the end.

    A folder that stands at `path` is moved aside for a moment and removed when the new one is in place; if that fails,
    it comes back. All files are flushed to the disk before.

    Yields
    ------
    Path
        In the same folder, with the same suffix.

    Raises
    ------
    ExportError
        If the folder cannot be written; whatever stood at `path` is unchanged.
    """
    temporary = None
    try:
        if path.is_file():
            raise FileExistsError(errno.EEXIST, "there is a file of that name", str(path))
        temporary = _temporary_folder(path)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        _swap(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ExportError(_sentence(path, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary_folder(path: Path) -> Path:
    """Create an empty folder beside `path`, with the rights that a new folder has there."""
    temporary = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=path.suffix, dir=path.parent))
    if os.name == "posix":
        temporary.chmod(0o777 & ~_umask())
    return temporary


def _swap(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another one, or where there is none."""
    if not path.exists():
        os.replace(temporary, path)  # noqa: PTH105  # tests fail it by this name
        return
    former = temporary.with_name(f"{temporary.name}-former")  # Windows moves no folder onto another one
    os.replace(path, former)  # noqa: PTH105
    try:
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        os.replace(former, path)  # noqa: PTH105
        raise
    shutil.rmtree(former, ignore_errors=True)


def replace_file(path: Path, write: Callable[[Path], object], verify: Callable[[Path], None]) -> Path:
    """Write a file beside `path`, verify it, and only then put it in place.

    Parameters
    ----------
    path : Path
        The target.
    write : callable
        Writes to the temporary file whose path it is given.
    verify : callable
        Reads it back and raises `ExportError` if it is not what was meant.

    Raises
    ------
    ExportError
        If anything goes wrong; `path` is unchanged then and nothing is left beside it.
    """
    with replacing(path) as temporary:
        write(temporary)
        verify(temporary)
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file at once or not at all.

    Raises
    ------
    ExportError
        If it cannot be written; whatever stood at `path` is unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        if temporary.read_bytes() != content:
            raise ExportError(f'"{path}" was not saved: what the disk holds differs from what was written.')
    return path


def _temporary(path: Path) -> Path:
    """Create an empty file in the folder of `path`, with the rights that a new file has there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", str(path))
    number, name = tempfile.mkstemp(prefix=PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(number)
    temporary = Path(name)
    if os.name == "posix":
        with contextlib.suppress(OSError):
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
    return temporary


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def reserve(descriptor: int, size: int, folder: Path) -> None:
    """Make an empty file large: a full disk fails here, and not when mapped memory is written to it.

    Parameters
    ----------
    descriptor : int
        Of the file.
    size : int
        In bytes.
    folder : Path
        On its disk; where the system cannot reserve space, it is asked how much is free there.

    Raises
    ------
    OSError
        If there is too little space.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        else:
            return
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.truncate(descriptor, size)


def unnamed_file(size: int) -> IO[bytes]:
    """Make a temporary file of zeros of which nothing is left when it is closed, whatever happens to this process.

    Raises
    ------
    OSError
        If it cannot be made, or there is too little space for it.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # whoever takes it closes it
    try:
        reserve(file.fileno(), size, Path(tempfile.gettempdir()))
    except BaseException:
        file.close()
        raise
    return file


def sync_folder(folder: Path) -> None:
    """Make new and renamed files of a folder durable; Windows does not need it, and some network drives cannot."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _sentence(path: Path, error: OSError) -> str:
    """Say what went wrong; numpy's errors about a full disk carry no number."""
    if error.errno in _FULL or (error.errno is None and "written" in str(error)):
        reason = f'the disk of "{path.parent}" is full. Free some space or choose another folder'
    elif error.errno in _FORBIDDEN:
        reason = f'the folder "{path.parent}" is read-only, or the file is open elsewhere. Choose another folder'
    elif error.errno == errno.ENOENT:
        reason = f'there is no folder "{path.parent}". Create it or choose another'
    elif error.errno == errno.EFBIG:
        reason = "the file would be larger than this system allows. Choose another folder"
    else:
        reason = f"{error.strerror or error}. Choose another name or folder"
    return f'"{path.name}" was not saved, and what was there before is unchanged: {reason}.'
