"""Outlines as GeoJSON, as QuPath exports them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.errors import ImageError, LabelsError
from napari_unet.imaging.foreign_labels.filling import Points
from napari_unet.imaging.foreign_labels.painting import Region

MAX_BYTES = 2**30
MAX_RATIO = 250
_SMALL_BYTES = 64 * 2**20


def read_geojson(path: Path) -> tuple[list[Region], int]:
    """Read the areas of a GeoJSON file: a collection, a list, or one feature; packed by gzip or not.

    Returns
    -------
    list of Region
        One for each feature with Polygons or MultiPolygons; their planes are those that QuPath writes.
    int
        How many features are lines or points, and were left out.

    Raises
    ------
    ImageError
        If the file is damaged, or claims more than it can hold.
    LabelsError
        If there is no area in it.
    """
    content = _content(path)
    try:
        found = json.loads(content)
        features = list(_features(found))
        regions = [region for feature in features if (region := _region(feature)) is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError(
            f'"{path.name}" is no valid GeoJSON ({str(error)[:120]}). Export it again from QuPath.'
        ) from error
    if not regions:
        raise LabelsError(
            f'"{path.name}" holds {len(features)} features and no Polygon among them. Export detections or annotations '
            "with an area from QuPath."
        )
    return regions, len(features) - len(regions)


def _content(path: Path) -> bytes:
    """Return the text, at most `MAX_BYTES` of it."""
    packed = path.stat().st_size
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(
            f'"{path.name}" cannot be read ({str(error)[:120]}). Copy it again from its source.'
        ) from error
    if len(content) > MAX_BYTES or (len(content) > _SMALL_BYTES and len(content) > MAX_RATIO * packed):
        raise ImageError(
            f'"{path.name}" is refused: it would unpack from {packed:,} to more than {min(len(content), MAX_BYTES):,} '
            "bytes. Export fewer objects."
        )
    return content


def _features(found: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  # whatever the file holds
    """Yield the features, however they are wrapped."""
    if isinstance(found, list):
        for part in found:
            yield from _features(part)
    elif found.get("type") == "FeatureCollection":
        yield from _features(found["features"])
    elif found.get("type") == "Feature":
        yield found
    else:
        yield {"geometry": found}


def _region(feature: Mapping[str, Any]) -> Region | None:
    """Return the area of a feature; None if it has none."""
    geometry = feature.get("geometry") or {}
    rings = list(_rings(geometry))
    if not rings:
        return None
    plane = geometry.get("plane") or {}
    name = (feature.get("properties") or {}).get("name")
    return Region(tuple(rings), str(name or ""), int(plane.get("t", 0)), int(plane.get("z", 0)))


def _rings(geometry: Mapping[str, Any]) -> Iterator[Points]:
    kind = geometry.get("type")
    if kind == "Polygon":
        for ring in geometry["coordinates"]:
            yield np.array([point[:2] for point in ring], np.float64)
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield from _rings({"type": "Polygon", "coordinates": polygon})
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _rings(part)
