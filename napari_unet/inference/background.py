"""A thread that does one task after the other while the network computes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue

Task = Callable[[], object]

# So many tasks may wait, and what they hold with them.
DEPTH = 2


class Background:
    """Does tasks in order, in one thread.

    When one fails, those after it are dropped, and whoever brings the next one is told.
    """

    def __init__(self) -> None:
        self._tasks: Queue[Task | None] = Queue(DEPTH)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._failed = False

    def put(self, task: Task) -> None:
        """Hand over a task; waits while too many others do.

        Raises
        ------
        BaseException
            That of a task before it.
        """
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="napari-unet-writer", daemon=True)
            self._thread.start()
        self._tasks.put(task)

    def close(self) -> None:
        """Wait until all is done, and end the thread.

        Raises
        ------
        BaseException
            That of a task, unless `put` has raised it.
        """
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
            self._thread = None
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not self._failed:
                try:
                    task()
                except BaseException as error:  # is raised where the next task comes from
                    self._error, self._failed = error, True
            del task
