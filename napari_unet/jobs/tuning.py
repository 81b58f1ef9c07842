"""How the background process uses memory and processor cores. It may change both: nothing else lives in it.

A network asks for the same large arrays again and again. glibc maps such arrays from the system and gives them back
each time, and the system must fill each of their pages with zeros first: 150,000 to 220,000 page faults while an image
of 2048 x 2048 pixels is predicted, a tenth of the time. Here they stay with the process until it has nothing to do.
"""

from __future__ import annotations

import ctypes
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

THREADS = "NAPARI_UNET_THREADS"
BUDGET_S = 0.2
_TRIALS = 3
_CLEARLY = 0.9
# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_GROW_BYTES = 64 * 2**20
_log = logging.getLogger(__name__)


def keep_memory() -> bool:
    """Make the allocator keep what is freed, for the next array of its size; call it before the first large one.

    Returns
    -------
    bool
        Whether that was possible: only glibc has these switches.
    """
    library = _glibc()
    if library is None:
        return False
    # Off: giving the end of the heap back, and mapping large arrays one by one. Other threads' heaps hold 64 MB at
    # most; what is larger, they take from the main one.
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, _GROW_BYTES))
    taken = [library.mallopt(name, value) for name, value in wanted]
    return all(taken)


def give_memory_back() -> None:
    """Return all memory that is free to the system."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def usable_cores() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wished_threads() -> int | None:
    """Return how many threads the user set with ``NAPARI_UNET_THREADS`` or ``OMP_NUM_THREADS``; None for no wish."""
    for name in (THREADS, "OMP_NUM_THREADS"):
        wish = os.environ.get(name, "").strip()
        if wish.isdecimal() and int(wish):
            return int(wish)
    return None


def candidates(most: int) -> tuple[int, ...]:
    """Numbers of threads that are worth trying.

    >>> candidates(15), candidates(2), candidates(1)
    ((15, 7, 1), (2, 1), (1,))
    """
    return tuple(sorted({most, max(1, most // 2), 1}, reverse=True))


def choose_threads(counts: Sequence[int], time_s: Callable[[int], float], budget_s: float = BUDGET_S) -> int:
    """Choose the number of threads that is quickest as the machine is used just now.

    Where other programs use the cores, threads wait for each other, and fewer of them can be quicker. The most is taken
    where there is no clear winner: the other programs may end.

    Parameters
    ----------
    counts : sequence of int
        The most first.
    time_s : callable
        Runs a piece of work with that many threads, and returns how long it took.
    budget_s : float
        No further round is begun after that time.
    """
    if len(counts) == 1:
        return counts[0]
    began, trials = time.perf_counter(), {count: list[float]() for count in counts}
    for _ in range(_TRIALS):
        for count in counts:  # in turns: a burst of other work does not hit one of them alone
            trials[count].append(time_s(count))
        if time.perf_counter() - began > budget_s:
            break
    usual = {count: statistics.median(seconds) for count, seconds in trials.items()}
    most, quickest = counts[0], min(counts, key=usual.__getitem__)
    chosen = quickest if usual[quickest] < _CLEARLY * usual[most] else most
    took = ", ".join(f"{count}: {1000 * seconds:.1f} ms" for count, seconds in usual.items())
    _log.info("%d threads; a convolution takes with %s", chosen, took)
    return chosen


class Threads:
    """Sets the number of torch's threads: what the user wishes, or else what is quickest, with a core for the viewer.

    Parameters
    ----------
    cores : int
        That this process may use.
    """

    def __init__(self, cores: int) -> None:
        import torch

        wish = wished_threads()
        most = max(1, min(torch.get_num_threads(), cores - 1))
        self._counts = (wish,) if wish else candidates(most)
        torch.set_num_threads(self._counts[0])
        if wish:
            _log.info("%d threads, as set by %s or OMP_NUM_THREADS", wish, THREADS)

    def calibrate(self) -> None:
        """Measure and choose, the first time that it is called; some tenths of a second where there is a choice."""
        import torch

        if len(self._counts) > 1:
            chosen = choose_threads(self._counts, _time_convolution)
            self._counts = (chosen,)
            torch.set_num_threads(chosen)


def _time_convolution(threads: int) -> float:
    """Seconds for a strip of 64 x 512 pixels and 32 channels, as in the upper levels of a network."""
    import torch

    torch.set_num_threads(threads)
    strip, weight = torch.zeros(1, 32, 66, 514), torch.zeros(32, 32, 3, 3)
    strip = strip.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.nn.functional.conv2d(strip[:, :, :10, :10], weight)  # starts the threads
        began = time.perf_counter()
        torch.nn.functional.conv2d(strip, weight)
        return time.perf_counter() - began
