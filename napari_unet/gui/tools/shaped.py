"""Operations on one object: under the cursor when a key is pressed, the chosen one when a button is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.tools.bench import Bench
from napari_unet.gui.tools.pane import Pane, Point, everything, index_at
from napari_unet.objects.editing.between import copy_to, interpolate
from napari_unet.objects.editing.changes import Box, Change
from napari_unet.objects.editing.joining import delete
from napari_unet.objects.editing.shaping import Shape, reshape, reshape_many

_DONE = {
    "grow": "Grew",
    "shrink": "Shrank",
    "fill holes": "Filled the holes of",
    "smooth": "Smoothed",
    "keep largest": "Kept the largest piece of",
}
_NOTHING = {
    "grow": "Object {} has no room to grow.",
    "shrink": "There is nothing to shrink.",
    "fill holes": "Object {} has no holes.",
    "smooth": "Object {} is smooth already.",
    "keep largest": "Object {} is in one piece.",
}

_CHANGED_NONE = "None of these objects has anything to change."


@dataclass(frozen=True, slots=True)
class Target:
    """An object to change.

    Attributes
    ----------
    pane : Pane
    number : int
    point : tuple of int, optional
        In the object, if it is under the cursor.
    """

    pane: Pane
    number: int
    point: Point | None = None


def target(bench: Bench, ndim: int | None = None, *, under_cursor: bool) -> Target:
    """Return the object under the cursor, or the chosen one if there is none.

    While the mouse rests, it is the same object again, also if its outline has been drawn in from under the cursor.

    Raises
    ------
    LabelsError
        If neither is an object.
    """
    pane = bench.pane(ndim)
    here = tuple(map(float, bench.viewer.cursor.position))
    if under_cursor and (found := _under_cursor(bench, pane)) is not None:
        bench.pointed = (here, found.number)
        return found
    if under_cursor and bench.pointed is not None and bench.pointed[0] == here:
        return Target(pane, bench.pointed[1])
    number = int(bench.layer.selected_label)
    if not number:
        raise LabelsError("There is no object under the cursor, and background is chosen. Point at an object.")
    return Target(pane, number)


def _under_cursor(bench: Bench, pane: Pane) -> Target | None:
    cursor, dims = bench.viewer.cursor, bench.viewer.dims
    at = index_at(
        bench.layer,
        SimpleNamespace(
            position=cursor.position,
            view_direction=cursor._view_direction,  # noqa: SLF001  # as napari's own status bar does
            dims_displayed=list(dims.displayed),
        ),
    )
    if at is None:
        return None
    try:
        number, point = bench.object_at(pane, at)
    except LabelsError:
        return None
    return Target(pane, number, point)


def pointed_at(bench: Bench) -> Target:
    """Return the object under the cursor.

    Raises
    ------
    LabelsError
        If there is none.
    """
    found = _under_cursor(bench, bench.pane())
    if found is None:
        raise LabelsError("There is no object under the cursor. Point at one.")
    return found


def paint_on(bench: Bench) -> None:
    """Choose the label of the object under the cursor, and the brush."""
    aim = pointed_at(bench)
    bench.layer.selected_label = aim.number
    bench.layer.mode = "paint"
    bench.tell(f"The brush paints object {aim.number:,}.")


def delete_one(bench: Bench) -> None:
    """Delete the object under the cursor."""
    aim = pointed_at(bench)

    def compute() -> list[Change]:
        return delete(aim.pane.labels, {aim.number: box_of(bench, aim)}, [aim.number])

    bench.edit(aim.pane, compute, f"Deleted object {aim.number:,}.")


def reshape_one(bench: Bench, how: Shape, pixels: int = 1, *, under_cursor: bool = False) -> None:
    """Change the outline of one object."""
    aim = target(bench, under_cursor=under_cursor)

    def compute() -> list[Change]:
        return reshape(aim.pane.labels, aim.number, box_of(bench, aim), how, pixels, aim.pane.spacing)

    bench.edit(aim.pane, compute, f"{_DONE[how]} object {aim.number:,}.", _NOTHING[how].format(f"{aim.number:,}"))


def reshape_reviewed(bench: Bench, how: Shape, pixels: int = 1) -> None:
    """Change the outlines of all objects that have a reviewed pixel in the pane, at each time point by itself."""
    pane, reviewed, count = bench.pane(), bench.desk.correction()[1].data, 0

    def compute() -> list[Change]:
        nonlocal count
        changes, count = _reshaped(bench, pane, lambda now: _ids(now.labels, now.of(reviewed)), how, pixels)
        if not count:
            raise LabelsError("No object is in the reviewed region. Mark what you have checked first.")
        return changes

    def told() -> str:
        return f"{_DONE[how]} {_objects(count, 'reviewed')}."

    bench.edit(everything(bench.layer), compute, told, _CHANGED_NONE, looked_at=False)


def reshape_chosen(bench: Bench, objects: Sequence[tuple[int, int]], how: Shape, pixels: int = 1) -> None:
    """Change the outlines of the objects whose rows are chosen, as far as they are in the pane.

    Parameters
    ----------
    objects : sequence of (int, int)
        Time points and ids.

    Raises
    ------
    LabelsError
        If none is chosen, or none of them is in the pane.
    """
    if not objects:
        raise LabelsError("No row is chosen. Open the table of objects and choose some.")
    pane, count = bench.pane(), 0

    def compute() -> list[Change]:
        nonlocal count
        changes, count = _reshaped(bench, pane, lambda now: _at_this_time(now, objects), how, pixels)
        if not count:
            raise LabelsError("None of the chosen objects is in this slice. Go there, or edit all slices.")
        return changes

    def told() -> str:
        left = len(objects) - count
        elsewhere = f" {left:,} more {'are' if left > 1 else 'is'} not in this slice." if left else ""
        return f"{_DONE[how]} {_objects(count, 'chosen')}.{elsewhere}"

    bench.edit(everything(bench.layer), compute, told, _CHANGED_NONE, looked_at=False)


def interpolate_one(bench: Bench, *, under_cursor: bool = False) -> None:
    """Fill the slices or time points between those in which an object is painted."""
    aim = target(bench, 3, under_cursor=under_cursor)

    def compute() -> list[Change]:
        return interpolate(aim.pane.labels, aim.number, box_of(bench, aim))

    bench.edit(aim.pane, compute, f"Interpolated object {aim.number:,}.")


def copy_one(bench: Bench, step: int, *, under_cursor: bool = False) -> None:
    """Copy an object to the next slice or the one before, and go there."""
    aim = target(bench, 3, under_cursor=under_cursor)
    axis = aim.pane.dims[0]
    source = aim.pane.place[axis]

    def compute() -> list[Change]:
        return copy_to(aim.pane.labels, aim.number, source, source + step)

    def told() -> str:
        bench.soon(lambda: go_to(bench, axis, source + step))
        return f"Copied object {aim.number:,}."

    bench.edit(aim.pane, compute, told, "It is there already, or other objects are in its place.")


def go_to(bench: Bench, axis: int, index: int) -> None:
    """Move a slider to an index of the layer's array."""
    layer, viewer = bench.layer, bench.viewer
    place = [0.0] * layer.ndim
    place[axis] = index
    ahead = viewer.dims.ndim - layer.ndim
    viewer.dims.set_point(axis + ahead, float(layer.data_to_world(place)[axis]))


