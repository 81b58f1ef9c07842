"""Somebody else's network in a process of its own, seen from this side."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.errors import ModelError
from napari_unet.weights.formats.limits import shorten

ProgramKind = Literal["onnx", "torchscript"]

CHILD = Path(__file__).with_name("child.py")
MAX_TEXT_BYTES = 2**20
MAX_ANSWER_BYTES = 16 * 1024**3
MEMORY_BYTES = 32 * 1024**3
"""More than this, or than three quarters of the machine's memory, is never granted."""
TIMEOUT_S = 600.0
# What a process needs to find its libraries. Nothing else is inherited: no tokens, no proxies, no home.
_INHERITED = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "SYSTEMROOT", "WINDIR", "LANG",
    "LC_ALL", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
)  # fmt: skip


class Program:
    """A network that is a program. Its process is started when it is first needed, and ends with this object.

    Parameters
    ----------
    name : str
        For messages.
    kind : "onnx" | "torchscript"
    read : callable
        Returns the content of its file; called whenever the process is started.
    sha256 : str
        What the content must be.
    timeout_s : float
        After so long without an answer the process is ended.
    """

    def __init__(
        self, name: str, kind: ProgramKind, read: Callable[[], bytes], sha256: str, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.name, self.kind, self.sha256, self.timeout_s = name, kind, sha256, timeout_s
        self._read = read
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = _nothing
        self._facts: dict[str, Any] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """What the process found out while opening the network."""
        with self._lock:
            self._ready()
            return self._facts

    @property
    def pid(self) -> int | None:
        """The system's number of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def run(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the network on an array, in its own layout.

        Raises
        ------
        ModelError
            If the network refuses the array, or its process ended.
        """
        with self._lock:
            process = self._ready()
            order = {"shape": image.shape}
            answer, content = self._ask(process, order, np.ascontiguousarray(image, np.float32).tobytes())
        shape = answer.get("shape")
        if not isinstance(shape, list) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ModelError(f'"{self.name}" gave an answer without a shape. It cannot be used.')
        if math.prod(shape) * 4 != len(content):
            raise ModelError(f'"{self.name}" gave {len(content):,} bytes for the shape {shape}. It cannot be used.')
        return np.frombuffer(content, np.float32).reshape(shape)

    def close(self) -> None:
        """End the process at once; the next call starts another."""
        self._end()
        self._process, self._end = None, _nothing

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        content = self._read()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(f'"{self.name}" has changed since it was opened. Open it again.')
        folder = tempfile.TemporaryDirectory(prefix="napari-unet-", ignore_cleanup_errors=True)
        process = _start(folder.name)
        self._process, self._end = process, weakref.finalize(self, _end, process, folder)
        order = {
            "kind": self.kind,
            "paths": _import_paths(),
            "threads": _threads(),
            "memory_bytes": _memory_bytes(),
        }
        self._facts = self._ask(process, order, content)[0]
        return process

    def _ask(
        self, process: subprocess.Popen[bytes], order: dict[str, Any], content: bytes
    ) -> tuple[dict[str, Any], bytes]:
        """Send an order and wait for the answer; whatever interrupts the wait ends the process."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(self.timeout_s, process.kill)
        late.daemon = True
        late.start()
        try:
            _send(process.stdin, order, content)
            answer, found = _receive(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            waited = late.finished.is_set()
            code = self._ended(process)
            why = f"took longer than {self.timeout_s:.0f} s" if waited else f"ended {code}"
            raise ModelError(
                f'The process that runs "{self.name}" {why}. Choose a smaller tile, or another model.'
            ) from error
        except BaseException:
            self.close()
            raise
        finally:
            late.cancel()
        if "error" in answer:
            raise ModelError(f'"{self.name}" cannot be run: {shorten(str(answer["error"]), 300).rstrip(".")}.')
        return answer, found

    def _ended(self, process: subprocess.Popen[bytes]) -> str:
        """End the process, and say how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        code = process.returncode
        self.close()
        if code is None:
            return "its answers in the middle"
        return f"with exit code {code}" if code >= 0 else f"by signal {-code}, often because memory ran out"


def _nothing() -> None:
    """Nothing has to be ended."""


def _start(folder: str) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"HOME": folder, "TMPDIR": folder, "TEMP": folder, "TMP": folder, "CUDA_VISIBLE_DEVICES": ""}
    try:
        return subprocess.Popen(  # noqa: S603  # our own script, run by this Python
            (sys.executable, "-I", "-B", str(CHILD)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise ModelError(f"A process for the network cannot be started: {error.strerror}.") from error


def _end(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Kill the process, collect it and remove its folder; also called when Python ends."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    folder.cleanup()


def _send(pipe: IO[bytes], order: dict[str, Any], content: bytes) -> None:
    text = json.dumps({**order, "bytes": len(content)}).encode()
    pipe.write(len(text).to_bytes(4, "little") + text)
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read an answer, trusting none of its sizes."""
    length = int.from_bytes(_exactly(pipe, 4), "little")
    if length > MAX_TEXT_BYTES:
        message = "the answer is too long"
        raise ValueError(message)
    answer = json.loads(_exactly(pipe, length))
    count = answer.get("bytes") if isinstance(answer, dict) else None
    if not isinstance(count, int) or not 0 <= count <= MAX_ANSWER_BYTES:
        message = "the answer does not say how long it is"
        raise ValueError(message)
    return answer, _exactly(pipe, count)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError
    return content


def _import_paths() -> Sequence[str]:
    """Return the folders of installed packages, but not the one that Python was started in."""
    return [path for path in sys.path if path and Path(path).is_absolute() and Path(path).is_dir()]


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _memory_bytes() -> int:
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return MEMORY_BYTES
    return min(MEMORY_BYTES, installed * 3 // 4)
