"""Drawing rectangles on a label layer, which napari has no tool for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from napari_unet.gui.tools.sketch import Sketch
from napari_unet.objects.editing.changes import Box

_NAME = "napari-unet rectangle"
OnBox = Callable[[Box, bool], None]


class Rectangle:
    """The mouse draws rectangles on a layer until its mode is changed.

    Parameters
    ----------
    layer : Labels
    on_box : callable
        Gets each rectangle as a box of the array, and whether Shift was held.
    on_end : callable
        Called when the user chooses another mode.
    """

    def __init__(self, layer: Labels, on_box: OnBox, on_end: Callable[[], None]) -> None:
        self._layer, self._on_box, self._on_end = layer, on_box, on_end
        self._sketch = Sketch(layer, _NAME)
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.cursor = "cross"
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.events.mode.connect(self._on_mode)
        layer.bind_key("Space", _pan, overwrite=True)

    def end(self) -> None:
        """Give the mouse back."""
        layer = self._layer
        layer.events.mode.disconnect(self._on_mode)
        if self._on_drag in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._on_drag)
        layer.bind_key("Space", None)
        self._sketch.remove()
        if layer.mode == "pan_zoom":
            layer.mouse_pan = True
            layer.cursor = "standard"

    def _on_mode(self, _event: object = None) -> None:
        self._on_end()

    def _on_drag(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401
        displayed = list(layer._slice_input.displayed)  # noqa: SLF001  # of the layer, not of the viewer
        if event.button != 1 or len(displayed) != 2:
            return
        start, removing = self._index(event), "Shift" in event.modifiers
        yield
        end = start
        while event.type == "mouse_move":
            end = self._index(event)
            self._sketch.line(outline(box_between(start, end, displayed, layer.data.shape), displayed))
            yield
        self._sketch.clear()
        if not np.array_equal(start, end):
            self._on_box(box_between(start, end, displayed, layer.data.shape), removing)

    def _index(self, event: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401
        return np.asarray(self._layer.world_to_data(event.position), float)


def _pan(layer: Labels) -> Generator[None]:
    """Move the camera as long as the key is held."""
    layer.mouse_pan = True
    yield
    layer.mouse_pan = layer.mode == "pan_zoom" and layer.cursor != "cross"


def box_between(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], displayed: Sequence[int], shape: Sequence[int]
) -> Box:
    """Return the box of all pixels between two places of a plane, as far as the image reaches."""
    box = []
    for axis, n in enumerate(shape):
        ends = sorted((start[axis], end[axis])) if axis in displayed else (start[axis], start[axis])
        low, high = (min(max(round(float(place)), 0), int(n) - 1) for place in ends)
        box.append((low, high + 1))
    return tuple(box)


def outline(box: Box, displayed: Sequence[int]) -> list[list[float]]:
    """Return the corners of a box in a plane, the first one again at the end."""
    rows, columns = ((box[axis][0] - 0.5, box[axis][1] - 0.5) for axis in displayed)
    corners = []
    for row, column in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)):
        corner = [float(start) for start, _ in box]
        corner[displayed[0]], corner[displayed[1]] = rows[row], columns[column]
        corners.append(corner)
    return corners
