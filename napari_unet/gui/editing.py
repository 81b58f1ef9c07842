"""Edits written into a label layer: one step of its own undo history, and only what they touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.objects.editing.changes import Box, Change, slices


def apply_changes(layer: Labels, changes: Sequence[Change], place: Sequence[int] = ()) -> list[Box]:
    """Write changes as one step that Ctrl+Z takes back.

    Like a stroke of the brush, it is told by the layer's event `paint`.

    Parameters
    ----------
    layer : Labels
        The layer itself, no proxy of it.
    changes : sequence of Change
        Along the last axes of the layer.
    place : sequence of int
        Where they are along the first axes, such as the slice on the screen.

    Returns
    -------
    list of Box
        What has changed, along all axes of the layer.
    """
    fixed = tuple((at, at + 1) for at in place)
    boxes = []
    with layer.block_history():
        for change in changes:
            box = (*fixed, *change.box)
            write_undoably(layer, box, change.values.reshape([stop - start for start, stop in box]))
            boxes.append(box)
    if boxes:
        show(layer, boxes)
    return boxes


def show(layer: Labels, boxes: Sequence[Box]) -> None:
    """Draw what has changed; only that, where napari could do so for a stroke of the brush as well.

    A whole plane of 8192 x 8192 pixels would take a tenth of a second.
    """
    seen, shown = layer._slice.image, list(layer._slice_input.displayed)  # noqa: SLF001  # pinned by a test
    simple = len(shown) == 2 and layer.contour == 0 and layer._slicing_state.loaded  # noqa: SLF001
    if not simple or not np.shares_memory(seen.raw, layer.data) or seen.view.shape != seen.raw.shape:
        layer.refresh(extent=False)
        return
    elsewhere = layer._get_pt_not_disp()  # noqa: SLF001
    for box in boxes:
        if all(box[dim][0] <= at < box[dim][1] for dim, at in elsewhere.items()):
            part = slices(tuple(box[dim] for dim in shown))
            seen.view[part] = layer.colormap._data_to_texture(seen.raw[part])  # noqa: SLF001
            layer.events.labels_update(data=seen.view[part], offset=[place.start for place in part])


def write_undoably(layer: Labels, box: Box, values: npt.NDArray[Any]) -> None:
    """Give a box of a layer new values, and remember the old ones in its history.

    napari's history takes slices as well as an index for each pixel, which for a large box would be gigabytes.
    """
    part, array = slices(box), layer.data
    new = values.astype(array.dtype, copy=False)
    layer._save_history((part, np.array(array[part]), new))  # noqa: SLF001  # pinned by a test
    array[part] = new
