"""A background process whose jobs do what the name of their first file says; torch is not needed."""

import os
import sys
import time

from napari_unet.errors import Cancelled, ImageError
from napari_unet.events import Notice, Progress, TileDone
from napari_unet.jobs.requests import Device, MergeResult
from napari_unet.jobs.worker import serve


def count():
    """Ten quick events."""
    for done in range(10):
        yield TileDone(done + 1, 10, (((0, 1), (0, 1), (8 * done, 8 * done + 8), (0, 8)),))
    return MergeResult(kept=1, new=2)


def go_on():
    """Events until cancelled."""
    for step in range(10_000):
        yield Progress("Working", step, 10_000)
        time.sleep(0.02)
    return MergeResult(kept=0, new=0)


def answer_late():
    """As a fit: a cancel is answered with a result."""
    try:
        yield from go_on()
    except Cancelled:
        yield Notice("Judging what was learnt so far.")
    return MergeResult(kept=7, new=7)


def ignore_cancel():
    """Work that never comes to its next event."""
    yield Progress("Stuck", 0, 1)
    time.sleep(1000)


def chatter():
    """Prints, from Python and from below it."""
    sys.stdout.write("stray print\n")
    os.write(1, b'{"job": 1, "cancelled": true}\n')
    sys.stderr.write("x" * 300_000)
    yield Progress("Chatting", 1, 1)
    assert sys.stdin.read() == ""
    return MergeResult(kept=3, new=4)


def crash():
    """End the process without a word."""
    yield Progress("Crashing", 0, 1)
    sys.stderr.write("about to end\n")
    os._exit(3)


def fail():
    """One of our own errors."""
    yield Progress("Failing", 0, 1)
    raise ImageError("The image is odd. Choose another one.")


def surprise():
    """An error that nobody expected."""
    yield Progress("Failing", 0, 1)
    raise KeyError("nobody expected this")


def no_memory():
    """As torch says it on the processor."""
    yield Progress("Failing", 0, 1)
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")


def lose_gpu():
    """As torch says it after a fault on the GPU."""
    yield Progress("Failing", 0, 1)
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")


def load():
    if "--broken" in sys.argv:
        raise ImportError("libtorch.so is missing")
    return (Device(name="cpu", title="Processor"),), lambda request: globals()[request.predicted.path]()


if __name__ == "__main__":
    sys.stdout.write("a print before the streams are protected\n")
    sys.stdout.flush()
    serve(load)
