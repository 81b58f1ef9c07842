"""Temporary folders of processes that were killed before they could remove them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_LOCK = "in-use"


def hold(folder: Path) -> int | None:
    """Mark a folder as being in use for as long as this process lives.

    Returns
    -------
    int or None
        The descriptor to close when the folder is given up; None where files cannot be locked.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if _lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def remove_leftovers(parent: Path) -> None:
    """Remove the folders ``napari-unet-<pid>-*`` that `hold` marked and whose process has ended."""
    for folder in parent.glob("napari-unet-*-*"):
        pid = folder.name.split("-")[2]
        ours = pid.isdigit() and (folder / _LOCK).is_file()
        if ours and not is_running(int(pid)) and not _is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Whether a process exists."""
    if sys.platform == "win32":
        return _is_running_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_held(folder: Path) -> bool:
    """Whether a process holds the folder; its pid may look dead from inside a container."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return True
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed; False if another process has it."""
    if sys.platform == "win32":  # an open file cannot be removed there, which is lock enough
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_running_on_windows(pid: int) -> bool:
    """Ask the system: ``os.kill(pid, 0)`` would end the process there."""
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32
    process = kernel.OpenProcess(query_limited_information, False, pid)
    if not process:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(process, ctypes.byref(code))
    kernel.CloseHandle(process)
    return code.value == still_active
