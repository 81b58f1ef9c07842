"""What travels between the viewer and the background process: one JSON object a line.

To the child go ``{"job": 3, "request": {...}}``, ``{"cancel": 3}``, ``{"discard": 3}``, ``{"pause": 3}`` and
``{"go_on": 3}``, an `Order` each; back come a `Message` each.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, assert_never

from pydantic import TypeAdapter

from napari_unet.events import (
    Event,
    HeldOut,
    ImageBegun,
    ImageDone,
    Notice,
    Progress,
    StepDone,
    TileDone,
    ValidationDone,
    ViewDone,
)
from napari_unet.jobs.requests import Device, JobResult, Request

_EVENTS = {
    event.__name__: TypeAdapter[Event](event)
    for event in (Progress, TileDone, HeldOut, StepDone, ValidationDone, ViewDone, ImageBegun, ImageDone, Notice)
}
_RESULT: TypeAdapter[JobResult] = TypeAdapter(JobResult)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


@dataclass(frozen=True, slots=True)
class Ready:
    """The background process has loaded everything and found these devices."""

    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job goes on."""

    job: int
    event: Event


@dataclass(frozen=True, slots=True)
class JobDone:
    """A job is done; also a fine-tuning that was cancelled and answers with its best so far."""

    job: int
    result: JobResult


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job failed; `sentence` is for the user, `details` (may be empty) for a bug report."""

    job: int
    sentence: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class JobCancelled:
    """A job ended because it was cancelled, and left no result."""

    job: int


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a job, when those before it have ended."""

    job: int
    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a job."""

    job: int


@dataclass(frozen=True, slots=True)
class Discard:
    """End a job that is not to answer with what it has so far."""

    job: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Let a job rest after its next event."""

    job: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """Let a job that rests go on."""

    job: int


Order = Start | Cancel | Discard | Pause | GoOn
_WORDS = {Cancel: "cancel", Discard: "discard", Pause: "pause", GoOn: "go_on"}

Message = Ready | JobEvent | JobDone | JobFailed | JobCancelled


def encode(message: Message) -> bytes:
    """Write a message as one line."""
    match message:
        case Ready(devices):
            line: dict[str, Any] = {"ready": [device.model_dump() for device in devices]}
        case JobEvent(job, event):
            line = {"job": job, "event": {type(event).__name__: asdict(event)}}
        case JobDone(job, result):
            line = {"job": job, "result": result.model_dump()}
        case JobFailed(job, sentence, details):
            line = {"job": job, "failed": sentence, "details": details}
        case JobCancelled(job):
            line = {"job": job, "cancelled": True}
        case _:
            assert_never(message)
    return json.dumps(line, default=_plain).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read a line that `encode` wrote.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    match json.loads(line):
        case {"ready": devices}:
            return Ready(tuple(Device.model_validate(device) for device in devices))
        case {"job": int(job), "event": dict(event)}:
            ((name, values),) = event.items()
            return JobEvent(job, _EVENTS[name].validate_python(values))
        case {"job": int(job), "result": result}:
            return JobDone(job, _RESULT.validate_python(result))
        case {"job": int(job), "failed": sentence, "details": details}:
            return JobFailed(job, sentence, details)
        case {"job": int(job), "cancelled": True}:
            return JobCancelled(job)
        case other:
            message = f"not a message: {other!r:.200}"
            raise ValueError(message)


def encode_order(order: Order) -> bytes:
    """Write an order as one line for the background process."""
    line: dict[str, Any]
    if isinstance(order, Start):
        line = {"job": order.job, "request": order.request.model_dump(mode="json")}
    else:
        line = {_WORDS[type(order)]: order.job}
    return json.dumps(line).encode() + b"\n"


def decode_order(line: bytes) -> Order:
    """Read a line from the viewer.

    Raises
    ------
    ValueError
        If it is no order; pydantic's ValidationError is one.
    """
    match json.loads(line):
        case {"job": int(job), "request": request}:
            return Start(job, _REQUEST.validate_python(request))
        case {"cancel": int(job)}:
            return Cancel(job)
        case {"discard": int(job)}:
            return Discard(job)
        case {"pause": int(job)}:
            return Pause(job)
        case {"go_on": int(job)}:
            return GoOn(job)
        case other:
            message = f"not an order: {other!r:.200}"
            raise ValueError(message)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Make a Python number of a numpy or torch scalar, which an event may carry."""
    return value.item()