def new_object(bench: Bench) -> None:
    """Choose an id that no object has, and the brush."""

    def use(number: int) -> None:
        bench.layer.selected_label = number
        bench.layer.mode = "paint"
        bench.tell(f"Paint object {number:,}.")

    bench.ask(lambda: next(bench.known.new_ids(beside_chosen=False)), use)


def box_of(bench: Bench, aim: Target) -> Box:
    """Return a box that holds an object.

    Raises
    ------
    LabelsError
        If it is not there.
    """
    box = bench.known.box(aim.pane, aim.number, aim.point)
    if box is None:
        raise LabelsError(f"Object {aim.number:,} is not here. Point at an object, or choose one with the picker (5).")
    return box


def _objects(count: int, what: str) -> str:
    return f"{count:,} {what} object{'s' if count != 1 else ''}"


def _reshaped(
    bench: Bench, pane: Pane, ids_at: Callable[[Pane], Sequence[int]], how: Shape, pixels: int
) -> tuple[list[Change], int]:
    """Change outlines at each time point of a pane; return the changes of the array, and how many objects are there."""
    changes: list[Change] = []
    count = 0
    for now in pane.moments():
        found = _boxes(bench, now, ids_at(now))
        changes += map(now.whole, reshape_many(now.labels, found, how, pixels, now.spacing))
        count += len(found)
    return changes, count


def _at_this_time(moment: Pane, objects: Sequence[tuple[int, int]]) -> list[int]:
    """Return the ids of objects that may be in a pane at one time point."""
    time = layers.frame_of_labels(moment.layer).axes.find("T")
    return [number for t, number in objects if time < 0 or t == moment.place[time]]


def _boxes(bench: Bench, pane: Pane, ids: Sequence[int]) -> dict[int, Box]:
    """Return boxes of objects, as far as they are in a pane.

    Raises
    ------
    LabelsError
        If not all of the image has been looked at.
    """
    bench.known.settle()
    if not bench.known.index.complete:
        raise LabelsError("The objects are still being looked for. Try again in a moment.")
    box = bench.known.index.box
    return {n: part for n in ids if (seen := box(n)) is not None and (part := pane.part(seen)) is not None}


def _ids(labels: npt.NDArray[Any], reviewed: npt.NDArray[Any]) -> list[int]:
    """Return the ids of the objects with a reviewed pixel, which are looked for plane by plane."""
    found: set[int] = set()
    for plane in np.ndindex(*labels.shape[:-2]):
        found.update(np.unique(labels[plane][reviewed[plane] > 0]).tolist())
    return sorted(found - {0})
