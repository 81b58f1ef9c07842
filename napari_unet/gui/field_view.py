"""A field on the screen: sliders and camera brought to it, and a thin frame around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_unet.gui import layers
from napari_unet.gui.rectangle import outline
from napari_unet.gui.tools.sketch import Sketch
from napari_unet.objects.editing.changes import Box

_NAME = "napari-unet field"
# What of the canvas a field takes: its surroundings help to judge what lies at its edge.
SHARE = 0.8


def go_to(viewer: ViewerModel, layer: Labels, box: Box, axes: str) -> None:
    """Bring a field before the user.

    Parameters
    ----------
    box : Box
        Along the axes of the layer's array.
    axes : str
        Of that array. A channel axis stays where it is.
    """
    ahead = viewer.dims.ndim - layer.ndim
    plane = [axes.index(axis) for axis in "YX"]
    if viewer.dims.ndisplay != 2:
        viewer.dims.ndisplay = 2
    shown = tuple(ahead + dim for dim in plane)
    if tuple(viewer.dims.displayed) != shown:
        viewer.dims.order = (*(dim for dim in range(viewer.dims.ndim) if dim not in shown), *shown)
    middle = layer.data_to_world([(start + stop - 1) / 2 for start, stop in box])
    steps = [dim for dim, axis in enumerate(axes) if axis in "TZ" and layer.data.shape[dim] > 1]
    if steps:
        viewer.dims.set_point([ahead + dim for dim in steps], [middle[dim] for dim in steps])
    corners = np.array([layer.data_to_world(corner) for corner in outline(box, plane)])[:, plane]
    height, width = np.maximum(np.ptp(corners, axis=0), 1e-12)
    canvas = viewer.canvas.size
    camera = viewer.scene.camera
    camera.center = tuple((corners.min(axis=0) + corners.max(axis=0)) / 2)
    camera.zoom = SHARE * min(canvas[0] / height, canvas[1] / width)


def view_of(viewer: ViewerModel) -> tuple[Any, ...]:
    """Return what changes when the user looks elsewhere."""
    camera, dims = viewer.scene.camera, viewer.dims
    return (tuple(camera.center), camera.zoom, tuple(dims.point), tuple(dims.order), dims.ndisplay)


def is_in_view(viewer: ViewerModel, layer: Labels, box: Box, axes: str) -> bool:
    """Whether anything of a field is on the screen."""
    seen = layers.visible_box(viewer, layer, axes)
    met = [a < d and c < b for axis, (a, b), (c, d) in zip(axes, box, seen, strict=True) if axis != "C"]
    return all(met) and in_plane(viewer, layer, box, axes)


def in_plane(viewer: ViewerModel, layer: Labels, box: Box, axes: str) -> bool:
    """Whether the slice of a field is the one on the screen."""
    ahead = viewer.dims.ndim - layer.ndim
    if tuple(dim - ahead for dim in viewer.dims.displayed) != tuple(axes.index(axis) for axis in "YX"):
        return False
    place = layers.plane_of(viewer, layer)
    return all(box[dim][0] <= place[dim] < box[dim][1] for dim, axis in enumerate(axes) if axis in "TZ")


class FieldFrame:
    """A frame around a field, on its slice only.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Labels
    axes : str
    """

    def __init__(self, viewer: ViewerModel, layer: Labels, axes: str) -> None:
        self._viewer, self._layer, self._axes = viewer, layer, axes
        self._box: Box | None = None
        self.sketch = Sketch(layer, _NAME)
        for event in (viewer.dims.events.point, viewer.dims.events.order, viewer.dims.events.ndisplay):
            event.connect(self._draw)

    def show(self, box: Box) -> None:
        """Frame a field."""
        self._box = box
        self._draw()

    def remove(self) -> None:
        """Take the frame away."""
        dims = self._viewer.dims.events
        for event in (dims.point, dims.order, dims.ndisplay):
            event.disconnect(self._draw)
        self.sketch.remove()

    def _draw(self, _event: object = None) -> None:
        box = self._box
        if box is not None and in_plane(self._viewer, self._layer, box, self._axes):
            self.sketch.line(outline(box, [self._axes.index(axis) for axis in "YX"]))
        else:
            self.sketch.clear()
