"""What the user looks at while a model learns: segmented after each check, and by both models at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from napari.layers import Labels

from napari_unet.errors import NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.layers import Frame
from napari_unet.gui.training_state import Side
from napari_unet.imaging.image import Image
from napari_unet.imaging.statistics import check_input
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.requests import ImageRef, Region
from napari_unet.jobs.scratch import open_array
from napari_unet.objects.config import ObjectOptions

# Outlines of so many pixels leave the corrections below them to be seen.
CONTOUR_PX = 2
# More would take time away from learning: a quarter of a million pixels are a second on a laptop.
MOST_PX = 2**18


@dataclass(slots=True)
class LiveView:
    """A window of an image, and the layer that shows what a model finds there.

    Attributes
    ----------
    image_id : str
        Of the image layer.
    image : Image
    region : (start, stop) along T, Z, Y, X
    frame : Frame
        Of the window.
    inference, objects
        How it is segmented.
    """

    image_id: str
    image: Image
    region: Region
    frame: Frame
    inference: InferenceConfig
    objects: ObjectOptions | None
    watch: WatchRef | None = field(default=None, init=False)
    layer_id: str = field(default="", init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along T, Z, Y and X."""
        return tuple(stop - start for start, stop in self.region)

    def stage(self, desk: Desk, image: ImageRef, *, live: bool) -> WatchRef:
        """Reserve the labels; runs in a thread."""
        labels, before = (desk.scratch.array(self.shape, np.uint32) for _ in range(2))
        self.watch = WatchRef(
            image=image,
            region=self.region,
            inference=self.inference,
            objects=self.objects,
            live=live,
            labels=labels,
            before=before,
        )
        return self.watch

    def prepare(self, desk: Desk) -> None:
        """Add the layer before there is anything to show: later the user may be painting."""
        self._put(desk, np.zeros(self.shape, np.uint32))

    def show_new(self, desk: Desk) -> bool:
        """Show what the model has learnt so far; False if the user has removed the layer."""
        layer = self._layer(desk)
        if layer is not None and self.watch is not None:
            layer.data = self.frame.from_tzyx(np.array(open_array(self.watch.labels)))
        return layer is not None

    def is_shown(self, desk: Desk) -> bool:
        """Whether the layer is there."""
        return self._layer(desk) is not None

    def compare(self, desk: Desk, side: Side) -> None:
        """Show the labels of the old or of the new model, or none.

        Raises
        ------
        ImageError
            If the image is gone.
        """
        layer = self._layer(desk)
        if side and self.watch is not None:
            self._put(desk, np.array(open_array(self.watch.before if side == "before" else self.watch.labels)))
        elif layer is not None:
            layer.visible = False

    def close(self, desk: Desk) -> None:
        """Remove the layer and the labels."""
        layer = self._layer(desk)
        if layer is not None:
            desk.viewer.layers.remove(layer)
        if self.watch is not None:
            desk.release(self.watch.labels, self.watch.before)
            self.watch = None

    def _layer(self, desk: Desk) -> Labels | None:
        return layers.by_id(desk.viewer, self.layer_id) if self.layer_id else None

    def _put(self, desk: Desk, labels: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]) -> None:
        """Show labels in the layer; make it if it is not there, and leave the selection as it is."""
        layer, viewer = self._layer(desk), desk.viewer
        if layer is not None:
            layer.data = self.frame.from_tzyx(labels)
            layer.visible = True
            return
        image = desk.image_layer(self.image_id)
        for old in list(layers.with_role(viewer, "preview", self.image_id)):
            viewer.layers.remove(old)
        selected = set(viewer.layers.selection)
        made = viewer.add_labels(self.frame.from_tzyx(labels), **layers.tagged("preview", image, self.frame))
        correction = layers.find(viewer, "correction", self.image_id)
        if correction is not None and correction.visible:
            made.contour = CONTOUR_PX
        self.layer_id = layers.layer_id(made)
        viewer.layers.selection = selected


def live_view(desk: Desk) -> LiveView | None:
    """Return the window of the chosen image that is on the screen; None if nothing of it can be shown."""
    state = desk.state
    model = state.model
    if model is None or model.spec.activation == "none":
        return None
    try:
        layer, image = desk.image_layer(), desk.chosen_image()
        chosen = image.sizes["C"] if state.channels is None else len(state.channels)
        check_input(image.name, chosen, model.spec.normalization, model.spec.image_channels)
    except NapariUnetError:
        return None
    if not layer.visible:
        return None
    t, z, y, x = layers.region_of(layers.visible_box(desk.viewer, layer, image.axes), image)
    if model.spec.dims == 3:
        z = (0, image.sizes["Z"])
    region = capped((t, z, y, x))
    known = dict(zip("TZYX", region, strict=True))
    frame = layers.frame_of(layer, image.axes)
    inference = InferenceConfig(
        axes=image.axes, channels=state.channels, diameter_px=state.diameter_px, device=state.device
    )
    return LiveView(
        image_id=layers.layer_id(layer),
        image=image,
        region=region,
        frame=layers.shifted(frame, tuple(known.get(axis, (0, 1)) for axis in frame.axes)),
        inference=inference,
        # What the user has not changed is as each model says: a new one has settings of its own.
        objects=None if state.objects == model.spec.objects_at(state.diameter_px) else state.objects,
    )


def capped(region: Region, most_px: int = MOST_PX) -> Region:
    """Return the middle of a region, small enough to be segmented again and again.

    >>> capped(((0, 1), (3, 4), (0, 100), (0, 50)), 400)
    ((0, 1), (3, 4), (40, 60), (15, 35))
    """
    t, z, y, x = region
    plane = max(1, most_px // (z[1] - z[0]))
    height = min(y[1] - y[0], max(math.isqrt(plane), plane // (x[1] - x[0])))
    width = min(x[1] - x[0], max(1, plane // height))
    return (t, z, _middle(y, height), _middle(x, width))


def _middle(span: tuple[int, int], size: int) -> tuple[int, int]:
    start = span[0] + (span[1] - span[0] - size) // 2
    return (start, start + size)
