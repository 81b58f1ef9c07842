"""An image of many in the viewer, with its masks as corrections; also while others are being segmented."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
from napari.layers import Image as ImageLayer
from qtpy.QtCore import QTimer

from napari_unet.errors import ImageError, NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.batch_listing import labels_file
from napari_unet.gui.batch_state import BatchRow
from napari_unet.gui.choosing import Choosing
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.desk import Desk
from napari_unet.gui.importing import labels_for
from napari_unet.gui.recipe_settings import PLUGIN, axes_of_layer
from napari_unet.gui.tasks import Aside, AsideThread
from napari_unet.imaging.reading import READERS
from napari_unet.imaging.tiff import read_tiff

_POLL_MS = 60


class RowOpener:
    """Opens images of a list.

    Parameters
    ----------
    desk : Desk
    choosing : Choosing
    correcting : Correcting

    Attributes
    ----------
    axes : str, optional
        Of all images, instead of what their files say.
    """

    def __init__(self, desk: Desk, choosing: Choosing, correcting: Correcting) -> None:
        self._desk, self._choosing, self._correcting = desk, choosing, correcting
        self.axes: str | None = None
        self._reading: list[tuple[AsideThread, Callable[[AsideThread], None]]] = []
        self._timer = QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)

    def open(self, row: BatchRow) -> None:
        """Open an image, choose it and show it alone; if masks of it were written, they become its correction layer.

        Raises
        ------
        ImageError
            If it cannot be opened.
        """
        layer = self._shown(row.path) or self._opened(row.path)
        image = layers.layer_id(layer)
        self._choosing.choose_image(image)
        self._show_alone(layer)
        if self.axes is not None:
            self._choosing.set_axes(axes_of_layer(self.axes, layer))
        name, state = Path(row.path).name, self._desk.state
        if layers.find(self._desk.viewer, "correction", image) is not None:
            self._correcting.start()  # brings it to the front
            return
        if row.objects == 0:
            self._correcting.start()
            state.tell(f"Opened {name}. Nothing was found in it: paint what is there.")
            return
        masks = labels_file(row)
        if masks is None:
            state.tell(f"Opened {name}. There are no masks of it{': ' + row.text if row.text else '.'}")
            return
        chosen = self._desk.chosen_image()
        self._read(lambda: labels_for(masks, chosen), partial(self._correct, image, name))

    def close(self) -> None:
        """Forget what is being read: the viewer is closing."""
        self._reading.clear()
        with contextlib.suppress(RuntimeError):  # when Python ends, Qt may have deleted the timer already
            self._timer.stop()

    def _shown(self, path: str) -> ImageLayer | None:
        """Return the layer of a file that is open."""
        wanted = Path(path).resolve()
        for layer in self._desk.viewer.layers:
            source = layer.source.path
            if isinstance(layer, ImageLayer) and source is not None and Path(source).resolve() == wanted:
                return layer
        return None

    def _show_alone(self, image: ImageLayer) -> None:
        """Hide the layers of other images, which would lie on top of it or beside it, and bring it into view."""
        viewer, wanted = self._desk.viewer, layers.layer_id(image)
        for layer in viewer.layers:
            if layer is image:
                layer.visible = True
            elif layers.image_id_of(layer) != wanted:
                layer.visible = False
        viewer.reset_view(layers=[image])

    def _opened(self, path: str) -> ImageLayer:
        """Open a file: with our reader what that reads better, else with napari's own."""
        file = Path(path)
        ours = file.is_dir() or READERS.get(file.suffix.lower()) is read_tiff
        try:
            found = self._desk.viewer.open(path, plugin=PLUGIN if ours else "napari")
        except NapariUnetError:
            raise
        except Exception as error:  # readers raise anything
            raise ImageError(
                f'"{file.name}" cannot be opened ({str(error)[:120]}). Open it with File > Open.'
            ) from error
        image = next((layer for layer in found if isinstance(layer, ImageLayer)), None)
        if image is None:
            raise ImageError(f'"{file.name}" was opened as labels, and not as an image. Rename it, and open it again.')
        return image

    def _correct(self, image: str, name: str, aside: AsideThread) -> None:
        """Make the correction layer of what was read, if its image is still the chosen one."""
        state = self._desk.state
        if image != state.image:
            return
        if aside.error is not None:
            state.tell(str(aside.error), "error")
            return
        labels, count, notes = aside.result
        self._correcting.start_with(labels)
        found = f"{count:,} object{'s' if count != 1 else ''}"
        state.tell(" ".join((f"Opened {name} with {found}. Correct them, and mark what is right as reviewed.", *notes)))

    def _read(
        self, work: Callable[[], tuple[npt.NDArray[Any], int, tuple[str, ...]]], then: Callable[[AsideThread], None]
    ) -> None:
        """Read in a thread, and go on in the main thread."""
        aside = AsideThread(Aside(work))
        self._reading.append((aside, then))
        aside.start()
        self._timer.start()

    def _poll(self) -> None:
        ended = [one for one in self._reading if one[0].done.is_set()]
        self._reading = [one for one in self._reading if not one[0].done.is_set()]
        if not self._reading:
            self._timer.stop()
        for aside, then in ended:
            self._desk.attempt(partial(then, aside))
