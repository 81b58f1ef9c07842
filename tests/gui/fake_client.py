"""A background process that is none: it answers in the test's own thread, one event a poll.

Its network is a threshold at half of the brightest value. Everything else is the real thing.
"""

import itertools
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from napari_unet.errors import NapariUnetError
from napari_unet.events import ImageBegun, Notice, Progress, StepDone, TileDone, ValidationDone, ViewDone
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import Cost
from napari_unet.jobs.finetuned import Seen
from napari_unet.jobs.messages import JobCancelled, JobDone, JobEvent, JobFailed, Ready
from napari_unet.jobs.requests import (
    CostResult,
    Device,
    FinetuneResult,
    FlipResult,
    MergeResult,
    SegmentResult,
)
from napari_unet.jobs.scratch import open_array
from napari_unet.jobs.sharing import ShareResult
from napari_unet.jobs.sizing import DiameterResult
from napari_unet.jobs.work import work_for
from napari_unet.objects.merging import merge_prediction

TILE = 32


class FakeClient:
    """Attributes: `requests` seen, `tiles` computed, `fail` with a sentence, `hold` events back until cancelled.

    It also holds at the beginning of a kind of request (`hold_at`), after a number of tiles (`hold_after`), or when an
    image of many has its turn (`hold_at_image`, from 1).
    """

    def __init__(self, candidate=b""):
        self.requests, self.cancelled, self.dropped, self.paused = [], set(), set(), set()
        self.fail = ""
        self.hold, self.hold_at, self.hold_after, self.hold_at_image = False, "", 0, 0
        self.closed = False
        self.hold_at_step = self.fail_at_step = 0
        self.error = NapariUnetError("It broke.")
        self.best_so_far, self.notice = False, ""
        self.tiles = 0
        self.diameter = 40.4
        self.candidate = candidate
        self.result = {"accepted": True, "old_score": 0.5, "new_score": 0.7, "sentence": "Better: 0.70, was 0.50."}
        self._numbers = itertools.count(1)
        self._messages = []
        self._running = None

    def start(self):
        self._messages.append(Ready((Device(name="cpu", title="CPU"),)))

    def submit(self, request):
        number = next(self._numbers)
        if request.kind == "cost":
            cost = Cost(parameters=1_000, operations=2e9, memory_bytes=3_000_000, seconds=4.0, tiles=1, device="cpu")
            self._messages.append(JobDone(number, CostResult(cost=cost)))
            return number
        self.requests.append(request)
        if request.kind == self.hold_at:
            self.hold, self.hold_at = True, ""
        work = {
            "segment": self._segment,
            "objects": self._objects,
            "merge": self._merge,
            "flip": self._flip,
            "diameter": self._diameter,
            "finetune": self._finetune,
            "adapt": self._adapt,
            "open": work_for,
            "compare": work_for,
            "download": work_for,
            "batch": work_for,
            "share": self._share,
        }[request.kind](request)
        self._running = (number, work)
        return number

    def cancel(self, job, *, keep=True):
        self.cancelled.add(job)
        if not keep:
            self.dropped.add(job)

    def pause(self, job, paused=True):
        (self.paused.add if paused else self.paused.discard)(job)

    def close(self):
        self.closed = True

    def poll(self):
        messages, self._messages = self._messages, []
        if self._running is None or self._rests(self._running[0]):
            return messages
        messages.append(self._next(*self._running))
        event = getattr(messages[-1], "event", None)
        if isinstance(event, TileDone) and event.done == self.hold_after:
            self.hold, self.hold_after = True, 0
        if isinstance(event, ImageBegun) and event.number == self.hold_at_image:
            self.hold, self.hold_at_image = True, 0
        return messages

    def _rests(self, job):
        return (self.hold or job in self.paused) and job not in self.cancelled

    def _next(self, number, work):
        if self.fail:
            self._running = None
            return JobFailed(number, self.fail)
        if number in self.cancelled and (number in self.dropped or not self.best_so_far):
            self._running = None
            return JobCancelled(number)
        try:
            return JobEvent(number, next(work))
        except StopIteration as end:
            self._running = None
            return JobDone(number, end.value)
        except NapariUnetError as error:
            self._running = None
            return JobFailed(number, str(error))

    def _segment(self, request):
        image = open_image(open_array(request.image.array), request.image.axes)
        probabilities, labels = open_array(request.probabilities, "r+"), open_array(request.labels, "r+")
        size = image.sizes
        (t0, t1), (z0, z1), (y0, y1), (x0, x1) = request.region or tuple((0, size[a]) for a in "TZYX")
        top = float(np.max(image.array))
        rows = range(y0, y1, TILE)
        there = {y for window in request.done for y in range(*window[2])}
        for done, y in enumerate(rows, 1):
            stop = min(y + TILE, y1)
            if y in there:
                continue
            self.tiles += 1
            for t in range(t0, t1):
                block = image.read(t, slice(z0, z1), slice(y, stop), slice(x0, x1), request.inference.channels)
                inside = (block.mean(axis=0) > top / 2).astype(np.float32)
                probabilities[:3, t - t0, :, y - y0 : stop - y0] = np.stack([1 - inside, inside, 0 * inside])[
                    : len(probabilities)
                ]
            yield TileDone(done, len(rows), (((t0, t1), (z0, z1), (y, stop), (x0, x1)),))
        labels[:], count = _label(probabilities, request.objects.min_size_px)
        return SegmentResult(objects=count, seconds=0.1, device="cpu", exact=True)

    def _objects(self, request):
        probabilities, labels = open_array(request.probabilities), open_array(request.labels, "r+")
        labels[:], count = _label(probabilities, request.objects.min_size_px)
        return SegmentResult(objects=count, seconds=0.1)
        yield

    def _merge(self, request):
        arrays = [open_array(ref) for ref in (request.correction, request.predicted, request.reviewed)]
        merged = merge_prediction(*arrays, request.meaning)
        open_array(request.merged, "r+")[:] = merged.labels
        return MergeResult(kept=merged.kept, new=merged.new)
        yield

    def _flip(self, request):
        """The brighter a field, the less stable."""
        image = open_image(open_array(request.image.array), request.image.axes)
        gains = open_array(request.gains, "r+")
        for number, ((t, _), *window) in enumerate(request.fields):
            block = image.read(t, *(slice(*part) for part in window), request.inference.channels)
            gains[number, :3] = (block.mean() / 255, 0.5, 0.5)
            yield Progress("Flipping fields", number, len(request.fields))
        return FlipResult(fields=len(request.fields))

    def _share(self, request):
        yield Progress("Writing the model", 0, 1)
        Path(request.path).write_bytes(b"a model")
        return ShareResult(path=request.path, notes=("Objects must be bright.",))

    def _diameter(self, request):
        yield Progress("Estimating the diameter", 0, 1)
        return DiameterResult(diameter_px=self.diameter)

    def _finetune(self, request):
        """Find more of the image with each step; a cancelled one answers with what it has so far if `best_so_far`."""
        if self.result.get("held_out") is not None:
            yield self.result["held_out"]
        yield ValidationDone(0, 0.5, 0.5, 0.0)
        for step in range(1, 6):
            yield StepDone(step, 1 / step, float(step))
            if request.watch is not None and request.watch.live:
                open_array(request.watch.labels, "r+")[..., : 8 * step] = step
                yield ViewDone(step)
            if step == self.hold_at_step:
                self.hold, self.hold_at_step = True, 0
                yield Progress("Checking", 1, 1)
            if step == 2 and self.notice:
                yield Notice(self.notice)
            if step == self.fail_at_step:
                raise self.error
            if self._running[0] in self.cancelled:
                break
        yield ValidationDone(5, 0.7, 0.7, 5.5)
        Path(request.candidate).write_bytes(self.candidate)
        seen = None
        if request.watch is not None:
            open_array(request.watch.before, "r+")[:] = 90
            open_array(request.watch.labels, "r+")[:] = 91
            seen = Seen(before=1, after=2)
        result = {"held_out_px": 100, "steps": 5, "seconds": 6.0, "seen": seen} | self.result
        return FinetuneResult(candidate=request.candidate, **result)

    def _adapt(self, request):
        """Find other objects than before."""
        yield Progress("Looking at the image", 0, 1)
        Path(request.candidate).write_bytes(self.candidate)
        seen = None
        if request.watch is not None:
            open_array(request.watch.before, "r+")[:] = 80
            open_array(request.watch.labels, "r+")[:] = 81
            seen = Seen(before=3, after=4)
        yield Progress("Looking at the image", 1, 1)
        unjudged = {
            "accepted": None,
            "old_score": None,
            "new_score": None,
            "held_out_px": 0,
            "steps": 0,
            "seconds": 1.0,
        }
        said = "Nothing was held out to judge it by: decide yourself."
        return FinetuneResult(learnt_from="image", candidate=request.candidate, sentence=said, seen=seen, **unjudged)


def _label(probabilities, min_size):
    inside = np.asarray(probabilities[1]) > 0.5
    labels = np.zeros(inside.shape, np.uint32)
    count = 0
    for t, volume in enumerate(inside):
        found, n = ndi.label(volume)
        sizes = np.bincount(found.ravel())
        keep = [i for i in range(1, n + 1) if sizes[i] >= min_size]
        for i in keep:
            count += 1
            labels[t][found == i] = count
    return labels, count
