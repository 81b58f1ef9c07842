"""Progress on stderr, and Ctrl+C as a cancel."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from napari_unet import events
from napari_unet.events import Event, Result
from napari_unet.jobs.running import drive


def run_shown(
    work: Generator[Event, None, Result],
    title: str,
    budget_s: float | None = None,
    also: Callable[[Event], None] | None = None,
) -> Result:
    """Run work to its end while a bar on stderr shows how far it is; work on many images has a second bar.

    The first Ctrl+C cancels the work, which may answer with what it has; the second one interrupts.

    Parameters
    ----------
    work : generator
    title : str
        Shown before the bar.
    budget_s : float, optional
        For a fit: the time that it takes.
    also : callable, optional
        Is given every event, too.

    Raises
    ------
    Cancelled
        After Ctrl+C, if there is nothing to answer with.
    """
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # a name may look like markup
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a file or another program stays as it is
    )
    with bar, _ctrl_c() as pressed:
        bars = _Bars(bar, title, budget_s)

        def show(event: Event) -> None:
            bars.show(event)
            if also is not None:
                also(event)

        return drive(work, show, pressed)


class _Bars:
    """What the events mean for the bars."""

    def __init__(self, bar: Progress, title: str, budget_s: float | None) -> None:
        self._bar, self._title, self._budget_s = bar, title, budget_s
        self._task = bar.add_task(title, total=None)
        self._images: TaskID | None = None
        # One line stays one in a log.
        self._tell = partial(bar.console.print, soft_wrap=not bar.console.is_terminal)

    def show(self, event: Event) -> None:
        match event:
            case events.Progress(stage, done, total):
                self._update(f"{self._title}: {stage}", done, total)
            case events.TileDone(done, total):
                self._update(self._title, done, total)
            case events.StepDone(step, loss, elapsed_s):
                self._update(f"{self._title}: step {step}, loss {loss:.3f}", elapsed_s, self._budget_s)
            case events.ValidationDone(0, score):
                self._tell(f"{self._title}: {score:.3f} on the held-out corrections, before it learns")
            case events.ValidationDone(_, score):
                self._tell(f"{self._title}: {score:.3f} on the held-out corrections")
            case events.ImageBegun(number, total, name):
                self._begin(number, total, name)
            case events.ImageDone(number=number) if self._images is not None:
                self._bar.update(self._images, completed=number)
            case events.Notice(text) | events.HeldOut(text):
                self._tell(text)

    def _update(self, text: str, done: float, total: float | None) -> None:
        self._bar.update(self._task, description=text, completed=done, total=total)

    def _begin(self, number: int, total: int, name: str) -> None:
        """Show one image of many."""
        if self._images is None and total > 1:
            self._images = self._bar.add_task("Images", total=total)
        if self._images is not None:
            self._bar.update(self._images, description=f"Image {number} of {total}")
        self._title = name
        self._bar.reset(self._task, description=name, total=None)


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl+C instead of interrupting; yields a function that tells whether it came."""
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)
