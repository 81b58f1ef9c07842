"""The background process: ``python -m napari_unet.jobs.worker``.

Reads orders from stdin and answers on stdout, one JSON object a line (see `messages`). It ends at
once when stdin is closed, which happens when the viewer ends in whatever way.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import IO, assert_never

from napari_unet.errors import Cancelled, NapariUnetError
from napari_unet.events import Event
from napari_unet.jobs.explaining import explain, is_lost_gpu
from napari_unet.jobs.messages import (
    Cancel,
    Discard,
    GoOn,
    JobCancelled,
    JobDone,
    JobEvent,
    JobFailed,
    Message,
    Order,
    Pause,
    Ready,
    Start,
    decode_order,
    encode,
)
from napari_unet.jobs.requests import Device, JobResult, Request
from napari_unet.jobs.running import drive
from napari_unet.jobs.tuning import Threads, give_memory_back, keep_memory, usable_cores

IDLE_S = 1.0
WorkFor = Callable[[Request], Generator[Event, None, JobResult]]


class Wire:
    """The way back to the viewer; several threads may send."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one message; the process ends if nobody is there to read it."""
        try:
            with self._lock:
                self._pipe.write(encode(message))
                self._pipe.flush()
        except OSError:
            os._exit(0)


class Inbox(threading.Thread):
    """Reads orders while a job runs, so that a cancel is heard at the job's next event."""

    def __init__(self, pipe: IO[bytes], wire: Wire) -> None:
        super().__init__(daemon=True, name="orders")
        self._pipe = pipe
        self._wire = wire
        self._lock = threading.Lock()
        self._waiting: dict[int, Request] = {}
        self._arrived = threading.Semaphore(0)
        self._running: int | None = None
        self._stop = False
        self._dropped: set[int] = set()
        self._paused: set[int] = set()
        self._awake = threading.Condition(self._lock)

    def run(self) -> None:
        """Read until the viewer is gone, then end the process."""
        for line in self._pipe:
            try:
                self._take(decode_order(line))
            except ValueError:
                traceback.print_exc()
        os._exit(0)

    def _take(self, order: Order) -> None:
        match order:
            case Start(job, request):
                with self._lock:
                    self._waiting[job] = request
                self._arrived.release()
            case Cancel(job):
                self._cancel(job)
            case Discard(job):
                self._dropped.add(job)
                self._cancel(job)
            case Pause(job):
                with self._lock:
                    self._paused.add(job)
            case GoOn(job):
                with self._awake:
                    self._paused.discard(job)
                    self._awake.notify_all()
            case _:
                assert_never(order)

    def next(self, when_idle: Callable[[], None]) -> tuple[int, Request]:
        """Wait for a job and take it; `when_idle` is called once if that takes a while."""
        while True:
            if not self._arrived.acquire(timeout=IDLE_S):
                when_idle()
                self._arrived.acquire()
            with self._lock:
                if self._waiting:  # else it was cancelled before it began
                    job = next(iter(self._waiting))
                    self._running, self._stop = job, False
                    return job, self._waiting.pop(job)

    def should_stop(self) -> bool:
        """Whether the running job has been cancelled."""
        return self._stop

    def should_drop(self) -> bool:
        """Whether the running job is not to answer either."""
        return self._running in self._dropped

    def rest(self) -> None:
        """Wait while the running job is paused; a cancel ends that."""
        with self._awake:
            self._awake.wait_for(lambda: self._stop or self._running not in self._paused)

    def _cancel(self, job: int) -> None:
        with self._awake:
            waiting = self._waiting.pop(job, None) is not None
            self._stop = self._stop or job == self._running
            self._awake.notify_all()
        if waiting:
            self._wire.send(JobCancelled(job))


def serve(load: Callable[[], tuple[tuple[Device, ...], WorkFor]]) -> None:
    """Answer orders until the viewer is gone.

    Parameters
    ----------
    load : callable
        Imports what the jobs need, and returns the devices and a function that turns a request
        into a generator of events which returns the result. Orders are read meanwhile.
    """
    orders, answers = _protect_streams()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is for the viewer
    wire = Wire(answers)
    inbox = Inbox(orders, wire)
    inbox.start()
    _watch_parent()
    _lower_priority()
    devices, work_for = load()
    wire.send(Ready(devices))
    while True:
        job, request = inbox.next(give_memory_back)
        try:
            work = work_for(request)
            result = drive(
                work,
                lambda event: wire.send(JobEvent(job, event)),  # noqa: B023
                inbox.should_stop,
                inbox.rest,
                inbox.should_drop,
            )
            wire.send(JobDone(job, result))
        except Exception as error:  # whatever it is, only this job ends
            wire.send(_bad_end(job, error))
            if is_lost_gpu(error):
                os._exit(1)  # the viewer starts a new process, which can use it again
        _release_gpu_memory()


def _bad_end(job: int, error: Exception) -> Message:
    if isinstance(error, Cancelled):
        return JobCancelled(job)
    if isinstance(error, NapariUnetError):
        return JobFailed(job, str(error))
    return JobFailed(job, explain(error), "".join(traceback.format_exception(error)))


def _release_gpu_memory() -> None:
    """Give the memory that torch keeps for later back to the other programs on the GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()  # what an exception still refers to
        torch.cuda.empty_cache()


def load() -> tuple[tuple[Device, ...], WorkFor]:
    """Import torch and the compute rooms, leave the viewer a core, and list the devices."""
    logging.basicConfig()
    logging.getLogger("napari_unet").setLevel(logging.INFO)
    keep_memory()
    threads = Threads(usable_cores())
    from napari_unet.inference.devices import list_devices
    from napari_unet.jobs.work import work_for

    importing = _warm_up()
    devices = tuple(
        Device(name=device.name, title=device.title, free_bytes=device.free_bytes) for device in list_devices()
    )

    def begin(request: Request) -> Generator[Event, None, JobResult]:
        if not importing.is_alive():  # it takes a core: then a later job is soon enough
            threads.calibrate()
        return work_for(request)

    return devices, begin


def _warm_up() -> threading.Thread:
    """Make torch load its convolution kernels, some tens of milliseconds.

    Its compiler takes a second, and tracing a network imports it without using it: that goes on beside the first job.
    """
    import torch

    importing = threading.Thread(target=import_module, args=("torch._dynamo",), daemon=True, name="warm up")
    importing.start()
    with torch.inference_mode():
        torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3))
    return importing


def _protect_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the two pipes to ourselves: prints go to stderr instead, and input() sees nothing."""
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, answers


def _lower_priority() -> None:
    """Let the viewer go first; where the system has no such thing, do without."""
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(10)
    # Where memory runs out, Linux ends this process and not the viewer.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _watch_parent() -> None:
    """End with the viewer even if another program has inherited its end of the pipe."""
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    serve(load)
