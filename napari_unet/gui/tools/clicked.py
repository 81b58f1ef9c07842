"""Tools that take clicks on objects, or a line across them: merge, split, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.gui.tools.bench import Bench
from napari_unet.gui.tools.pane import Pane, Place
from napari_unet.objects.editing.changes import Box, Change
from napari_unet.objects.editing.dividing import crossed, split_by_line, split_by_seeds
from napari_unet.objects.editing.draft import Draft
from napari_unet.objects.editing.joining import delete, merge

Border = Callable[[Pane, Box], npt.NDArray[np.floating] | None]
"""Returns how much speaks for a border between objects in a box of a pane, if anything is known of it."""


class Clicked:
    """A tool that keeps places which were clicked.

    Parameters
    ----------
    bench : Bench
    """

    title = key = hint = ""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.places: list[Place] = []
        self._place = bench.pane().place

    def click(self, at: Place) -> None:
        """Take a click."""

    def draw(self, line: Sequence[Place]) -> None:
        """Take a line."""

    def accept(self) -> None:
        """Take Enter."""
        self.drop()

    def drop(self) -> bool:
        """Forget the clicks; whether there were any."""
        there = bool(self.places)
        self.places = []
        self.bench.sketch.clear()
        if there:
            self.bench.tell(self.hint)
        return there

    def turn(self, steps: float) -> None:
        """Take Shift and the wheel."""

    def extent_changed(self) -> None:
        """Take another extent of the proposal."""

    def moved(self) -> None:
        """Take another slice: the clicks belong to the one before."""
        if self.bench.pane().place != self._place and len(self.bench.pane().dims) == 2:
            self.drop()

    def _mark(self, at: Place) -> None:
        self.places.append(at)
        self._place = self.bench.pane().place
        self.bench.sketch.spots(self.places)


class Merge(Clicked):
    """Make one object of several."""

    title, key = "Merge", "J"
    hint = "Merge: click the first object, or draw a line across all that belong together."

    def click(self, at: Place) -> None:
        """Choose the object that stays, or merge another one with it."""
        bench, pane = self.bench, self.bench.pane()
        number, _ = bench.object_at(pane, at)
        bench.layer.selected_label = number
        if not self.places:
            self._mark(at)
            bench.tell(f"Click what belongs to object {number:,}. Escape to choose another one.")
            return
        first = self._first(pane)
        if number == first:
            raise LabelsError(f"This is object {first:,} itself. Click what belongs to it, or press Escape.")
        self._merge(pane, [self.places[0], at])
        bench.layer.selected_label = first

    def draw(self, line: Sequence[Place]) -> None:
        """Merge what is under a line."""
        self.drop()
        self._merge(self.bench.pane(), line)

    def _first(self, pane: Pane) -> int:
        try:
            return self.bench.object_at(pane, self.places[0])[0]
        except LabelsError:  # it was undone or erased meanwhile
            self.drop()
            raise

    def _merge(self, pane: Pane, line: Sequence[Place]) -> None:
        points = [pane.point(at) for at in line]
        labels, known, drawn = pane.labels, self.bench.known, len(line) > 2
        ids: list[int] = []

        def compute() -> list[Change]:
            found = crossed(labels, points) if drawn else {n: at for at in points if (n := int(labels[at]))}
            if len(found) < 2:
                raise LabelsError("The line crosses fewer than two objects. Draw it across all that belong together.")
            ids.extend(found)
            boxes = {n: box for n, at in found.items() if (box := known.box(pane, n, at)) is not None}
            return merge(labels, boxes, found)

        self.bench.edit(pane, compute, lambda: f"Merged {len(ids)} objects into object {ids[0]:,}.")


class Delete(Clicked):
    """Remove objects."""

    title, key = "Delete", "D"
    hint = "Delete: click an object, or draw a line across several."

    def click(self, at: Place) -> None:
        """Delete an object."""
        pane = self.bench.pane()
        self.bench.object_at(pane, at)
        self._delete(pane, [at])

    def draw(self, line: Sequence[Place]) -> None:
        """Delete what is under a line."""
        self._delete(self.bench.pane(), line)

    def _delete(self, pane: Pane, line: Sequence[Place]) -> None:
        points = [pane.point(at) for at in line]
        labels, known = pane.labels, self.bench.known
        ids: list[int] = []

        def compute() -> list[Change]:
            found = crossed(labels, points)
            if not found:
                raise LabelsError("The line crosses no object. Draw it across those to delete.")
            ids.extend(found)
            boxes = {n: box for n, at in found.items() if (box := known.box(pane, n, at)) is not None}
            return delete(labels, boxes, found)

        self.bench.edit(
            pane, compute, lambda: f"Deleted object {ids[0]:,}." if len(ids) == 1 else f"Deleted {len(ids)} objects."
        )


class Split(Clicked):
    """Make several objects of one.

    Parameters
    ----------
    bench : Bench
    border : callable
    """

    title, key = "Split", "S"
    hint = "Split: draw a line across the object, or click each of its parts and press Enter."

    def __init__(self, bench: Bench, border: Border) -> None:
        super().__init__(bench)
        self._border = border

    def click(self, at: Place) -> None:
        """Mark a part."""
        pane = self.bench.pane()
        number, _ = self.bench.object_at(pane, at)
        if self.places and self.bench.object_at(pane, self.places[0])[0] != number:
            raise LabelsError("This is another object. Click all parts in the first one, or press Escape.")
        self._mark(at)
        more = "Click the next part" if len(self.places) == 1 else "Click more parts, or press Enter to split"
        self.bench.tell(f"{more}. Escape to begin anew.")

    def accept(self) -> None:
        """Split between the marks."""
        if len(self.places) < 2:
            raise LabelsError("Two parts are needed. Click on each part that is to be an object of its own.")
        pane, bench = self.bench.pane(), self.bench
        number, point = bench.object_at(pane, self.places[0])
        seeds = [pane.point(at) for at in self.places]
        self.drop()

        def compute() -> list[Change]:
            box = bench.known.box(pane, number, point)
            assert box is not None
            ids, border = bench.known.new_ids(), self._border(pane, box)
            return split_by_seeds(pane.labels, number, box, seeds, ids, border, pane.spacing)

        bench.edit(pane, compute, f"Split object {number:,} into {len(seeds)}.")

    def draw(self, line: Sequence[Place]) -> None:
        """Split along a line."""
        self.drop()
        bench, pane = self.bench, self.bench.pane()
        if bench.viewer.dims.ndisplay == 3:
            raise LabelsError("Lines split in the 2D view only. Here, click each part and press Enter.")
        points = [pane.point(at) for at in line]
        ids: list[int] = []

        def compute() -> list[Change]:
            changes, cut = split_crossed(bench, pane, points)
            ids.extend(cut)
            return changes

        bench.edit(pane, compute, lambda: "Split " + _listed(ids) + ".")


def split_crossed(bench: Bench, pane: Pane, points: Sequence[tuple[int, ...]]) -> tuple[list[Change], list[int]]:
    """Cut all objects that a line goes through.

    Raises
    ------
    LabelsError
        If it goes through none.
    """
    found = crossed(pane.labels, points)
    if not found:
        raise LabelsError("The line crosses no object. Draw it from one side of an object to the other.")
    draft = Draft(pane.labels)
    cut: list[int] = []
    refused: LabelsError | None = None
    new_ids = bench.known.new_ids()
    for number, at in found.items():
        box = bench.known.box(pane, number, at)
        assert box is not None
        try:
            draft.keep(split_by_line(draft, number, box, points, new_ids))
        except LabelsError as error:
            refused = error
            continue
        cut.append(number)
    if refused is not None and not cut:
        raise refused
    return draft.changes, cut


def _listed(ids: Sequence[int]) -> str:
    return f"object {ids[0]:,}" if len(ids) == 1 else f"{len(ids)} objects"
