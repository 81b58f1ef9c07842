"""Step 2: from an image layer to a label layer, and again with other settings."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import Cancelled, ImageError, JobError, ModelError
from napari_unet.gui import layers
from napari_unet.gui.continuing import Continuing, Job, Unfinished, asked_for, checksum, share_of
from napari_unet.gui.desk import Desk
from napari_unet.gui.layers import Frame
from napari_unet.gui.merging import Merging
from napari_unet.gui.progress import in_words, percent
from napari_unet.gui.state import Activity, ModelChoice, Segmented
from napari_unet.gui.tasks import Aside, Remote, Task
from napari_unet.gui.watching import TileDisplay
from napari_unet.inference.config import InferenceConfig, describe_way
from napari_unet.inference.fast.library import MISSING
from napari_unet.jobs.requests import (
    ArrayRef,
    ObjectsRequest,
    Region,
    SegmentRequest,
    SegmentResult,
)
from napari_unet.jobs.scratch import open_array
from napari_unet.weights.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Kept:
    """The probabilities of one image, so that objects can be found again; and which model made them, and how."""

    image: str
    probabilities: ArrayRef
    spec: ModelSpec
    frame: Frame
    model: ModelChoice | None = None
    inference: InferenceConfig | None = None


class Segmenting:
    """Runs the network and keeps its probabilities.

    Parameters
    ----------
    desk : Desk
    merging : Merging
        Puts a new prediction under what the user has reviewed.
    """

    def __init__(self, desk: Desk, merging: Merging) -> None:
        self._desk, self._merging = desk, merging
        self._continuing = Continuing(desk, lambda: self._job(None))
        self._kept: Kept | None = None
        self._again = False

    @property
    def fast_obstacle(self) -> str:
        """What keeps the fast mode from being used here; empty if nothing does."""
        return "" if all(find_spec(name) for name in ("openvino", "nncf")) else MISSING

    @property
    def kept(self) -> Kept | None:
        """The probabilities of the last segmentation."""
        return self._kept

    def segment(self) -> None:
        """Segment the chosen image, or go on with it where the same was interrupted."""
        self._desk.attempt(self._segment)

    def start_over(self) -> None:
        """Segment the chosen image from its beginning."""
        if not self._desk.state.busy:
            self._continuing.forget()
        self.segment()

    def preview(self) -> None:
        """Segment what of the chosen image is on the screen."""
        self._desk.attempt(self._preview)

    def find_objects(self) -> None:
        """Apply the settings for objects to the probabilities that are there."""
        kept, state = self._kept, self._desk.state
        if kept is None or state.segmented is None or kept.image != state.segmented.image:
            return
        if kept.image != state.image:  # the settings that are shown are those of another image
            return
        if state.model is not None and kept.spec != state.model.spec:  # of another model
            return
        if state.busy:
            if not self._again:
                self._again = True
                self._desk.when_idle(self._find_again)
            return
        self._desk.run(Activity.FINDING_OBJECTS, self._objects_task(kept))

    def _find_again(self) -> None:
        self._again = False
        self.find_objects()

    def _segment(self) -> None:
        self._desk.run(Activity.SEGMENTING, self._segment_task(self._job(None)))

    def _preview(self) -> None:
        t, z, y, x = self._seen()
        model = self._desk.state.model
        if model is not None and model.spec.dims == 3:
            z = (0, self._desk.chosen_image().sizes["Z"])
        self._desk.run(Activity.PREVIEWING, self._preview_task(self._job((t, z, y, x))))

    def _seen(self) -> Region:
        """Return what of the chosen image is on the screen."""
        image = self._desk.chosen_image()
        return layers.region_of(layers.visible_box(self._desk.viewer, self._desk.image_layer(), image.axes), image)

    def _job(self, region: Region | None) -> Job:
        state = self._desk.state
        if state.obstacle:
            raise (ModelError if state.model is None else ImageError)(state.obstacle)
        layer, image = self._desk.image_layer(), self._desk.chosen_image()
        assert state.model is not None
        inference = InferenceConfig(
            axes=image.axes,
            channels=state.channels,
            diameter_px=state.diameter_px,
            device=state.device,
            turns=state.turns,
            fast=state.fast,
        )
        frame = layers.frame_of(layer, image.axes)
        return Job(layers.layer_id(layer), image, frame, state.model, region, self._seen(), inference)

    def _segment_task(self, job: Job) -> Task:
        refs: list[ArrayRef] = []
        began = time.monotonic()
        try:
            request, pixels = yield Aside(lambda: self._request(job, refs))
            if not request.done:
                self._continuing.forget()
            show = TileDisplay(self._desk, job, open_array(request.probabilities), request.done)
            try:
                result: SegmentResult = yield Remote(request, show)
                predicted = yield Aside(lambda: np.array(open_array(request.labels)))
            except Exception as error:
                refs.remove(request.probabilities)
                raise self._interrupted(error, job, pixels, request, show) from error
            show.hide()
            kept = Kept(job.image_id, request.probabilities, job.model.spec, job.frame, job.model, job.inference)
            self._continuing.forget(but=request.probabilities)
            self._keep(kept)
            self._remember(kept, result)
            refs.remove(request.probabilities)
            try:
                merged = yield from self._show(kept, predicted)
            except ImageError:  # the image has been removed
                show.remove()
                raise
            self._report(result, job, time.monotonic() - began, merged)
        finally:
            self._desk.release(*refs)

    def _interrupted(
        self, error: Exception, job: Job, pixels: int, request: SegmentRequest, show: TileDisplay
    ) -> Exception:
        """Keep what was written before an error; return the error, and what to do about it."""
        asked = asked_for(job)
        if not show.done or asked is None or layers.by_id(self._desk.viewer, job.image_id) is None:
            show.remove()
            self._continuing.forget(but=request.probabilities)
            self._desk.release(request.probabilities)
            return error
        show.stay()
        share = share_of(show.done, job.shape)
        self._continuing.keep(Unfinished(asked, pixels, request.probabilities, show.done, share))
        if not isinstance(error, Cancelled | JobError):
            return error
        said = str(error) or "Cancelled."
        return type(error)(f"{said} {percent(share)} of the probabilities are there; “Continue” goes on from them.")

    def _preview_task(self, job: Job) -> Task:
        refs: list[ArrayRef] = []
        began = time.monotonic()
        try:
            request, _ = yield Aside(lambda: self._request(job, refs))
            result: SegmentResult = yield Remote(request, self._desk.show)
            labels = np.array(open_array(request.labels))
            self._show_preview(job, labels)
            self._report(result, job, time.monotonic() - began, "")
        finally:
            self._desk.release(*refs)

    def _objects_task(self, kept: Kept) -> Task:
        shape = kept.probabilities.shape[1:]
        labels = self._desk.scratch.array(shape, np.uint32)
        try:
            request = ObjectsRequest(
                spec=kept.spec,
                objects=self._desk.state.objects,
                probabilities=kept.probabilities,
                labels=labels,
            )
            result: SegmentResult = yield Remote(request, self._desk.show)
            predicted = yield Aside(lambda: np.array(open_array(labels)))
            merged = yield from self._show(kept, predicted)
            self._remember(kept, result)
            self._desk.state.tell(f"{_counted(result.objects, kept.spec)}.{merged}")
        finally:
            self._desk.release(labels)

    def _request(self, job: Job, refs: list[ArrayRef]) -> tuple[SegmentRequest, int]:
        """Stage the image and reserve the results, or take those of an interrupted run; runs in a thread."""
        scratch, outputs = self._desk.scratch, len(job.model.spec.outputs)
        image = self._desk.stage_image(job.image)
        refs.append(image.array)
        pixels = checksum(image.array, scratch.folder) if job.region is None else 0
        unfinished = self._continuing.matching(job, pixels) if job.region is None else None
        if unfinished is None:
            probabilities = scratch.array((outputs, *job.shape), np.float32)
        else:
            probabilities = unfinished.probabilities
        refs.append(probabilities)
        labels = scratch.array(job.shape, np.uint32)
        refs.append(labels)
        request = SegmentRequest(
            model=job.model.ref,
            image=image,
            inference=job.inference,
            objects=self._desk.state.objects,
            region=job.region,
            visible=job.visible if job.region is None else None,
            done=() if unfinished is None else unfinished.done,
            probabilities=probabilities,
            labels=labels,
        )
        return request, pixels

    def _show(self, kept: Kept, predicted: npt.NDArray[Any]) -> Generator[Aside | Remote, Any, str]:
        """Show a prediction, and put it under the corrections if there are any."""
        image_id, frame = kept.image, kept.frame
        layer, viewer = self._desk.image_layer(image_id), self._desk.viewer
        for preview in list(layers.with_role(viewer, "preview", image_id)):
            viewer.layers.remove(preview)
        shown = layers.find(viewer, "prediction", image_id)
        data = frame.from_tzyx(predicted)
        if shown is not None and shown.data.shape != data.shape:
            viewer.layers.remove(shown)
            shown = None
        if shown is None:
            viewer.add_labels(data, **layers.tagged("prediction", layer, frame))
        else:
            layers.set_labels(shown, data, frame)
        if layers.find(viewer, "correction", image_id) is None:
            return ""
        return (yield from self._merging.merge(image_id, predicted, kept.spec.meaning))

    def _show_preview(self, job: Job, labels: npt.NDArray[Any]) -> None:
        viewer, layer = self._desk.viewer, self._desk.image_layer(job.image_id)
        for preview in list(layers.with_role(viewer, "preview", job.image_id)):
            viewer.layers.remove(preview)
        assert job.region is not None
        known = dict(zip("TZYX", job.region, strict=True))
        frame = layers.shifted(job.frame, tuple(known.get(a, (0, 1)) for a in job.frame.axes))
        viewer.add_labels(frame.from_tzyx(labels), **layers.tagged("preview", layer, frame))

    def _keep(self, kept: Kept) -> None:
        if self._kept is not None:
            self._desk.release(self._kept.probabilities)
        self._kept = kept

    def _remember(self, kept: Kept, result: SegmentResult) -> None:
        self._desk.state.segmented = Segmented(image=kept.image, objects=result.objects, meaning=kept.spec.meaning)

    def _report(self, result: SegmentResult, job: Job, seconds: float, merged: str) -> None:
        count = _counted(result.objects, job.model.spec)
        where = result.device.upper() if result.device else "CPU"
        took = f"{seconds:.1f} s" if seconds < 60 else in_words(seconds)
        notes = "".join(f" {note}" for note in result.notes)
        how = describe_way(result.exact, result.seam, fast=job.inference.fast)
        self._desk.state.tell(f"{count} in {took} on {where} · {how}.{notes}{merged}")


def _counted(count: int, spec: ModelSpec) -> str:
    if spec.meaning == "semantic":
        return f"{count:,} region{'s' if count != 1 else ''}"
    return f"{count:,} object{'s' if count != 1 else ''}"
