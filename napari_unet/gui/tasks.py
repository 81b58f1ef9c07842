"""Run work that takes time without blocking the viewer: one task at a time, driven by a timer.

A task is a generator that reads in the order in which things happen. It yields steps, and is
sent their results:

    labels = yield Aside(lambda: scratch.stage(array))      # in a thread
    result = yield Remote(request, on_event)                # in the background process

Between the steps it runs in the main thread and may touch layers and state. An error of a step is
thrown into it, and so is `Cancelled` when the user cancels.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from qtpy.QtCore import QObject, QTimer

from napari_unet.errors import Cancelled, JobError, NapariUnetError
from napari_unet.events import Event
from napari_unet.jobs.messages import JobCancelled, JobDone, JobEvent, JobFailed, Message, Ready
from napari_unet.jobs.requests import FinetuneResult, Request

POLL_MS = 30


class Client(Protocol):
    """What a task runner needs of `napari_unet.jobs.client.JobClient`."""

    def start(self) -> None: ...  # noqa: D102
    def submit(self, request: Request) -> int: ...  # noqa: D102
    def cancel(self, job: int, *, keep: bool = True) -> None: ...  # noqa: D102
    def pause(self, job: int, paused: bool = True) -> None: ...  # noqa: D102
    def poll(self) -> list[Message]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Aside:
    """A step that a thread takes: reading and writing files, never layers."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Remote:
    """A step that the background process takes; `on_event` is called in the main thread."""

    request: Request
    on_event: Callable[[Event], None]


Task = Generator[Aside | Remote, Any, None]


