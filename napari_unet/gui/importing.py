"""Masks of other programs as the correction layer of the chosen image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.gui import layers
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.desk import Desk
from napari_unet.gui.merging import Merging
from napari_unet.gui.state import Activity
from napari_unet.gui.tasks import Aside, Task
from napari_unet.imaging.image import Image, to_canonical


class Importing:
    """Opens masks; reviewed objects of a correction layer that is there already are kept, as when segmenting again.

    Parameters
    ----------
    desk : Desk
    correcting : Correcting
    """

    def __init__(self, desk: Desk, correcting: Correcting) -> None:
        self._desk, self._correcting = desk, correcting
        self._merging = Merging(desk)

    def open_masks(self, path: str) -> None:
        """Make corrections of the chosen image of the labels in a file."""
        self._desk.attempt(lambda: self._open(Path(path)))

    def _open(self, path: Path) -> None:
        image_id = layers.layer_id(self._desk.image_layer())
        self._desk.run(Activity.BRINGING, self._task(path, image_id, self._desk.chosen_image()))

    def _task(self, path: Path, image_id: str, image: Image) -> Task:
        labels, count, notes = yield Aside(lambda: labels_for(path, image))
        found = f"{count:,} object{'s' if count != 1 else ''} opened from “{path.name}”."
        if image_id != self._desk.state.image:
            raise LabelsError("Another image was chosen meanwhile. Open the masks again.")
        if layers.find(self._desk.viewer, "correction", image_id) is None:
            self._correcting.start_with(labels)
            said = f"{found} Mark what is right as reviewed."
        else:
            model = self._desk.state.model
            meaning = "instances" if model is None else model.spec.meaning
            said = found + (yield from self._merging.merge(image_id, labels, meaning))
        self._desk.state.tell(" ".join((said, *notes)))


def labels_for(path: Path, image: Image) -> tuple[npt.NDArray[np.uint32], int, tuple[str, ...]]:
    """Read labels (T, Z, Y, X) that fit an image, count them, and say what is to be known of them.

    Raises
    ------
    LabelsError
        If there are none, they do not fit, or their numbers are too large for napari.
    """
    from napari_unet.imaging.foreign_labels.reading import read_foreign_labels

    found = read_foreign_labels(path, tuple(image.array.shape), image.axes)
    array: npt.NDArray[Any] = to_canonical(np.asarray(found.array), found.axes)[:, 0]
    count = int(np.count_nonzero(np.unique(array)))
    if not count:
        raise LabelsError(f'"{path.name}" holds no objects. Choose a file with labels or outlines.')
    if int(array.max()) > np.iinfo(np.uint32).max:
        raise LabelsError(f'"{path.name}" holds numbers above 4294967295. Number the objects anew in that program.')
    return np.ascontiguousarray(array, np.uint32), count, found.notes
