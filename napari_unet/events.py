"""What long work tells while it runs.

Long work in the compute rooms is a generator: it yields these frozen values and returns its
result. Whoever drives it (``jobs`` in a child process, the command line, or `finish`) decides
what to show.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` units of a named stage, such as "Finding objects"."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TileDone:
    """A piece of the image has been computed.

    Attributes
    ----------
    done, total : int
        Pieces computed so far, and in all.
    written : tuple of windows, each (start, stop) along T, Z, Y and X
        What has been written since the last event, in pixels of the image that was given. It is written
        together with other pieces where the image is rescaled, or to fill the chunks of a file.
    """

    done: int
    total: int
    written: tuple[tuple[tuple[int, int], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a training is judged on and does not learn from.

    Attributes
    ----------
    sentence : str
        For people.
    regions : tuple of (name of an image, its window)
        Where it lies, (start, stop) along T, Z, Y and X, in pixels of the image. What is reviewed there later will be
        held out, too.
    """

    sentence: str
    regions: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step."""

    step: int
    loss: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ValidationDone:
    """The current network was scored on the held-out corrections; higher is better. At step 0 it is the old one."""

    step: int
    score: float
    best_score: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ViewDone:
    """What somebody looks at has been segmented with the network as it is after `step` steps."""

    step: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence that the user should read."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageBegun:
    """One image of many has its turn: what is told next is about it.

    Attributes
    ----------
    number, total : int
        Which one, counted from 1, and of how many.
    name : str
        Of its results: its name without a suffix, after the folder below which they are put.
    """

    number: int
    total: int
    name: str


@dataclass(frozen=True, slots=True)
class ImageDone:
    """One image of many is settled.

    Attributes
    ----------
    number, total : int
    name : str
        As in `ImageBegun`.
    path : str
        Of the image.
    status : "done" | "skipped" | "failed"
    text : str
        For people: how it was done, or why not.
    objects : int, optional
        How many were found; None where that is not known.
    files : tuple of str
        That were written, or that were there.
    seconds : float, optional
        How long it took; None if it was skipped.
    """

    number: int
    total: int
    name: str
    path: str
    status: Literal["done", "skipped", "failed"]
    text: str
    objects: int | None = None
    files: tuple[str, ...] = ()
    seconds: float | None = None


Event = Progress | TileDone | HeldOut | StepDone | ValidationDone | ViewDone | ImageBegun | ImageDone | Notice


def finish(work: Generator[Event, None, Result]) -> Result:
    """Run a generator of events to its end and return its result.

    >>> def count():
    ...     yield Progress("Counting", 1, 1)
    ...     return 3
    >>> finish(count())
    3
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def finish_warning(work: Generator[Event, None, Result]) -> Result:
    """Run a generator to its end like `finish`, and turn each `Notice` into a Python warning."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        if isinstance(event, Notice):
            warnings.warn(event.text, stacklevel=3)
