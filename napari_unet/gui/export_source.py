"""What there is to write about a label layer: a copy of it, its image, its probabilities, and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_unet.axes import PixelSize, without
from napari_unet.errors import LabelsError, NapariUnetError
from napari_unet.export.outputs import OUTPUTS, Result
from napari_unet.export.provenance import ImageOrigin, ModelOrigin, Provenance, provenance_now
from napari_unet.gui import layers
from napari_unet.gui.desk import Desk
from napari_unet.gui.export_choice import Kind
from napari_unet.gui.segmenting import Kept
from napari_unet.imaging.image import Image
from napari_unet.jobs.requests import ArrayRef
from napari_unet.jobs.scratch import open_array

_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')


def exported_layer(desk: Desk, wanted: str | None = None) -> Labels:
    """Return a label layer, by default the one that is chosen.

    Raises
    ------
    LabelsError
        If there is none.
    """
    layer = layers.by_id(desk.viewer, wanted or desk.state.export_layer)
    if not isinstance(layer, Labels):
        raise LabelsError("There are no labels to save. Segment an image in step 2 first.")
    return layer


def result_of(desk: Desk, layer: Labels, kept: Kept | None) -> Result:
    """Collect what there is to write about a layer; its labels are copied, since the user may go on painting.

    Parameters
    ----------
    desk : Desk
    layer : napari.layers.Labels
    kept : Kept, optional
        The probabilities of the last segmentation, whatever image that was of.
    """
    found = _found(desk, layer, kept, open_array)
    return replace(found, labels=np.array(found.labels))


def obstacles_of(desk: Desk, layer: Labels, kept: Kept | None) -> dict[Kind, str]:
    """Say what cannot be written about a layer, and why, without a look at any pixel."""
    found = _found(desk, layer, kept, lambda ref: np.broadcast_to(np.float32(0), ref.shape))
    obstacles: dict[Kind, str] = {output: why for output in OUTPUTS if (why := found.obstacle(output))}
    if "overlay" in obstacles:
        obstacles["summary"] = obstacles["overlay"]  # both show the image
    if find_spec("pyarrow") is None:
        obstacles["parquet"] = "Parquet needs the package pyarrow. Install it with: pip install pyarrow"
    return obstacles


def _found(desk: Desk, layer: Labels, kept: Kept | None, open_map: Callable[[ArrayRef], Any]) -> Result:
    frame = layers.frame_of_labels(layer)
    labels = frame.to_tzyx(layers.full_resolution(layer))
    image = _image(desk, layer, labels.shape)
    mine = kept if kept is not None and kept.image == layers.image_id_of(layer) else None
    probabilities, channels = _probabilities(mine, labels.shape, open_map)
    spec = mine.spec if mine is not None else None
    semantic = spec is not None and spec.meaning == "semantic"
    return Result(
        labels=labels,
        axes=without(frame.axes, "C"),
        pixel_size=_pixel_size(desk, layer, frame.axes),
        name=stem_of(desk, layer),
        image=image,
        probabilities=probabilities,
        meaning="semantic" if semantic else "instances",
        classes=spec.foreground_classes if spec is not None and semantic else (),
        channels=channels,
        provenance=_provenance(desk, layer, image, mine),
    )


def stem_of(desk: Desk, layer: Labels) -> str:
    """Return how files about a layer are called: as its image, without what file names cannot hold."""
    image = layers.by_id(desk.viewer, layers.image_id_of(layer))
    name = layer.name if image is None else image.name
    return _NOT_IN_NAMES.sub("_", name).strip(" .") or "labels"


def _pixel_size(desk: Desk, layer: Labels, axes: str) -> PixelSize:
    """Return what the user has given for the chosen layer, and what any other one says itself."""
    if layers.layer_id(layer) == desk.state.export_layer:
        return PixelSize(*desk.state.pixel_size_um)
    return layers.pixel_size_of(layer, axes)


def _image(desk: Desk, labels: Labels, shape: tuple[int, ...]) -> Image | None:
    """Return the image that the labels belong to, if it is still there and fits."""
    layer = layers.by_id(desk.viewer, layers.image_id_of(labels))
    if layer is None:
        return None
    chosen = layers.layer_id(layer) == desk.state.image
    try:
        image = layers.image_of(layer, desk.state.axes if chosen else layers.guess_axes(layer))
    except NapariUnetError:
        return None
    fits = tuple(image.sizes[axis] for axis in "TZYX") == shape
    return image if fits else None


def _probabilities(
    kept: Kept | None, shape: tuple[int, ...], open_map: Callable[[ArrayRef], Any]
) -> tuple[Any, tuple[str, ...]]:
    """Return the maps of the last segmentation and their names, where they lie on the labels."""
    if kept is None or tuple(kept.probabilities.shape[1:]) != tuple(shape):
        return None, ()
    return open_map(kept.probabilities)[: len(kept.spec.classes)], kept.spec.classes


def _provenance(desk: Desk, layer: Labels, image: Image | None, kept: Kept | None) -> Provenance:
    """Say what is known; the fingerprint of the model is added where a thread has the time, see `with_fingerprint`."""
    known: dict[str, Any] = {"corrected": layers.role_of(layer) == "correction"}
    if image is not None:
        source = layers.by_id(desk.viewer, layers.image_id_of(layer))
        path = getattr(getattr(source, "source", None), "path", None)
        known["image"] = ImageOrigin.of(image, str(path or ""))
    if kept is not None and kept.model is not None:
        name, source_file = kept.model.title, kept.model.source or ""
        known["model"] = ModelOrigin(name=name, source=source_file, classes=kept.spec.classes)
        known["objects"] = desk.state.objects
    if kept is not None and kept.inference is not None:
        known["inference"] = kept.inference.model_dump(mode="json")
    return provenance_now(**known)


def with_fingerprint(result: Result) -> Result:
    """Add the fingerprint of the model's weights, which takes a moment."""
    from napari_unet.jobs.recipes import weights_fingerprint

    origin = result.provenance
    if origin is None or origin.model is None or not origin.model.source:
        return result
    try:
        model = origin.model.model_copy(update={"sha256": weights_fingerprint(origin.model.source)})
    except NapariUnetError:  # the file is gone meanwhile: the rest is still true
        return result
    return replace(result, provenance=origin.model_copy(update={"model": model}))
