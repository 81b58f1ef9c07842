"""Drawing what an edit of a label layer changed, and no more: napari draws the whole plane after each undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_unet.gui.recording import boxes_of
from napari_unet.objects.editing.changes import Box, blocks, grown, slices

# So long at once, then the window has its turn; a plane of 8192 x 8192 takes a tenth of a second.
SLICE_S = 0.01
BLOCK_PX = 2**20
# Below, the few ids of a box are looked up one by one: that is faster than to wake several threads.
SMALL_PX, FEW_IDS = 2**15, 32


def show(layer: Labels, boxes: Sequence[Box]) -> None:
    """Draw boxes of a layer's array anew; large ones little by little."""
    before = layer._slice.image  # noqa: SLF001  # pinned by a test
    if layer.visible and not show_partly(layer, boxes) and layer._slice.image is before:  # noqa: SLF001
        layer.refresh(extent=False)


def show_partly(layer: Labels, boxes: Sequence[Box]) -> bool:
    """Draw boxes, unless napari can only draw everything, such as a plane that has been made coarser; whether so."""
    seen, shown = layer._slice.image, list(layer._slice_input.displayed)  # noqa: SLF001  # pinned by a test
    alike = seen.view.shape == seen.raw.shape and np.may_share_memory(seen.raw, layer.data)
    if not alike or not layer._slicing_state.loaded:  # noqa: SLF001
        return False
    elsewhere = layer._get_pt_not_disp()  # noqa: SLF001
    here = [box for box in boxes if all(box[dim][0] <= at < box[dim][1] for dim, at in elsewhere.items())]
    margin = max(1, int(layer.contour)) if layer.contour else 0
    parts = [grown(tuple(box[dim] for dim in shown), margin, seen.raw.shape) for box in here]
    _draw_some(layer, seen, (block for part in parts for block in blocks(part, BLOCK_PX)))
    return layer._slice.image is seen  # noqa: SLF001


def draw_less_when_undoing(layer: Labels) -> None:
    """Have undo and redo draw what they change only."""

    def wrap(name: str, history: Callable[[], Sequence[Any]]) -> None:
        original = getattr(layer, name)

        def wrapped() -> None:
            steps = history()
            boxes = boxes_of(steps[-1]) if steps else []
            with layer._block_refresh():  # noqa: SLF001  # pinned by a test
                original()
            show(layer, boxes)

        setattr(layer, name, wrapped)

    wrap("undo", lambda: layer._undo_history)  # noqa: SLF001  # napari makes a new one now and then
    wrap("redo", lambda: layer._redo_history)  # noqa: SLF001


def _draw_some(layer: Labels, seen: Any, parts: Iterator[Box]) -> None:  # noqa: ANN401  # napari's own type is private
    """Draw for a moment, and the rest later; no more when napari has drawn everything."""
    until = monotonic() + SLICE_S
    for part in parts:
        if layer._slice.image is not seen:  # noqa: SLF001
            return
        place = slices(part)
        seen.view[place] = _texture(layer, seen.raw, place)
        layer.events.labels_update(data=seen.view[place], offset=[start for start, _ in part])
        if monotonic() >= until:
            QTimer.singleShot(0, partial(_draw_some, layer, seen, parts))
            return


def _texture(layer: Labels, raw: npt.NDArray[Any], place: tuple[slice, ...]) -> npt.NDArray[Any]:
    """Return what the graphics card is given for a part of what is on the screen."""
    if layer.contour and raw.ndim == 2:
        drawn: npt.NDArray[Any] = layer._raw_to_displayed(raw, data_slice=place)  # noqa: SLF001
        return drawn
    values, to_texture = raw[place], layer.colormap._data_to_texture  # noqa: SLF001
    if values.itemsize > 2 and values.size <= SMALL_PX:
        ids, where = np.unique(values, return_inverse=True)
        if len(ids) <= FEW_IDS:
            return np.array([to_texture(number) for number in ids])[where].reshape(values.shape)
    return np.asarray(to_texture(values))
