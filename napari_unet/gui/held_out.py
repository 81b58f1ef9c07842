"""What a training is judged on, marked in the viewer as long as the user wants to see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_unet.events import HeldOut
from napari_unet.gui import layers
from napari_unet.gui.choosing import reading_of
from napari_unet.gui.desk import Desk
from napari_unet.gui.training_state import Apart
from napari_unet.jobs.requests import Region


class HeldOutView:
    """Adds a layer over each image of which something is held out, and takes it away again.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._images: dict[str, str] = {}  # ids of image layers, by the names that they had when a training began
        self._busy = False
        desk.viewer.layers.events.removed.connect(self._on_removed)

    def know(self, name: str, image_id: str) -> None:
        """Remember which layer a training knows under a name."""
        self._images[name] = image_id

    def tell(self, held_out: HeldOut | None) -> None:
        """Say what is held out, and mark it if the user has asked for it; None if nothing is any more."""
        state, old = self._desk.state, self._desk.state.apart
        known = [] if held_out is None else held_out.regions
        regions = tuple((self._images[name], _region(window)) for name, window in known if name in self._images)
        told = Apart(sentence="" if held_out is None else held_out.sentence, regions=regions)
        if (told.sentence, told.regions) == (old.sentence, old.regions):
            return
        self._remove()
        state.apart = told
        if old.shown and regions:
            self.show(True)

    def show(self, shown: bool) -> None:
        """Mark what is held out in the viewer, or no longer."""
        self._remove()
        state = self._desk.state
        if shown:
            for image in dict.fromkeys(image for image, _ in state.apart.regions):
                self._desk.attempt(lambda image=image: self._mark(image))  # type: ignore[misc]
        state.apart = state.apart.model_copy(update={"shown": bool(self._marks())})

    def _mark(self, image: str) -> None:
        """Add the layer of one image; the selection stays as it is."""
        viewer, layer = self._desk.viewer, self._desk.image_layer(image)
        frame = layers.frame_of(layer, reading_of(self._desk, layer).axes)
        sizes = [dict(zip(frame.axes, frame.shape, strict=True)).get(axis, 1) for axis in "TZYX"]
        mask = marked(sizes, [window for owner, window in self._desk.state.apart.regions if owner == image])
        selected = set(viewer.layers.selection)
        look = layers.tagged("held-out", layer, frame) | layers.look_of("held-out")
        made = viewer.add_labels(frame.from_tzyx(mask), **look)
        made.editable = False
        viewer.layers.selection = selected

    def _marks(self) -> list[object]:
        return list(layers.with_role(self._desk.viewer, "held-out"))

    def _remove(self) -> None:
        self._busy = True
        try:
            for layer in self._marks():
                self._desk.viewer.layers.remove(layer)
        finally:
            self._busy = False

    def _on_removed(self, _event: object = None) -> None:
        """Note that the user has removed the last mark."""
        if self._busy or not self._desk.open:
            return
        apart = self._desk.state.apart
        if apart.shown and not self._marks():
            self._desk.state.apart = apart.model_copy(update={"shown": False})


def marked(sizes: Sequence[int], regions: Sequence[Region]) -> npt.NDArray[np.uint8]:
    """Return 1 where something is held out, of the sizes along T, Z, Y and X.

    Along axes on which all regions reach from end to end the array repeats itself and takes no memory; it cannot be
    written.

    >>> marked((1, 2, 3, 4), [((0, 1), (0, 2), (0, 3), (2, 4))])[0, 1].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    repeated = [all(one[axis][0] <= 0 and one[axis][1] >= n for one in regions) for axis, n in enumerate(sizes)]
    mask = np.zeros([1 if same else n for same, n in zip(repeated, sizes, strict=True)], np.uint8)
    for one in regions:
        mask[tuple(slice(None) if same else slice(*span) for same, span in zip(repeated, one, strict=True))] = 1
    return np.broadcast_to(mask, tuple(sizes))


def _region(window: Sequence[tuple[int, int]]) -> Region:
    t, z, y, x = window
    return (t, z, y, x)
