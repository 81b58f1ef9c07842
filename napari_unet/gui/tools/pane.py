"""What of a correction layer an edit acts on: the plane on the screen, or the volume around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Labels

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.objects.editing.changes import Box, Change

Point = tuple[int, ...]
Place = npt.NDArray[np.float64]
"""An index into the array of a layer, with fractions."""


@dataclass(frozen=True, slots=True)
class Pane:
    """Some axes of a label layer's array, at one place along the others.

    Attributes
    ----------
    layer : Labels
    dims : tuple of int
        Of the array, in the order of display: the last two are the plane on the screen.
    place : tuple of int
        Index into the array; it counts along the other axes only.
    """

    layer: Labels
    dims: tuple[int, ...]
    place: Point

    def of(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View the same part of an array of the layer's shape."""
        index = tuple(slice(None) if dim in self.dims else at for dim, at in enumerate(self.place))
        rising = sorted(self.dims)
        return np.transpose(array[index], [rising.index(dim) for dim in self.dims])

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The labels, living."""
        return self.of(self.layer.data)

    @property
    def shape(self) -> Point:
        """Sides along `dims`."""
        return tuple(int(self.layer.data.shape[dim]) for dim in self.dims)

    def point(self, index: Place) -> Point:
        """Return where an index into the array is in the pane."""
        return tuple(round(float(index[dim])) for dim in self.dims)

    def whole(self, change: Change) -> Change:
        """Return a change of the pane as one of the array."""
        box = [(at, at + 1) for at in self.place]
        for dim, part in zip(self.dims, change.box, strict=True):
            box[dim] = part
        values = np.transpose(change.values, np.argsort(self.dims))
        return Change(tuple(box), values.reshape([stop - start for start, stop in box]))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Sides of a pixel along `dims`; infinite along time, where no two pixels are neighbours in space."""
        time = layers.frame_of_labels(self.layer).axes.find("T")
        return tuple(float("inf") if dim == time else abs(float(self.layer.scale[dim])) for dim in self.dims)

    def moments(self) -> list[Pane]:
        """Return the parts of the pane at each of its time points; the pane itself if it is at one."""
        time = layers.frame_of_labels(self.layer).axes.find("T")
        if time not in self.dims:
            return [self]
        rest = tuple(dim for dim in self.dims if dim != time)
        places = ((*self.place[:time], t, *self.place[time + 1 :]) for t in range(self.layer.data.shape[time]))
        return [Pane(self.layer, rest, place) for place in places]

    def part(self, box: Box) -> Box | None:
        """Return what of a box of the array lies in the pane."""
        fixed = (dim for dim in range(len(box)) if dim not in self.dims)
        if any(not box[dim][0] <= self.place[dim] < box[dim][1] for dim in fixed):
            return None
        return tuple(box[dim] for dim in self.dims)


def pane_of(viewer: ViewerModel, layer: Labels, ndim: int | None = None) -> Pane:
    """Return what edits of a layer act on now.

    Parameters
    ----------
    ndim : int, optional
        Axes to edit. By default as many as napari's brush does (`n_edit_dimensions`), or as are on the screen.

    Raises
    ------
    LabelsError
        If the layer has no such axes.
    """
    ahead = viewer.dims.ndim - layer.ndim
    order = [dim - ahead for dim in viewer.dims.order if dim >= ahead]
    shown = order[-viewer.dims.ndisplay :]
    wanted = ndim or max(len(shown), min(layer.n_edit_dimensions, layer.ndim))
    others = [dim for dim in order[: -len(shown)] if layer.data.shape[dim] > 1]
    extra = wanted - len(shown)
    if extra > len(others) and ndim is not None:
        raise LabelsError("This needs slices or time points, and this image is a single plane.")
    dims = (*(others[len(others) - extra :] if 0 < extra <= len(others) else ()), *shown)
    return Pane(layer, dims, layers.plane_of(viewer, layer))


def everything(layer: Labels) -> Pane:
    """Return all of a layer, whatever is on the screen."""
    return Pane(layer, tuple(range(layer.data.ndim)), (0,) * layer.data.ndim)


def index_at(layer: Labels, event: Any) -> Place | None:  # noqa: ANN401
    """Return where in a layer's array the mouse is; in a volume seen in 3D, the first object under it.

    Parameters
    ----------
    event : napari's mouse event
    """
    if len(event.dims_displayed) == 2:
        return np.asarray(layer.world_to_data(event.position), float)
    start, end = layer.get_ray_intersections(
        position=event.position,
        view_direction=event.view_direction,
        dims_displayed=list(layer._slice_input.displayed),  # noqa: SLF001  # as napari's own brush does
        world=True,
    )
    if start is None or end is None:
        return None
    count = max(2, round(float(np.linalg.norm(np.subtract(end, start)))) * 2)
    ray = np.linspace(start, end, count)
    places = np.clip(np.round(ray).astype(int), 0, np.array(layer.data.shape) - 1)
    hits = np.flatnonzero(layer.data[tuple(places.T)])
    return places[hits[0]].astype(float) if hits.size else None
