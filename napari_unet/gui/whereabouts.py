"""Where the user is: which part of the image is on the screen, and which model is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.components import ViewerModel

from napari_unet.gui.state import ModelChoice, ViewerState

View = dict[str, Any]


def whereabouts(viewer: ViewerModel, state: ViewerState) -> View:
    """Return what JSON can hold of it."""
    model = state.model
    return {
        "point": [float(at) for at in viewer.dims.point],
        "ndisplay": int(viewer.dims.ndisplay),
        "center": [float(at) for at in viewer.scene.camera.center],
        "zoom": float(viewer.scene.camera.zoom),
        "angles": [float(angle) for angle in viewer.scene.camera.angles],
        "model": None if model is None else {"title": model.title, "source": model.source},
    }


def go_back(viewer: ViewerModel, known: Mapping[str, Any]) -> None:
    """Show again what was on the screen; what cannot be shown any more is left as it is."""
    try:
        point, center = [float(at) for at in known["point"]], [float(at) for at in known["center"]]
        zoom, angles = float(known["zoom"]), [float(angle) for angle in known["angles"]]
        ndisplay = int(known["ndisplay"])
    except (KeyError, TypeError, ValueError):
        return
    if len(point) != viewer.dims.ndim or ndisplay not in {2, 3} or zoom <= 0:
        return
    viewer.dims.ndisplay = ndisplay
    viewer.dims.point = tuple(point)
    viewer.scene.camera.center = tuple(center)
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.angles = tuple(angles)


def model_of(state: ViewerState, known: Mapping[str, Any]) -> ModelChoice | None:
    """Return the model that was chosen, if it is still in the list."""
    model = known.get("model")
    if not isinstance(model, Mapping):
        return None
    wanted = (model.get("title"), model.get("source"))
    return next((one for one in state.models if (one.title, one.source) == wanted), None)
