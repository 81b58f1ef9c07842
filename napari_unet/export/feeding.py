"""Handing values one by one to a function that pulls them from an iterator.

Libraries that write files want an iterator and come back when all is written. Long work of ours is a generator that
pauses after each step, so that it can be watched and cancelled. So the library runs in a thread of its own and waits
there for each value; while it compresses one, the next is read.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

Value = TypeVar("Value")

_END: Any = object()
_STOP: Any = object()
_PATIENCE_S = 0.2


class _Stopped(Exception):  # noqa: N818  # nothing is wrong: there will be no more values
    """Raised in the function that pulls when the values end early."""


def feed(consume: Callable[[Iterator[Value]], object], values: Iterable[Value]) -> Generator[None, None, None]:
    """Call `consume` with an iterator of `values`, and pause after each of them.

    Parameters
    ----------
    consume : callable
        Runs in a thread. When this generator is closed, or `values` fail, its iterator raises; it has returned before
        this generator ends.
    values : iterable
        Made in the thread of the caller.

    Raises
    ------
    Exception
        Whatever `values` or `consume` raise.

    >>> found = []
    >>> list(feed(found.extend, (1, 2)))
    [None, None]
    >>> found
    [1, 2]
    """
    pipe: queue.Queue[Value] = queue.Queue(maxsize=1)
    with ThreadPoolExecutor(1, thread_name_prefix="napari-unet-writer") as pool:
        work = pool.submit(consume, _received(pipe))
        try:
            for value in values:
                _put(pipe, value, work)
                yield
            _put(pipe, _END, work)
        except BaseException:
            with suppress(queue.Empty):
                pipe.get_nowait()  # only this thread puts: now there is room
            pipe.put(_STOP)
            raise
        work.result()


def _received(pipe: queue.Queue[Value]) -> Iterator[Value]:
    while (value := pipe.get()) is not _END:
        if value is _STOP:
            raise _Stopped
        yield value


def _put(pipe: queue.Queue[Value], value: Value, work: Future[object]) -> None:
    """Hand over a value; a function that has ended is not waited for, and what ended it is raised."""
    while not work.done():
        with suppress(queue.Full):
            pipe.put(value, timeout=_PATIENCE_S)
            return
    work.result()
