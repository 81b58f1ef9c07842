"""Edits written into a label layer: one step of its own undo history, and only what they touch."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Timer
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.gui.redrawing import show
from napari_unet.objects.editing.changes import Box, Change, slices

# An edit forgets what was undone before it. To give so much memory back takes long, and so waits for a thread.
LARGE_BYTES, LATER_S = 50_000_000, 1.0


def apply_changes(layer: Labels, changes: Sequence[Change]) -> None:
    """Write changes as one step that Ctrl+Z takes back.

    Like a stroke of the brush, it is told by the layer's event `paint`. What has been painted so far of a stroke that
    goes on becomes a step before it.

    Parameters
    ----------
    layer : Labels
        The layer itself, no proxy of it.
    changes : sequence of Change
        Along all axes of the layer.
    """
    keep_what_goes(layer)
    layer._commit_staged_history()  # noqa: SLF001  # pinned by a test
    with layer.block_history():
        for change in changes:
            write_undoably(layer, change.box, change.values)
    if changes:
        show(layer, [change.box for change in changes])


def write_undoably(layer: Labels, box: Box, values: npt.NDArray[Any]) -> None:
    """Give a box of a layer new values, and remember the old ones in its history.

    napari's history takes slices as well as an index for each pixel, which for a large box would be gigabytes.
    """
    part, array = slices(box), layer.data
    new = values.astype(array.dtype, copy=False)
    layer._save_history((part, np.array(array[part]), new))  # noqa: SLF001  # pinned by a test
    array[part] = new


def keep_what_goes(layer: Labels) -> None:
    """Keep the steps that the next edit makes napari forget, for a moment: a gigabyte takes half a second to free."""
    undo, redo = layer._undo_history, layer._redo_history  # noqa: SLF001  # pinned by a test
    going = [*redo, *([undo[0]] if len(undo) == undo.maxlen else [])]
    atoms = [atom for step in going for atom in step if isinstance(atom, tuple)]
    if sum(atom[1].nbytes for atom in atoms) > LARGE_BYTES:
        timer = Timer(LATER_S, _free, (atoms,))
        timer.daemon = True
        timer.start()


def _free(atoms: list[Any]) -> None:
    """Free one after the other, so that the other threads have their turns."""
    while atoms:
        atoms.pop()
