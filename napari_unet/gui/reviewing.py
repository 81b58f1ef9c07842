"""The review queue: field after field, those first from which most is to be learned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.errors import ImageError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.efforts import Efforts, verdict
from napari_unet.gui.field_view import FieldFrame, go_to, is_in_view, view_of
from napari_unet.gui.flipping import Flipping, can_flip
from napari_unet.gui.keeping import Keeper
from napari_unet.gui.margins import is_unseen
from napari_unet.gui.recording import Recorder
from napari_unet.gui.scouting import Scout
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.shortcuts import REVIEW_ACCEPT, REVIEW_BACK, REVIEW_SKIP
from napari_unet.gui.vouching import Vouching, changes_to
from napari_unet.jobs.scratch import open_array
from napari_unet.objects.editing.changes import Box, slices
from napari_unet.objects.reviewing import Gain, Order, divide, effort_of, next_field

_POLL_MS = 100
# The first field is offered when so many are known, or after this time.
_FIRST: dict[Order, tuple[int, float]] = {"most uncertain": (64, 0.5), "least stable": (12, 4.0)}
# So many fields are remembered as they were before they were corrected.
_MOST_BEFORE = 64


@dataclass(slots=True)
class _Tour:
    """Fields of one image that are being looked at."""

    image: str
    correction: Labels
    reviewed: Labels
    axes: str
    fields: list[Box]
    boxes: list[Box]
    scout: Scout
    flipping: Flipping
    frame: FieldFrame
    recorders: list[Recorder] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    trail: list[int] = field(default_factory=list)
    before: dict[int, npt.NDArray[Any]] = field(default_factory=dict)
    view: tuple[Any, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def at(self) -> int | None:
        """The field on the screen."""
        return self.trail[-1] if self.trail else None


class Reviewing:
    """Offers the fields of the chosen image.

    Parameters
    ----------
    desk : Desk
    segmenting : Segmenting
        Keeps the probabilities.
    vouching : Vouching
    keeper : Keeper
        Remembers what correcting took.
    """

    def __init__(self, desk: Desk, segmenting: Segmenting, vouching: Vouching, keeper: Keeper) -> None:
        self._desk, self._segmenting, self._vouching = desk, segmenting, vouching
        self._tour: _Tour | None = None
        self._efforts = Efforts(desk, keeper, self._show)
        self._timer = QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._on_time)
        desk.state.events.image.connect(self._on_image)
        for name in ("model", "obstacle"):
            getattr(desk.state.events, name).connect(self._show, max_args=0)
        desk.state.events.segmented.connect(self._on_segmented)
        desk.viewer.layers.events.removed.connect(self._on_removed)

    def start(self) -> None:
        """Offer fields, beginning with the one that promises most."""
        self._desk.attempt(self._start)

    def accept(self) -> None:
        """Mark the field on the screen as reviewed, and go on."""
        self._desk.attempt(self._accept)

    def skip(self) -> None:
        """Leave the field on the screen, and go on."""
        self._desk.attempt(self._skip)

    def back(self) -> None:
        """Return to the field before."""
        self._desk.attempt(self._back)

    def set_order(self, order: Order) -> None:
        """Choose the order in which fields are offered from now on."""
        self._show(order=order)

    def stop(self) -> None:
        """Offer no more fields."""
        tour, self._tour = self._tour, None
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()
        if tour is None:
            return
        tour.scout.stop()
        tour.flipping.close()
        tour.frame.remove()
        tour.correction.events.paint.disconnect(self._on_correction)
        for recorder in tour.recorders:
            recorder.close()
        self._bind(tour, bound=False)
        self._show()

    close = stop

    # -- the way ------------------------------------------------------------------

    def _start(self) -> None:
        correction, reviewed = self._desk.correction()
        self.stop()
        frame = layers.frame_of_labels(correction)
        fields = divide(frame.to_tzyx(np.asarray(correction.data)).shape)
        boxes = [_along(frame.axes, one) for one in fields]
        image = self._desk.state.image or ""
        tour = _Tour(
            image,
            correction,
            reviewed,
            frame.axes,
            fields,
            boxes,
            Scout(reviewed.data, boxes, fields, self._probabilities()),
            Flipping(self._desk, fields, lambda index: bool(tour.scout.reviewed[index])),
            FieldFrame(self._desk.viewer, correction, frame.axes),
        )
        tour.recorders.append(Recorder(reviewed, self._on_reviewed, sweep=False))
        correction.events.paint.connect(self._on_correction)
        self._tour = tour
        self._bind(tour, bound=True)
        self._timer.start()
        self._show()

    def _accept(self) -> None:
        tour, index = self._here()
        if tour is None or index is None:
            return
        box = tour.boxes[index]
        viewer = self._desk.viewer
        # Where a layer is on the screen is known only when it has been drawn: whoever is quick has not moved it.
        if view_of(viewer) != tour.view and not is_in_view(viewer, tour.correction, box, tour.axes):
            go_to(viewer, tour.correction, box, tour.axes)
            tour.view = view_of(viewer)
            self._desk.state.tell(
                f"This is the field. Press {REVIEW_ACCEPT} again if every pixel in the frame is right."
            )
            return
        self._vouching.settle()
        apply_changes(tour.reviewed, changes_to(tour.reviewed, box, 1))
        tour.scout.look_again([box])
        tour.skipped.discard(index)
        effort = effort_of(tour.before[index], np.asarray(tour.correction.data[slices(box)]))
        self._efforts.add(tour.image, index, effort)
        self._go_on(tour)

    def _skip(self) -> None:
        tour, index = self._here()
        if tour is not None and index is not None:
            tour.skipped.add(index)
            self._go_on(tour)

    def _back(self) -> None:
        tour, _ = self._here()
        if tour is None or len(tour.trail) < 2:
            self._desk.state.tell("This is the first field.")
            return
        tour.trail.pop()
        index = tour.trail.pop()
        tour.skipped.discard(index)
        self._go(tour, index)

    def _here(self) -> tuple[_Tour | None, int | None]:
        return self._tour, None if self._tour is None else self._tour.at

    def _go_on(self, tour: _Tour) -> None:
        """Go to the next field, or say that there is none."""
        seen = {*np.flatnonzero(tour.scout.reviewed).tolist(), *tour.skipped}
        order = self._order(tour)
        index = next_field(tour.fields, _gains(tour, order), seen, order)
        if index is not None:
            self._go(tour, index)
            return
        left = len(tour.skipped)
        self.stop()
        skipped = f"{left:,} skipped field{'s are' if left != 1 else ' is'} left: start again to see what was skipped."
        self._desk.state.tell(skipped if left else "Every field is reviewed.")

    def _go(self, tour: _Tour, index: int) -> None:
        tour.trail.append(index)
        box = tour.boxes[index]
        if index not in tour.before:
            self._remember(tour, index)
        viewer = self._desk.viewer
        active = viewer.layers.selection.active
        if active is not tour.correction and active is not tour.reviewed:
            viewer.layers.selection.active = tour.correction
        go_to(viewer, tour.correction, box, tour.axes)
        tour.view = view_of(viewer)
        tour.frame.show(box)
        self._show()

    def _remember(self, tour: _Tour, index: int) -> None:
        """Remember a field as it is now."""
        tour.before[index] = np.array(tour.correction.data[slices(tour.boxes[index])])
        for old in list(tour.before)[:-_MOST_BEFORE]:
            del tour.before[old]

    def _order(self, tour: _Tour) -> Order:
        order = self._desk.state.review.order
        known = {"most uncertain": tour.scout.knows_doubt, "least stable": can_flip(self._desk)}
        return order if known.get(order, True) else "in turn"

    def _probabilities(self) -> Any:  # noqa: ANN401
        """Return the probabilities of the chosen image, if they are kept and fit its correction layer."""
        kept = self._segmenting.kept
        correction, _ = self._desk.correction()
        if kept is None or kept.image != self._desk.state.image or kept.frame.shape != correction.data.shape:
            return None
        with contextlib.suppress(ImageError):
            return open_array(kept.probabilities)[: len(kept.spec.classes)]
        return None

    # -- what happens meanwhile -----------------------------------------------------

    def _on_time(self) -> None:
        tour = self._tour
        if tour is None:
            return
        if self._order(tour) == "least stable":
            tour.flipping.go_on()
        else:
            tour.flipping.rest()
        if tour.at is None and self._knows_enough(tour):
            self._go_on(tour)
        self._show()

    def _knows_enough(self, tour: _Tour) -> bool:
        scout = tour.scout
        if not scout.ready.is_set():
            return False
        order = self._order(tour)
        fields, seconds = _FIRST.get(order, (0, 0.0))
        left = len(tour.fields) - int(np.count_nonzero(scout.reviewed))
        return len(_gains(tour, order)) >= min(fields, left) or time.monotonic() - tour.began > seconds

    def _on_reviewed(self, kind: str, boxes: list[Box]) -> None:
        """Look again at fields whose marks have changed."""
        tour = self._tour
        if tour is None:
            return
        if kind == "data":
            self.stop()  # the array that is being looked at is no longer there
            return
        tour.scout.look_again(boxes)
        self._show()

    def _on_correction(self, _event: object = None) -> None:
        """Take a new prediction, which is no work of the user's, for what was there before."""
        tour, index = self._here()
        if tour is not None and is_unseen(tour.correction):
            tour.before.clear()
            if index is not None:
                self._remember(tour, index)

    def _on_segmented(self) -> None:
        """Look for doubt in new probabilities."""
        tour = self._tour
        if tour is not None and tour.image == self._desk.state.image:
            tour.scout.stop()
            tour.scout = Scout(tour.reviewed.data, tour.boxes, tour.fields, self._probabilities())

    def _on_image(self) -> None:
        if self._tour is not None and self._tour.image != self._desk.state.image:
            self.stop()
        self._show()

    def _on_removed(self, _event: object = None) -> None:
        tour = self._tour
        if tour is not None and self._desk.open:
            there = self._desk.viewer.layers
            if tour.correction not in there or tour.reviewed not in there:
                self.stop()

    # -- keys and words -------------------------------------------------------------

    def _bind(self, tour: _Tour, *, bound: bool) -> None:
        """Bind the keys, whichever layer is chosen."""
        calls = {REVIEW_ACCEPT: self.accept, REVIEW_SKIP: self.skip, REVIEW_BACK: self.back}
        for provider in (self._desk.viewer, tour.correction, tour.reviewed):
            for key, call in calls.items():
                provider.bind_key(key, _ignoring(call) if bound else None, overwrite=True)

    def _show(self, **changes: Any) -> None:  # noqa: ANN401
        """Tell the panel how it stands."""
        state, tour = self._desk.state, self._tour
        efforts = self._efforts.of(state.image or "")
        changes |= {
            "running": tour is not None,
            "at": None if tour is None else tour.at,
            "efforts": efforts,
            "verdict": verdict(efforts),
        }
        if tour is not None:
            skipped = [index for index in tour.skipped if not tour.scout.reviewed[index]]
            changes |= {
                "fields": len(tour.fields),
                "reviewed": int(np.count_nonzero(tour.scout.reviewed)),
                "skipped": len(skipped),
            }
        flips = can_flip(self._desk)
        review = state.review.model_copy(update=changes | {"can_flip": flips})
        note = "" if tour is None else _note(tour, review.order, can_flip=flips)
        review = review.model_copy(update={"note": note})
        if review != state.review:
            state.review = review


