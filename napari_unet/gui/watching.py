"""The probabilities on the screen while they are written."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from napari.layers import Image as ImageLayer

from napari_unet.events import Event, TileDone
from napari_unet.gui import layers
from napari_unet.gui.continuing import Job, as_region, joined
from napari_unet.gui.desk import Desk
from napari_unet.jobs.requests import Region

# Windows that are remembered while the user looks elsewhere.
_MOST_UNDRAWN = 1000


class TileDisplay:
    """Shows the probabilities of the first foreground class while they are written.

    Parameters
    ----------
    desk : Desk
    job : Job
    probabilities : (K, T, Z, Y, X) memory-mapped float32
    done : tuple of (start, stop) along T, Z, Y, X
        What they hold already.

    Attributes
    ----------
    done : tuple of (start, stop) along T, Z, Y, X
        What they hold now.
    """

    def __init__(self, desk: Desk, job: Job, probabilities: npt.NDArray[Any], done: tuple[Region, ...]) -> None:
        self._desk, self._job = desk, job
        self.done = done
        self._undrawn: tuple[Region, ...] = ()
        shown = min(1, len(probabilities) - 1) if job.model.spec.activation != "sigmoid" else 0
        self._put(job.frame.from_tzyx(probabilities[shown]))

    def __call__(self, event: Event) -> None:
        """Show an event, soon."""
        self._desk.show(event)
        if isinstance(event, TileDone):
            written = tuple(as_region(window) for window in event.written)
            self.done = joined(self.done, written)
            self._undrawn = joined(self._undrawn, written)[-_MOST_UNDRAWN:]
            if self._in_view():
                self._desk.pace.ask(self._draw)

    def hide(self) -> None:
        """Keep the layer for the curious, out of sight."""
        layer = self._layer()
        if layer is not None:
            layer.visible = False

    def remove(self) -> None:
        """Remove the layer: nothing is to be seen on it."""
        layer = self._layer()
        if layer is not None:
            self._desk.viewer.layers.remove(layer)

    def stay(self) -> None:
        """Show all that was written, for good."""
        layer = self._layer()
        if layer is not None:
            layer.refresh(extent=False, highlight=False)

    def _draw(self) -> None:
        layer = self._layer()
        if layer is not None:
            self._undrawn = ()
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _in_view(self) -> bool:
        """Whether anything that has not been drawn lies where the user looks: Qt need not draw the rest."""
        layer = self._layer()
        if layer is None or not layer.visible:
            return False
        image = layers.by_id(self._desk.viewer, self._job.image_id)
        if image is None:
            return False
        view = layers.region_of(layers.visible_box(self._desk.viewer, image, self._job.image.axes), self._job.image)
        return any(_meet(view, window) for window in self._undrawn)

    def _layer(self) -> ImageLayer | None:
        return layers.find(self._desk.viewer, "probability", self._job.image_id)

    def _put(self, data: npt.NDArray[Any]) -> None:
        viewer, job = self._desk.viewer, self._job
        image, old = self._desk.image_layer(job.image_id), self._layer()
        if old is not None and old.data.shape == data.shape:
            # Much quicker than a new layer, which napari lays out and draws with all the others.
            old.visible = False  # else each of the two is drawn
            old.data = data
            old.visible = True
            return
        if old is not None:
            viewer.layers.remove(old)
        selected = set(viewer.layers.selection)
        viewer.add_image(
            data,
            **layers.tagged("probability", image, job.frame),
            colormap="magenta",
            blending="additive",
            contrast_limits=(0, 1),
        )
        viewer.layers.selection = selected


def _meet(one: Region, other: Region) -> bool:
    return all(a < d and c < b for (a, b), (c, d) in zip(one, other, strict=True))
