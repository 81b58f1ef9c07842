"""One writer for each project folder: who it is, and who has to read only."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from napari_unet.atomic import write_bytes
from napari_unet.errors import ExportError
from napari_unet.session import files

LOCK, HOLDER = "lock", "holder.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a project open for writing."""

    user: str
    host: str
    process: int
    since: float

    def __str__(self) -> str:
        when = time.strftime("%H:%M on %d %B %Y", time.localtime(self.since))
        return f"{self.user} on {self.host}, since {when}"


class ProjectLock:
    """The right to write to a project folder.

    The system gives it back when the process ends, in whatever way, so no stale lock can stand in the way.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK, timeout=0, thread_local=False)

    def acquire(self) -> bool:
        """Take the lock if nobody has it; whether it was taken.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        try:
            self._lock.acquire()
        except Timeout:
            return False
        try:
            with contextlib.suppress(ExportError):  # who it is is a courtesy
                write_bytes(self._folder / HOLDER, json.dumps(asdict(_ourselves())).encode())
        except BaseException:
            self._lock.release()
            raise
        return True

    @property
    def held(self) -> bool:
        """Whether we have it."""
        return bool(self._lock.is_locked)

    def holder(self) -> Holder | None:
        """Return who has taken it last, where that is known."""
        try:
            known = json.loads((self._folder / HOLDER).read_bytes())
            return Holder(str(known["user"]), str(known["host"]), int(known["process"]), float(known["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def release(self) -> None:
        """Give it back."""
        if self.held:
            files.remove(self._folder / HOLDER)
            self._lock.release()


def _ourselves() -> Holder:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return Holder(user, platform.node() or "this computer", os.getpid(), time.time())
