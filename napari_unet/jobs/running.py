"""Drive a generator of events, and end it when the user says so."""

from __future__ import annotations

from collections.abc import Callable, Generator

from napari_unet.errors import Cancelled
from napari_unet.events import Event, Result


def drive(
    work: Generator[Event, None, Result],
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    rest: Callable[[], None] = lambda: None,
    should_drop: Callable[[], bool] = lambda: False,
) -> Result:
    """Run a generator to its end and return its result.

    After every event `should_stop` is asked. The first time that it says yes, `Cancelled` is
    thrown into the generator, which may answer with what it has so far, with or without further
    events. The generator is closed in every case.

    Parameters
    ----------
    work : generator
        Yields events, returns a result.
    on_event : callable
        Is given every event.
    should_stop : callable
        Whether the user has cancelled.
    rest : callable
        Returns at once, or, while the user has paused the work, when it is to go on or to stop.
    should_drop : callable
        Whether the user wants no answer, however much has been done: the work ends at its next event.

    Raises
    ------
    Cancelled
        If the work was cancelled and has nothing to answer with, or is not to answer.
    """
    told = False
    try:
        while True:
            if should_drop():
                raise Cancelled
            try:
                if not told and should_stop():
                    told = True
                    event = work.throw(Cancelled())
                else:
                    event = next(work)
            except StopIteration as end:
                result: Result = end.value
                return result
            on_event(event)
            rest()
    finally:
        work.close()
