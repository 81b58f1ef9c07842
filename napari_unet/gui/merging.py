"""A new prediction never changes what the user has reviewed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.margins import unseen
from napari_unet.gui.tasks import Aside, Remote
from napari_unet.jobs.requests import ArrayRef, MergeRequest, MergeResult
from napari_unet.jobs.scratch import open_array
from napari_unet.objects.editing.changes import changes_of, slices, whole
from napari_unet.weights.spec import Meaning

_MOST_TRIES = 20
Labelled = npt.NDArray[Any]


class Merging:
    """Puts a prediction under a correction layer, in one undoable step."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def merge(self, image_id: str, predicted: Labelled, meaning: Meaning) -> Generator[Aside | Remote, Any, str]:
        """Merge, and say what was kept.

        The user may be painting meanwhile: if the layers have changed when the result is there,
        it is thrown away and the work is done again.

        Parameters
        ----------
        image_id : str
        predicted : (T, Z, Y, X) uint32
        meaning : "instances" | "semantic"
        """
        for _ in range(_MOST_TRIES):
            before = self._snapshot(image_id)
            _check_shapes(predicted, before[0])
            merged, result = yield from self._merged(meaning, predicted, *before)
            if all(map(np.array_equal, before, self._snapshot(image_id))):
                correction, _ = self._desk.correction(image_id)
                frame = layers.frame_of_labels(correction)
                unused = meaning == "instances" and correction.selected_label > before[0].max(initial=0)
                with unseen(correction):
                    replace_undoably(correction, frame.from_tzyx(merged))
                if unused:  # the brush was about to paint a new object, and still is
                    correction.selected_label = int(merged.max(initial=0)) + 1
                return f" {result.kept:,} reviewed kept, {result.new:,} new in the correction layer."
        return " The correction layer was not updated because it kept changing: segment again."

    def _snapshot(self, image_id: str) -> tuple[Labelled, Labelled]:
        """Copy the correction and the reviewed region as (T, Z, Y, X)."""
        correction, reviewed = self._desk.correction(image_id)
        return snapshot(correction), snapshot(reviewed).astype(np.uint8)

    def _merged(
        self, meaning: Meaning, predicted: Labelled, correction: Labelled, reviewed: Labelled
    ) -> Generator[Aside | Remote, Any, tuple[Labelled, MergeResult]]:
        refs: list[ArrayRef] = []
        scratch = self._desk.scratch

        def stage() -> None:
            refs.extend(scratch.stage(a) for a in (predicted, correction, reviewed))
            refs.append(scratch.array(predicted.shape, np.uint32))

        try:
            yield Aside(stage)
            request = MergeRequest(
                meaning=meaning,
                predicted=refs[0],
                correction=refs[1],
                reviewed=refs[2],
                merged=refs[3],
            )
            result = yield Remote(request, self._desk.show)
            return np.array(open_array(refs[3])), result
        finally:
            self._desk.release(*refs)


def _check_shapes(predicted: Labelled, correction: Labelled) -> None:
    if predicted.shape != correction.shape:
        raise LabelsError(
            f"The correction layer has {correction.shape} time points, slices, rows and columns, and the new "
            f"prediction {predicted.shape}. Set the axes as they were, or remove the correction layer."
        )


def snapshot(layer: Labels) -> Labelled:
    """Copy a label layer as (T, Z, Y, X)."""
    return np.array(layers.frame_of_labels(layer).to_tzyx(np.asarray(layer.data)))


def replace_undoably(layer: Labels, data: Labelled) -> None:
    """Give a label layer new values as one step that Ctrl+Z takes back: plane by plane, and only the box that changes.

    Parameters
    ----------
    layer : Labels
        The layer itself, no proxy of it.
    data : array of the layer's shape
    """
    array, plane = layer.data, whole(data.shape[-2:])
    boxes = ((*((at, at + 1) for at in place), *plane) for place in np.ndindex(*data.shape[:-2]))
    apply_changes(layer, [change for box in boxes for change in changes_of(array, box, data[slices(box)])])