def _along(axes: str, one: Box) -> Box:
    """Translate a field along T, Z, Y and X to the axes of a label layer."""
    known = dict(zip("TZYX", one, strict=True))
    return tuple(known.get(axis, (0, 1)) for axis in axes)


def _ignoring(call: Callable[[], None]) -> Callable[[object], None]:
    def pressed(_layer: object) -> None:
        call()

    return pressed


def _gains(tour: _Tour, order: Order) -> dict[int, Gain]:
    """Return what is known by now of what fields may teach."""
    return tour.flipping.gains if order == "least stable" else tour.scout.gains


def _note(tour: _Tour, order: Order, *, can_flip: bool) -> str:
    """Say what is particular about the order."""
    if order == "most uncertain" and not tour.scout.knows_doubt:
        hint = "Segment the image to see doubtful ones first"
        instead = ", or choose “Least stable first”" if can_flip else ""
        return f"The probabilities of this image are not kept: fields come in turn. {hint}{instead}."
    if order == "least stable" and not can_flip:
        return "Fields come in turn: choose a trained model that fits this image in step 1."
    if order == "least stable" and tour.flipping.problem:
        return f"Fields were not flipped any further: {tour.flipping.problem}"
    known, left = len(_gains(tour, order)), np.count_nonzero(~tour.scout.reviewed)
    if order in _FIRST and known < left:
        what = "Doubt is known of" if order == "most uncertain" else "The network has answered for"
        return f"{what} {known:,} of {len(tour.fields):,} fields so far."
    return ""
