"""Outlines of objects as GeoJSON that QuPath imports as detections with measurements."""

from __future__ import annotations

import json
import math
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import replace_file
from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError
from napari_unet.export.outlines import Outline, Polygon, label_stack, outlines
from napari_unet.imaging.image import ArrayLike
from napari_unet.objects.measuring import measure

Measurements = dict[tuple[int, int], dict[str, float]]
"""Of each object, by its time point and label."""

_OURS = uuid.UUID("7f0a3c52-5d0e-4b57-9a3b-3c1f4a2f9d10")
_NO_MEASUREMENTS = {"label", "t"}


def save_geojson(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    table: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    classes: Sequence[str] = (),
) -> Path:
    """Save the outline of every object in every plane as a detection.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.geojson`` or ``.json``.
    labels : array of integers
        0 is background.
    axes : str, optional
        Of `labels`; YX for 2 dimensions and ZYX for 3 by default.
    pixel_size : PixelSize, optional
        For the measurements; the outlines are in pixels, as QuPath wants them.
    table : dict of str to (objects,) arrays, optional
        Measurements as `measure` returns them; they are made where they are not given. An empty one leaves them out.
    classes : sequence of str
        Names of the classes 1, 2 and so on, where labels are classes; their outlines get them as classification.

    Returns
    -------
    Path
        Of the file. A detection is called by the number of its object. An object of a stack is one detection for
        each of its slices, each with the measurements of the whole object. The same labels give the same file.

    Raises
    ------
    LabelsError
        If there are no objects, or the labels are no integers.
    AxesError
        If `axes` do not describe the labels.
    ExportError
        If the file cannot be written; what stood there is unchanged.
    """
    path = Path(path)
    if path.suffix.lower() not in {".geojson", ".json"}:
        raise ExportError(f'"{path.name}" does not end in .geojson. Add .geojson to the name.')
    stack = label_stack(labels, axes)
    known = _measurements(measure(stack, pixel_size) if table is None else table)
    features = (_feature(outline, path.stem, known, classes) for outline in outlines(stack))
    written = _Checksum()
    return replace_file(path, lambda file: _write(file, features, written), written.verify)


class _Checksum:
    """What has been written, so that reading it back needs no memory."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, text: bytes) -> bytes:
        self.value = zlib.crc32(text, self.value)
        return text

    def verify(self, path: Path) -> None:
        found = 0
        with path.open("rb") as file:
            while block := file.read(2**20):
                found = zlib.crc32(block, found)
        if found != self.value:
            raise ExportError("The outlines were not saved: what the disk holds differs from what was written.")


def _write(path: Path, features: Iterator[dict[str, Any]], written: _Checksum) -> None:
    with path.open("wb") as file:
        file.write(written.add(b'{"type": "FeatureCollection", "features": [\n'))
        for number, feature in enumerate(features):
            text = (",\n" if number else "") + json.dumps(feature, allow_nan=False, ensure_ascii=False)
            file.write(written.add(text.encode()))
        file.write(written.add(b"\n]}\n"))


# --- features -----------------------------------------------------------------------------------


def _feature(outline: Outline, name: str, known: Measurements, classes: Sequence[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "detection", "name": str(outline.label)}
    if 0 < outline.label <= len(classes):
        properties["classification"] = {"name": classes[outline.label - 1]}
    if measured := known.get((outline.t, outline.label)):
        properties["measurements"] = measured
    place = f"{name}/{outline.t}/{outline.z}/{outline.label}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_OURS, place)),
        "geometry": _geometry(outline),
        "properties": properties,
    }


def _geometry(outline: Outline) -> dict[str, Any]:
    polygons = [_rings(polygon) for polygon in outline.polygons]
    several = len(polygons) > 1
    geometry: dict[str, Any] = {
        "type": "MultiPolygon" if several else "Polygon",
        "coordinates": polygons if several else polygons[0],
    }
    if outline.z or outline.t:
        geometry["plane"] = {"c": -1, "z": outline.z, "t": outline.t}
    return geometry


def _rings(polygon: Polygon) -> list[list[list[int]]]:
    """Return the rings of a polygon, each closed by its first corner."""
    return [np.concatenate([ring, ring[:1]]).tolist() for ring in polygon.rings]


# --- measurements -------------------------------------------------------------------------------


def _measurements(table: Mapping[str, npt.NDArray[Any]]) -> Measurements:
    """Turn columns into what is known of each object; what is not a number is left out."""
    if "label" not in table:
        return {}
    labels = np.asarray(table["label"])
    times = np.asarray(table.get("t", np.zeros(len(labels), int)))
    columns = {
        name: np.asarray(column).tolist()
        for name, column in table.items()
        if name not in _NO_MEASUREMENTS and np.asarray(column).dtype.kind in "uif"
    }
    keys = zip(times.tolist(), labels.tolist(), strict=True)
    return {key: _row(columns, number) for number, key in enumerate(keys)}


def _row(columns: Mapping[str, list[Any]], number: int) -> dict[str, float]:
    values = {name: column[number] for name, column in columns.items()}
    return {
        name: float(f"{value:.7g}") if isinstance(value, float) else value
        for name, value in values.items()
        if math.isfinite(value)
    }
