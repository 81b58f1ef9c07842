"""The journal: every edit is appended to a file, and said to be saved only when it is on the disk.

A thread writes, so that painting never waits. When writing fails, edits are kept in memory and tried again,
each time in a new file: what stands behind a failed write is not known. After half a minute the journal moves
to another folder.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from napari_unet.session import files
from napari_unet.session.records import Packed, Patch, Record, Scan, encode, pack, scan

SUFFIX = ".nuj"
# Seconds between attempts to write, and after how many seconds the other folder is tried.
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 60.0
MOVE_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Saved:
    """How far the journal is.

    Attributes
    ----------
    number : int
        All records up to this one are on the disk.
    waiting : int
        Records that are not.
    problem : str
        Why, if something is wrong; empty otherwise.
    folder : Path
        Where it is written.
    """

    number: int
    waiting: int
    problem: str
    folder: Path


class Journal:
    """Appends records to files in a folder, in a thread of its own.

    Parameters
    ----------
    folder : Path
        Is made if there is none.
    other : Path, optional
        Where to write when that cannot be done in `folder` for half a minute.
    number : int
        Of the last record so far.
    on_change : callable, optional
        Is called in the thread of the journal with a `Saved` whenever that changes.
    settle : callable
        Is called in that thread after living arrays have been read, and returns when each change that they may have
        held has been appended. All of it is one edit then, which is found again as a whole or not at all.
    """

    def __init__(
        self,
        folder: Path,
        other: Path | None = None,
        number: int = 0,
        on_change: Callable[[Saved], None] | None = None,
        settle: Callable[[], object] = bool,
    ) -> None:
        self._folder, self._other, self._on_change, self._settle = folder, other, on_change, settle
        self._number = self._saved = number
        self._problem = ""
        self._waiting: list[Record] = []
        self._writing = 0
        self._segment: _Segment | None = None
        self._rotate = self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def append(self, layer: str, kind: str, *parts: Sequence[Patch], ended: bool = True) -> int:
        """Take an edit, whose arrays must not change any more; return the number of its last record at once.

        Parameters
        ----------
        layer, kind : str
        *parts : sequence of Patch
            A record each; either all of them are found again, or none.
        ended : bool
            False if the stroke is still being painted.
        """
        with self._changed:
            first, now = self._number + 1, time.time()
            self._number += len(parts)
            span = (first, self._number) if len(parts) > 1 else None
            self._waiting += [
                Record(number, layer, kind, now, tuple(part), span, ended) for number, part in enumerate(parts, first)
            ]
            self._changed.notify_all()
            return self._number

    def rotate(self) -> int:
        """Go on in a new file; return the number of the last record before it."""
        with self._changed:
            self._rotate = True
            return self._number

    @property
    def state(self) -> Saved:
        """How far it is."""
        with self._changed:
            return self._state()

    def wait(self, number: int | None = None, timeout_s: float = 10.0) -> bool:
        """Wait until a record, by default the last one, is on the disk; whether it is."""
        with self._changed:
            wanted = self._number if number is None else number
            return self._changed.wait_for(lambda: self._saved >= wanted, timeout_s)

    def retry(self) -> None:
        """Try again now."""
        with self._changed:
            self._changed.notify_all()

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what is left and end; whether all of it is on the disk."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return self.state.waiting == 0

    def _state(self) -> Saved:
        return Saved(self._saved, self._number - self._saved, self._problem, self._folder)

    def _run(self) -> None:
        failing_since: float | None = None
        pause = FIRST_RETRY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                batch = list(self._waiting)
                rotate, self._rotate = self._rotate, False
                if not batch:
                    break
            problem = self._write(batch, rotate)
            if not problem:
                failing_since, pause = None, FIRST_RETRY_S
                continue
            now = time.monotonic()
            failing_since = now if failing_since is None else failing_since
            if self._other is not None and now - failing_since >= MOVE_AFTER_S:
                self._folder, self._other, failing_since = self._other, None, None
                continue
            with self._changed:
                if self._closing:
                    break
                self._changed.wait(pause)
            pause = min(2 * pause, LAST_RETRY_S)
        self._end_segment()

    def _write(self, batch: Sequence[Record], rotate: bool) -> str:
        """Write records and wait for the disk; say what went wrong, if it did."""
        try:
            if rotate:
                self._end_segment()
            if self._segment is None:
                self._segment = _Segment.begin(self._folder, batch[0].number)
            packed = self._pack(batch)
            read = any(record.living for record in batch)
            span = (batch[0].number, packed[-1].record.number) if read and len(packed) > 1 else None
            self._segment.write(b"".join(encode(one, span) for one in packed))
        except OSError as error:
            # How much of the last write is in the file is not known: the next one goes into a new file.
            self._end_segment()
            self._tell(0, error.strerror or str(error))
            return self._problem
        except Exception as error:  # whatever it is: it must be seen, and tried again
            self._end_segment()
            self._tell(0, f"an edit could not be written ({error!r})")
            return self._problem
        self._tell(len(packed), "")
        return ""

    def _pack(self, batch: Sequence[Record]) -> list[Packed]:
        """Take the values of records; where arrays are living, also what may have been done to them meanwhile."""
        packed: list[Packed] = []
        while any(record.living for record in batch[len(packed) :]):
            packed += [pack(record) for record in batch[len(packed) :]]
            self._settle()
            with self._changed:
                batch = list(self._waiting)
        return packed + [pack(record) for record in batch[len(packed) :]]

    def _tell(self, written: int, problem: str) -> None:
        with self._changed:
            if written:
                self._saved = self._waiting[written - 1].number
                del self._waiting[:written]
            self._problem = problem
            self._changed.notify_all()
            state = self._state()
        if self._on_change is not None:
            self._on_change(state)

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


@dataclass(slots=True)
class _Segment:
    """A file that is being written."""

    descriptor: int

    @classmethod
    def begin(cls, folder: Path, number: int) -> _Segment:
        """Make a file for the records from a number on."""
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = files.append(folder / f"{number:012d}-{time.time_ns():020d}{SUFFIX}")
        files.sync_folder(folder)
        return cls(descriptor)

    def write(self, content: bytes) -> None:
        files.write_all(self.descriptor, content)
        files.sync(self.descriptor)
        if os.name == "posix" and not os.fstat(self.descriptor).st_nlink:
            raise OSError(errno.ENOENT, "the folder of the project has been removed")

    def close(self) -> None:
        try:
            os.close(self.descriptor)
        except OSError:
            return


@dataclass(frozen=True, slots=True)
class JournalFile:
    """A file of the journal and what it holds."""

    path: Path
    scan: Scan

    @property
    def last(self) -> int:
        """Number of its last record; 0 if there is none."""
        return max((record.number for record in self.scan.records), default=0)


def read_journal(folder: Path) -> list[JournalFile]:
    """Read all files of a journal, in the order in which they were begun.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    if not folder.is_dir():
        return []
    return [JournalFile(path, scan(path.read_bytes())) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def retire(folder: Path, number: int) -> None:
    """Remove the files all of whose records have numbers up to `number`.

    Told by the name of the file that follows, which begins where they end.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for path, following in pairwise(paths):
        if int(following.name.split("-")[0]) <= number + 1:
            files.remove(path)
