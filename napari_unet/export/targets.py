"""Files that are about to be written: nothing is replaced by accident, and what cannot be written is said early."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from napari_unet.atomic import PREFIX
from napari_unet.errors import ExportError


def check_targets(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that no file to be written is one that is read, under whatever name.

    Raises
    ------
    ExportError
        If one is.
    """
    known = {_identity(path): path for path in inputs}
    for target in targets:
        identity = _identity(target)
        if identity is not None and identity in known:
            raise ExportError(
                f'Writing "{target}" would replace "{known[identity]}", which is one of the inputs. '
                "Choose another name or folder for the results."
            )


def check_free(target: Path, *, overwrite: bool) -> None:
    """Check that a file may be put at `target`.

    Raises
    ------
    ExportError
        If there is a folder, or a file that is not to be overwritten.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ExportError(f'"{target}" cannot be written ({error.strerror}). Choose another name or folder.') from error
    if stat.S_ISDIR(mode):
        raise ExportError(f'"{target}" is a folder, and a file was expected. Choose another name.')
    if not overwrite:
        raise ExportError(f'"{target}" already exists; use --overwrite to replace it.')


def check_place(target: Path, *, overwrite: bool) -> None:
    """Check that a file, or a Zarr store, may be put at `target`.

    Raises
    ------
    ExportError
        As `check_free`; a store may replace a store.
    """
    if target.suffix.lower() == ".zarr" and target.is_dir():
        if not overwrite:
            raise ExportError(f'"{target}" already exists; use --overwrite to replace it.')
        return
    check_free(target, overwrite=overwrite)


def make_folder(folder: Path) -> None:
    """Make a folder for results if it is missing.

    Raises
    ------
    ExportError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f'The folder "{folder}" cannot be made ({error.strerror}). Choose another one.') from error


def check_folder(folder: Path) -> None:
    """Check that files can be made in a folder, by making one for a moment.

    Raises
    ------
    ExportError
        If they cannot.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=folder):
            pass
    except OSError as error:
        raise ExportError(
            f'No file can be written to the folder "{folder}" ({error.strerror}). Choose another one.'
        ) from error


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path at which there is nothing yet: ``stem-1``, or the next number that is free."""
    numbered = (folder / f"{stem}-{number}{suffix}" for number in count(1))
    return next(path for path in numbered if not path.exists())


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what all names of one file have in common; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
