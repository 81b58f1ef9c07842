"""Masks of other programs that are dropped onto napari, or opened with its File menu: they become corrections."""

# No postponed annotations here: napari reads those of what its manifest names.

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari

from napari_unet.gui.controller import controller_of
from napari_unet.gui.image_reading import LayerData, labels_layer
from napari_unet.gui.reading import NOTHING_TO_SHOW, show_step
from napari_unet.imaging.foreign_labels.reading import is_foreign, read_foreign_labels
from napari_unet.imaging.reading import image_name

Reader = Callable[..., list[Any]]

_MASKS = "_cp_masks"


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader if a file holds masks or outlines, and None if another plugin should read it."""
    return read_masks if isinstance(path, str) and holds_masks(Path(path)) else None


def holds_masks(path: Path) -> bool:
    """Whether a file holds masks or outlines of another program, as far as a short look can tell."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".zip":
        return _holds_rois(path)
    return path.stem.endswith(_MASKS) or is_foreign(path)


def read_masks(path: str) -> list[LayerData]:
    """Make corrections of the chosen image of a file; a layer of its own where there is no image.

    Raises
    ------
    LabelsError
        If there is no image, and the file does not know how large it is.
    """
    viewer = napari.current_viewer()
    if viewer is None or controller_of(viewer).state.image is None:
        return [labels_layer(read_foreign_labels(path), image_name(path))]
    show_step(viewer, "Correct")
    controller_of(viewer).importing.open_masks(path)
    return NOTHING_TO_SHOW  # type: ignore[return-value]  # napari's word for "read, and there is no layer"


def _holds_rois(path: Path) -> bool:
    """Whether an archive holds nothing but ROIs of ImageJ."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.lower().endswith(".roi") for name in names)
