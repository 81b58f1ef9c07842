"""Bringing a place of a layer before the user's eyes."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer

from napari_unet.objects.editing.changes import Box

# The zoom stays as it is where an object takes a share of the view between these; else it takes the last one.
LEAST, MOST, COMFORTABLE = 0.04, 0.6, 0.2
# No pixel becomes larger on the screen.
_MOST_PX = 24.0


def show_box(viewer: ViewerModel, layer: Layer, box: Box) -> None:
    """Move sliders and camera so that a box is in the middle, at a size that is comfortable to work at.

    Parameters
    ----------
    box : Box
        Along the axes of the layer's array.
    """
    ends = np.array(box, float)
    centre = layer.data_to_world((ends[:, 0] + ends[:, 1] - 1) / 2)
    corners = np.array([layer.data_to_world(ends[:, side]) for side in (0, 1)])
    extent = np.abs(corners[1] - corners[0])
    ahead = viewer.dims.ndim - layer.ndim
    # In the middle of an even number of slices there is none.
    slice_centre = layer.data_to_world(np.floor((ends[:, 0] + ends[:, 1] - 1) / 2))
    for dim in viewer.dims.not_displayed:
        if dim >= ahead:
            viewer.dims.set_point(dim, slice_centre[dim - ahead])
    shown = [dim - ahead for dim in viewer.dims.displayed if dim >= ahead]
    camera = viewer.scene.camera
    camera.center = tuple(centre[dim] for dim in shown)
    pixel = max(float(np.min(np.abs(np.asarray(layer.scale)[shown]))), 1e-12)
    view = float(min(viewer.canvas.size))
    share = max(extent[dim] for dim in shown[-2:]) * camera.zoom / view
    if not LEAST <= share <= MOST:
        camera.zoom = min(camera.zoom * COMFORTABLE / share, _MOST_PX / pixel)
