"""One background process, its three pipes, and how it ended."""

from __future__ import annotations

import collections
import contextlib
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import IO

from napari_unet.jobs.messages import Message, decode

# -P: a file called torch.py in the folder where napari was started must not be imported.
WORKER = (sys.executable, "-P", "-m", "napari_unet.jobs.worker")
_LINE_BYTES = 2000
_ENDED_ON_WINDOWS = {0xC0000005: "crashed", 0xC00000FD: "crashed", 0xC0000017: "ran out of memory"}


class Child:
    """A background process. No method waits for it, except `kill`, and that one briefly.

    Parameters
    ----------
    command : sequence of str

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # a fixed command, from no user input
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._finalizer = weakref.finalize(self, _end, self._process, self._orders)
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=60)
        # The threads know the pipes but not this object, so that it can be collected.
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        _thread(_write, stdin, self._orders)
        self._readers = (
            _thread(_read, stdout, self._messages, self._last_lines),
            _thread(_keep_last, stderr, self._last_lines),
        )

    def send(self, line: bytes) -> None:
        """Write a line to the process, now or when it reads."""
        self._orders.put(line)

    def messages(self) -> list[Message]:
        """Return what has arrived since the last call."""
        arrived = []
        with contextlib.suppress(queue.Empty):
            while True:
                arrived.append(self._messages.get_nowait())
        return arrived

    @property
    def pid(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether the process has ended and all that it wrote has been read."""
        return not self.alive and not self._readers[0].is_alive()

    def wait_until_read(self, timeout_s: float) -> None:
        """Of a process that ends: wait until all that it wrote has been read."""
        self._readers[0].join(timeout_s)

    @property
    def last_lines(self) -> str:
        """The end of what the process wrote to stderr."""
        self._readers[1].join(timeout=0.2)
        return "\n".join(self._last_lines)

    def how_it_ended(self) -> str:
        """Say how the process ended, as in "The background process ...".

        >>> child = Child([sys.executable, "-c", "raise SystemExit(3)"])
        >>> child.wait(10)
        >>> child.how_it_ended()
        'ended with exit code 3'
        """
        return describe_exit(self._process.returncode)

    def wait(self, timeout_s: float) -> None:
        """Wait until the process has ended, or until `timeout_s` are over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def kill(self) -> None:
        """End the process at once."""
        self._finalizer()


def describe_exit(code: int | None) -> str:
    """Say what an exit code means.

    >>> describe_exit(-9)
    'was killed by the system, often because memory ran out,'
    >>> describe_exit(0)
    'ended with exit code 0'
    """
    if code is None:
        return "stopped answering"
    if code in _ENDED_ON_WINDOWS:
        return _ENDED_ON_WINDOWS[code]
    if code >= 0:
        return f"ended with exit code {code}"
    if code == -9:
        return "was killed by the system, often because memory ran out,"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    crashes = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"}
    return f"crashed ({name})" if name in crashes else f"was ended by {name}"


def _thread(target: object, *args: object) -> threading.Thread:
    assert callable(target)
    thread = threading.Thread(target=target, args=args, daemon=True, name="napari-unet jobs")
    thread.start()
    return thread


def _write(pipe: IO[bytes], orders: queue.SimpleQueue[bytes | None]) -> None:
    """Pass orders on, so that a process that does not read cannot block the viewer."""
    with contextlib.suppress(OSError, ValueError), pipe:
        while (line := orders.get()) is not None:
            pipe.write(line)
            pipe.flush()


def _read(pipe: IO[bytes], messages: queue.SimpleQueue[Message], last_lines: collections.deque[str]) -> None:
    """Read messages; anything else that comes this way is kept for the details of a failure."""
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
            try:
                messages.put(decode(line))
            except (ValueError, KeyError, TypeError):
                last_lines.append(line.decode(errors="replace").rstrip()[:_LINE_BYTES])


def _keep_last(pipe: IO[bytes], last_lines: collections.deque[str]) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:
        while line := pipe.readline(_LINE_BYTES):
            last_lines.append(line.decode(errors="replace").rstrip())


def _end(process: subprocess.Popen[bytes], orders: queue.SimpleQueue[bytes | None]) -> None:
    """Kill the process and collect it; also called when Python ends."""
    orders.put(None)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
