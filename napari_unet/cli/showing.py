"""Progress on stderr, and Ctrl+C as a cancel."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from napari_unet import events
from napari_unet.events import Event, Result
from napari_unet.jobs.running import drive


def run_shown(work: Generator[Event, None, Result], title: str, budget_s: float | None = None) -> Result:
    """Run work to its end while a bar on stderr shows how far it is.

    The first Ctrl+C cancels the work, which may answer with what it has; the second one interrupts.

    Parameters
    ----------
    work : generator
    title : str
        Shown before the bar.
    budget_s : float, optional
        For a fit: the time that it takes.

    Raises
    ------
    Cancelled
        After Ctrl+C, if there is nothing to answer with.
    """
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # a name may look like markup
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        _ctrl_c() as pressed,
    ):
        task = bar.add_task(title, total=None)
        tell = partial(bar.console.print, soft_wrap=not console.is_terminal)  # one line stays one in a log

        def show(event: Event) -> None:
            match event:
                case events.Progress(stage, done, total):
                    bar.update(task, description=f"{title}: {stage}", completed=done, total=total)
                case events.TileDone(done, total):
                    bar.update(task, description=title, completed=done, total=total)
                case events.StepDone(step, loss, elapsed_s):
                    text = f"{title}: step {step}, loss {loss:.3f}"
                    bar.update(task, description=text, completed=elapsed_s, total=budget_s)
                case events.ValidationDone(0, score):
                    tell(f"{title}: {score:.3f} on the held-out corrections, before it learns")
                case events.ValidationDone(_, score):
                    tell(f"{title}: {score:.3f} on the held-out corrections")
                case events.Notice(text) | events.HeldOut(text):
                    tell(text)

        return drive(work, show, pressed)


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