@dataclass(slots=True)
class AsideThread:
    """An `Aside` that runs in a thread of its own; look at `done` now and then."""

    step: Aside
    result: Any = None
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin."""
        # A daemon: a slow disk must not keep napari from closing.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self.step.work()
        except Exception as error:
            self.error = error
        self.done.set()


class TaskRunner(QObject):  # type: ignore[misc]
    """Drives one task at a time.

    Parameters
    ----------
    client : Client
        The background process.
    on_ready : callable
        Called with the devices when the process has started.
    on_end : callable
        Called with None, or with the error that ended the task, when it has ended.
    """

    def __init__(
        self,
        client: Client,
        on_ready: Callable[[Ready], None],
        on_end: Callable[[Exception | None], None],
    ) -> None:
        super().__init__()
        self._client, self._on_ready, self._on_end = client, on_ready, on_end
        self._task: Task | None = None
        self._thread: AsideThread | None = None
        self._remote: Remote | None = None
        self._job: int | None = None
        self._question: tuple[int, Callable[[Any], None]] | None = None
        self._spare: tuple[int, Callable[[str], None]] | None = None
        self._cancelled = False
        self._ready = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)

    def start_process(self) -> None:
        """Start the background process ahead of the first job."""
        self._client.start()
        self._timer.start()

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return self._task is not None

    def run(self, task: Task) -> None:
        """Start a task; there must be none."""
        assert self._task is None
        self.give_way()
        self._task, self._cancelled = task, False
        self._timer.start()
        self._advance(lambda: next(task))

    def ask(self, request: Request, on_result: Callable[[Any], None]) -> None:
        """Have a small request answered beside the task, if any; the answer to an earlier one is dropped.

        `on_result` is called in the main thread, with None if the request fails.
        """
        self.give_way()
        if self._question is not None:
            self._client.cancel(self._question[0])
        self._question = (self._client.submit(request), on_result)
        self._timer.start()

    def meanwhile(self, request: Request, on_end: Callable[[str], None]) -> bool:
        """Have a request worked on as long as there is nothing else to do; whether it was begun.

        It is cancelled as soon as anything else is asked for. `on_end` is called in the main thread when it has ended
        in whatever way, with what went wrong, if something did.
        """
        if self._task is not None or self._question is not None or self._spare is not None:
            return False
        self._spare = (self._client.submit(request), on_end)
        self._timer.start()
        return True

    def give_way(self) -> None:
        """End what is worked on meanwhile."""
        if self._spare is not None:
            (job, on_end), self._spare = self._spare, None
            self._client.cancel(job)
            on_end("")

    def cancel(self, *, keep: bool = True) -> None:
        """Ask the running task to end at its next tile, step or file, and to `keep` what can be used so far."""
        if self._task is None or self._cancelled:
            return
        self._cancelled = True
        if self._job is not None:
            self._client.cancel(self._job, keep=keep)

    def pause(self, paused: bool) -> None:
        """Let the background process rest, or go on."""
        if self._task is not None and self._job is not None and not self._cancelled:
            self._client.pause(self._job, paused)

    def close(self) -> None:
        """End the task and the background process, now."""
        self._client.close()
        task, self._task = self._task, None
        if task is not None:
            task.close()
        # When Python ends, Qt may have deleted the timer already.
        with contextlib.suppress(RuntimeError):
            self._timer.stop()

    def _poll(self) -> None:
        # What has been polled is gone from the client: a mistake with one message must not lose the others.
        mistakes: list[Exception] = []
        for message in self._client.poll():
            try:
                self._take(message)
            except Exception as error:
                mistakes.append(error)
        thread = self._thread
        if thread is not None and thread.done.is_set():
            self._thread = None
            try:
                self._answer(thread.result, thread.error)
            except Exception as error:
                mistakes.append(error)
        if self._ready and self._task is None and self._question is None and self._spare is None:
            self._timer.stop()
        if mistakes:
            raise mistakes[0]

    def _take(self, message: Message) -> None:
        if isinstance(message, Ready):
            self._ready = True
            self._on_ready(message)
        elif self._question is not None and message.job == self._question[0]:
            self._take_answer(message)
        elif self._spare is not None and message.job == self._spare[0]:
            self._take_spare(message)
        elif message.job != self._job:
            return
        elif isinstance(message, JobEvent):
            self._tell(message.event)
        else:
            self._job = self._remote = None
            self._end_of_job(message)

    def _take_answer(self, message: JobEvent | JobDone | JobFailed | JobCancelled) -> None:
        """Hand the answer of a small request on."""
        if isinstance(message, JobEvent) or self._question is None:
            return
        (_, on_result), self._question = self._question, None
        on_result(message.result if isinstance(message, JobDone) else None)

    def _take_spare(self, message: JobEvent | JobDone | JobFailed | JobCancelled) -> None:
        """Tell that what was worked on meanwhile has ended."""
        if isinstance(message, JobEvent) or self._spare is None:
            return
        (_, on_end), self._spare = self._spare, None
        on_end(message.sentence if isinstance(message, JobFailed) else "")

    def _tell(self, event: Event) -> None:
        """Hand an event to the task; if that fails, nobody can follow the job, and it ends."""
        if self._remote is None or self._job is None:
            return
        try:
            self._remote.on_event(event)
        except Exception as error:
            job, self._job, self._remote = self._job, None, None
            self._client.cancel(job)
            self._answer(None, error)

    def _end_of_job(self, message: JobDone | JobFailed | JobCancelled) -> None:
        if isinstance(message, JobDone):
            # A cancelled fine-tuning answers with its best so far: that is a result. Another job that
            # is done before it hears of the cancel has come too late.
            if isinstance(message.result, FinetuneResult) and message.result.learnt_from == "corrections":
                self._cancelled = False
            self._answer(message.result, None)
        elif isinstance(message, JobFailed):
            self._answer(None, JobError(message.sentence))
        else:
            self._answer(None, Cancelled())

    def _answer(self, result: Any, error: Exception | None) -> None:  # noqa: ANN401
        task = self._task
        if task is None:
            return
        if error is None and self._cancelled:
            error = Cancelled()
        if error is None:
            self._advance(lambda: task.send(result))
        else:
            self._advance(lambda: task.throw(error))

    def _advance(self, move: Callable[[], Aside | Remote]) -> None:
        """Let the task run to its next step, and begin that step."""
        try:
            self._begin(move())
        except StopIteration:
            self._finish(None)
        except (NapariUnetError, Cancelled) as error:
            self._finish(error)
        except Exception as error:
            self._finish(error)
            raise

    def _begin(self, step: Aside | Remote) -> None:
        if isinstance(step, Aside):
            self._thread = AsideThread(step)
            self._thread.start()
        else:
            self._remote = step
            self._job = self._client.submit(step.request)

    def _finish(self, error: Exception | None) -> None:
        self._task = None
        self._on_end(error)
