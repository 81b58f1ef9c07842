"""Weights files that are dropped onto napari, or opened with its File menu: they go to the Model step."""

# No postponed annotations here: napari reads those of what its manifest names.

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_unet.errors import ModelError
from napari_unet.gui.controller import controller_of
from napari_unet.gui.panels import Panel
from napari_unet.weights.formats.identify import Kind, identify

PLUGIN = "napari-unet"
NOTHING_TO_SHOW = [(None,)]  # napari's word for "read, and there is no layer"
# Whatever is in these, it is meant as weights: a damaged one gets its sentence in the Model step.
ALWAYS_WEIGHTS = {".pt", ".pth", ".ckpt", ".safetensors", ".keras", ".onnx", ".index"}
# What Keras writes near the beginning of an HDF5 file; images have none of it.
_KERAS_MARKS = (b"layer_names", b"model_weights", b"keras_version", b"_layer_checkpoint_dependencies", b"vars")
_HEAD_BYTES = 2**18
_FEWEST_ARRAYS = 4

Reader = Callable[..., list[tuple[Any, ...]]]


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader if a file holds weights, and None if another plugin should read it."""
    first = path if isinstance(path, str) else path[0]
    return read_weights if holds_weights(Path(first)) else None


def read_weights(path: str | Sequence[str], stack: bool = False) -> list[tuple[Any, ...]]:
    """Hand a weights file to the Model step of the current viewer; there is no layer to show."""
    del stack  # napari asks, and a model is no stack
    viewer = napari.current_viewer()
    if viewer is None:
        raise ModelError("There is no napari window that could open the weights. Open them with nu.load_model.")
    first = path if isinstance(path, str) else path[0]
    show_step(viewer, "Model")
    controller_of(viewer).opening.open_file(first)
    return NOTHING_TO_SHOW


def holds_weights(path: Path) -> bool:
    """Whether a file holds weights, as far as a short look can tell; no code in it runs."""
    if path.suffix.lower() in ALWAYS_WEIGHTS:
        return True
    try:
        kind = identify(path)
        if kind is Kind.HDF5:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            return any(mark in head for mark in _KERAS_MARKS)
        return kind is not Kind.NPZ or _names_variables(path)
    except (ModelError, OSError):
        return False


def _names_variables(path: Path) -> bool:
    """Whether an archive of arrays has many arrays, named like variables; images are few or numbered."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    named = [name for name in names if "/" in name or "." in name or "weight" in name or "kernel" in name]
    return len(named) >= _FEWEST_ARRAYS


def show_step(viewer: napari.Viewer, title: str) -> Panel:
    """Bring a step to the front, in a panel that is open or in a new workbench."""
    panel = _open_panel(viewer, title)
    if panel is None:
        _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "U-Net workbench")
        assert isinstance(panel, Panel)
    panel.show_step(title)
    _raise(panel)
    return panel


def _open_panel(viewer: napari.Viewer, title: str) -> Panel | None:
    """Find a panel with a step, the workbench first."""
    panels = [widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, Panel)]
    with_step = [panel for panel in panels if title in panel.titles]
    return max(with_step, key=lambda panel: len(panel.titles), default=None)


def _raise(panel: Panel) -> None:
    widget: QWidget | None = panel
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    if widget is not None:
        widget.show()
        widget.raise_()
