"""A label layer whose objects are listed: a thread that looks at it, and what is heard of its edits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from napari.layers import Labels

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.listing_thread import ListingThread
from napari_unet.gui.measuring import Measuring
from napari_unet.gui.recording import Recorder
from napari_unet.imaging.image import Image
from napari_unet.objects.editing.changes import Box, Change
from napari_unet.objects.listing import Rows, Sources, erased

_TRIES = 3


class Followed:
    """A layer whose objects are listed."""

    def __init__(self, layer: Labels, reviewed: Labels | None, image: Image | None, channel: int) -> None:
        self.layer, self.reviewed = layer, reviewed
        self.frame = layers.frame_of_labels(layer)
        self.pixel_size = layers.pixel_size_of(layer, self.frame.axes)
        to_tzyx = self.frame.to_tzyx
        marks = None if reviewed is None else to_tzyx(reviewed.data)
        chosen = channel if image is not None and channel < image.sizes["C"] else 0
        self.sources = Sources(to_tzyx(layer.data), marks, image, chosen)
        self.worker = ListingThread(self.sources)
        self.measuring = Measuring(self.sources, self.shown_size)
        self.recorder = _Hearing(layer, self._on_edit)
        self.other = None if reviewed is None else _Hearing(reviewed, self._on_edit)
        self._erasing: _Erasing | None = None

    @property
    def shown_size(self) -> PixelSize:
        """Size of a pixel: of the image where there is one."""
        image = self.sources.image
        return image.pixel_size if isinstance(image, Image) else self.pixel_size

    def close(self) -> None:
        """Stop looking."""
        self.worker.stop()
        self.recorder.close()
        if self.other is not None:
            self.other.close()

    def own_box(self, box: Box) -> Box:
        """Translate a box along T, Z, Y and X to the axes of the layer."""
        known = dict(zip("TZYX", box, strict=True))
        return tuple(known.get(axis, (0, 1)) for axis in self.frame.axes)

    def erase(self, rows: Rows) -> None:
        """Work out in a thread what deletes objects; `write` applies it."""
        parts = []
        for t in sorted(set(rows.t.tolist())):
            there = rows.take(rows.t == t)
            parts.append(([self.own_box(there.box(i)) for i in range(there.size)], there.label.tolist()))
        self._erasing = _Erasing(self.layer, parts, self.recorder.edits)

    def write(self) -> None:
        """Delete what is to be deleted, when that is worked out.

        Raises
        ------
        LabelsError
            If the labels kept changing.
        """
        erasing = self._erasing
        if erasing is None or not erasing.done.is_set():
            return
        self._erasing = None
        if erasing.edits != self.recorder.edits:
            if erasing.tries >= _TRIES:
                raise LabelsError("The labels kept changing meanwhile. Try again.")
            self._erasing = _Erasing(self.layer, erasing.parts, self.recorder.edits, erasing.tries + 1)
            return
        apply_changes(self.layer, erasing.changes)

    def _on_edit(self, boxes: list[Box]) -> None:
        self.worker.look([self.frame.region(box) for box in boxes])
        self.measuring.edited()


class _Hearing:
    """Hears of the edits of a layer, and counts them."""

    def __init__(self, layer: Labels, on_boxes: Any) -> None:  # noqa: ANN401
        self._on_boxes = on_boxes
        self.edits = 0
        self.data_replaced: Any = None
        self._recorder = Recorder(layer, self._on_edit)

    def close(self) -> None:
        self.data_replaced = None
        self._recorder.close()

    def _on_edit(self, kind: str, boxes: list[Box]) -> None:
        self.edits += 1
        if kind == "data" and self.data_replaced is not None:
            self.data_replaced()
        elif kind != "data":
            self._on_boxes(boxes)


class _Erasing:
    """What deletes objects, worked out in a thread."""

    def __init__(self, layer: Labels, parts: Sequence[tuple[list[Box], list[int]]], edits: int, tries: int = 1) -> None:
        self.parts, self.edits, self.tries = parts, edits, tries
        self.changes: list[Change] = []
        self.done = threading.Event()
        labels = layer.data
        threading.Thread(target=self._run, args=(labels,), daemon=True).start()

    def _run(self, labels: Any) -> None:  # noqa: ANN401
        try:
            for boxes, ids in self.parts:
                self.changes += erased(labels, boxes, ids)
        finally:
            self.done.set()
