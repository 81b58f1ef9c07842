"""What travels between the two processes comes back as it was."""

import numpy as np
import pytest

from napari_unet.events import HeldOut, Notice, Progress, StepDone, TileDone, ValidationDone
from napari_unet.jobs import messages
from napari_unet.jobs.messages import JobCancelled, JobDone, JobEvent, JobFailed, Ready
from napari_unet.jobs.requests import ArrayRef, Device, FinetuneResult, MergeRequest, MergeResult, SegmentResult

FINETUNED = FinetuneResult(
    accepted=None,
    old_score=None,
    new_score=0.5,
    held_out_px=3,
    steps=2,
    seconds=1.5,
    candidate="a.safetensors",
    sentence="Too little to judge.",
)


@pytest.mark.parametrize(
    "message",
    [
        Ready((Device(name="cuda:0", title="Small GPU", free_bytes=2**33),)),
        JobEvent(1, Progress("Reading the image", 1, 2)),
        JobEvent(1, TileDone(1, 4, (((0, 1), (0, 1), (0, 64), (64, 99)),))),
        JobEvent(1, StepDone(3, 0.25, 1.5)),
        JobEvent(1, ValidationDone(3, 0.5, 0.75, 1.5)),
        JobEvent(1, HeldOut("The right quarter of “cells”", (("cells", ((0, 1), (0, 1), (0, 9), (3, 4))),))),
        JobEvent(1, Notice("A line\nand “another” µm")),
        JobDone(2, SegmentResult(objects=3, seconds=0.1, device="cpu", seam=0.004, notes=("Smaller.",))),
        JobDone(2, MergeResult(kept=1, new=2)),
        JobDone(2, FINETUNED),
        JobFailed(3, "It failed.", "Traceback\n..."),
        JobCancelled(4),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_survives_the_way(message):
    line = messages.encode(message)
    assert line.count(b"\n") == 1
    assert messages.decode(line) == message


def test_numpy_scalars_and_nan_travel():
    line = messages.encode(JobEvent(1, StepDone(np.int64(3), np.float32("nan"), np.float64(0.5))))
    event = messages.decode(line).event
    assert (event.step, event.elapsed_s) == (3, 0.5)
    assert np.isnan(event.loss)


@pytest.mark.parametrize("line", [b"hello", b"3", b'{"job": 1}', b'{"job": 1, "cancelled": false}'])
def test_anything_else_is_refused(line):
    with pytest.raises(ValueError, match=r"not a message|Expecting value"):
        messages.decode(line)


def test_orders_survive_the_way():
    ref = ArrayRef(path="/tmp/ä.raw", dtype="<u4", shape=(1, 2, 3, 4), offset=8)
    request = MergeRequest(predicted=ref, correction=ref, reviewed=ref, merged=ref)
    for order in (messages.Start(5, request), messages.Cancel(5), messages.Pause(5), messages.GoOn(5)):
        assert messages.decode_order(messages.encode_order(order)) == order


def test_unknown_order_is_refused():
    with pytest.raises(ValueError, match="not an order"):
        messages.decode_order(b'{"remove": "everything"}')
    with pytest.raises(ValueError, match="kind"):
        messages.decode_order(b'{"job": 1, "request": {"kind": "dance"}}')
