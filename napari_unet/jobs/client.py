"""The viewer's side of the background process: submit, cancel, poll. Knows no Qt."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from napari_unet.errors import JobError
from napari_unet.jobs.child import WORKER, Child
from napari_unet.jobs.messages import (
    Cancel,
    Discard,
    GoOn,
    JobCancelled,
    JobDone,
    JobEvent,
    JobFailed,
    Message,
    Pause,
    Ready,
    Start,
    encode_order,
)
from napari_unet.jobs.requests import Request

__all__ = ["JobCancelled", "JobClient", "JobDone", "JobEvent", "JobFailed", "Message", "Ready"]


@dataclass(slots=True)
class _Job:
    line: bytes
    cancelled: bool = False
    kill_at: float = float("inf")


class JobClient:
    """Runs requests, one after the other, in a background process.

    The process is started by `start` or the first `submit`, and again after it has died. It ends
    with `close`, with this object, and with the Python process, whatever happens first.

    Parameters
    ----------
    command : sequence of str, optional
        How to start the process.
    kill_after_s : float
        A job that gives no sign of life for so long after `cancel` is ended by force.

    Examples
    --------
    A viewer polls with a timer::

        client = JobClient()
        client.start()
        job = client.submit(request)
        for message in client.poll():
            match message:
                case JobEvent(job, TileDone(done, total, written)):
                    ...
    """

    def __init__(self, command: Sequence[str] | None = None, *, kill_after_s: float = 10.0) -> None:
        self._command = tuple(command or WORKER)
        self._kill_after_s = kill_after_s
        self._numbers = itertools.count(1)
        self._jobs: dict[int, _Job] = {}  # in the order in which they run: the first is running
        self._unread: list[Message] = []
        self._child: Child | None = None
        self._ready = False
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether the background process runs; it may still be loading."""
        return self._child is not None and self._child.alive

    @property
    def busy(self) -> bool:
        """Whether any job has not ended yet."""
        return bool(self._jobs)

    @property
    def process_id(self) -> int | None:
        """Of the background process, if there is one."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the background process unless it runs; returns at once, `Ready` follows.

        Raises
        ------
        JobError
            After `close`, or if the process cannot be started.
        """
        self._started()

    def _started(self) -> Child:
        if self._closed:
            raise JobError("The background process has been closed. Open the panel again.")
        if self._child is not None:
            return self._child
        try:
            self._child, self._ready = Child(self._command), False
            return self._child
        except OSError as error:
            raise JobError(
                f'The background process "{self._command[0]}" cannot be started ({error.strerror}). '
                "Close other programs, or install napari-unet again."
            ) from error

    def submit(self, request: Request) -> int:
        """Queue a request and return the number that its messages carry.

        Raises
        ------
        JobError
            After `close`, or if the process cannot be started.
        """
        if self._child is not None and not self._child.alive:
            self._child.wait_until_read(1)
            self._unread += self._poll()
        child = self._started()
        number = next(self._numbers)
        self._jobs[number] = _Job(encode_order(Start(number, request)))
        child.send(self._jobs[number].line)
        return number

    def cancel(self, job: int, *, keep: bool = True) -> None:
        """End a job; `JobCancelled` follows, or, if `keep`, `JobDone` with what a fine-tuning has so far."""
        wanted = self._jobs.get(job)
        if wanted is None or wanted.cancelled or self._child is None:
            return
        wanted.cancelled = True
        self._child.send(encode_order(Cancel(job) if keep else Discard(job)))
        if job == next(iter(self._jobs)):
            wanted.kill_at = time.monotonic() + self._kill_after_s
        else:  # it has not begun
            del self._jobs[job]
            self._unread.append(JobCancelled(job))

    def pause(self, job: int, paused: bool = True) -> None:
        """Let a job rest after its next event, or go on; it can be cancelled while it rests."""
        if job in self._jobs and self._child is not None:
            self._child.send(encode_order(Pause(job) if paused else GoOn(job)))

    def poll(self) -> list[Message]:
        """Return what has happened since the last call, in order, without waiting."""
        messages = [*self._unread, *self._poll()]
        self._unread = []
        return messages

    def close(self) -> None:
        """End the background process, and every job with it."""
        self._closed = True
        self._jobs.clear()
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _poll(self) -> list[Message]:
        child = self._child
        if child is None:
            return []
        ended = child.ended  # asked first: then nothing can arrive after the messages
        messages = [message for message in child.messages() if self._take(message)]
        if ended:
            messages += self._bury(child)
        elif self._jobs and next(iter(self._jobs.values())).kill_at < time.monotonic():
            messages += self._kill_unresponsive(child)
        return messages

    def _take(self, message: Message) -> bool:
        """Note what a message changes; False if it is about a job that has ended for us."""
        if isinstance(message, Ready):
            self._ready = True
            return True
        job = self._jobs.get(message.job)
        if job is None:
            return False
        if not isinstance(message, JobEvent):
            del self._jobs[message.job]
        elif job.cancelled:
            job.kill_at = time.monotonic() + self._kill_after_s
        return True

    def _bury(self, child: Child) -> list[Message]:
        """Fail all jobs of a process that died."""
        child.kill()
        self._child = None
        when, advice = ("before the job was done", "start the job again, with a smaller tile or image if it recurs")
        if not self._ready:
            when, advice = ("while it was loading", "start the job again, or install napari-unet anew if it recurs")
        sentence = f"The background process {child.how_it_ended()} {when}. Your layers are as they were; {advice}."
        jobs, self._jobs = self._jobs, {}
        return [
            JobCancelled(number) if job.cancelled else JobFailed(number, sentence, child.last_lines)
            for number, job in jobs.items()
        ]

    def _kill_unresponsive(self, child: Child) -> list[Message]:
        """End the process whose job ignores that it was cancelled; the others start again."""
        number = next(iter(self._jobs))
        del self._jobs[number]
        child.kill()
        self._child = None
        self._started()
        for job in self._jobs.values():
            self._started().send(job.line)
        return [JobCancelled(number)]
