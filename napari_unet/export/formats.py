"""Each kind of output: from a result to one file."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from napari_unet.events import Event, Notice
from napari_unet.export.layouts import layout_of_masks
from napari_unet.export.outputs import ExportOptions, Output, Result
from napari_unet.export.rasters import About
from napari_unet.export.tiff import (
    save_binary_events,
    save_classes_events,
    save_masks_events,
    save_probabilities_events,
)
from napari_unet.imaging.image import ArrayLike, from_canonical, open_image
from napari_unet.objects.measuring import Table, measure


def write_output_events(
    output: Output, path: Path, result: Result, options: ExportOptions
) -> Generator[Event, None, None]:
    """Write one file.

    Parameters
    ----------
    output : Output
    path : Path
    result : Result
    options : ExportOptions

    Raises
    ------
    ExportError, LabelsError, ImageError
        If it cannot be written or its pixels cannot be read; what stood there is unchanged.
    """
    match output:
        case "masks" | "binary" | "classes":
            yield from _write_labels(output, path, result)
        case "probabilities":
            yield from _write_probabilities(path, result, options)
        case "zarr":
            yield from _write_zarr(path, result, options)
        case "table" | "parquet":
            _write_table(path, result)
        case "rois" | "geojson":
            _write_outlines(output, path, result)
        case "overlay":
            _write_overlay(path, result)
        case _:
            assert_never(output)


def _write_labels(output: Output, path: Path, result: Result) -> Generator[Event, None, None]:
    labels, axes = _labels(result)
    about = About(result.name)
    if output == "binary":
        yield from save_binary_events(path, labels, axes, result.pixel_size, about)
        return
    if output == "classes":
        yield from save_classes_events(path, labels, result.classes, axes, result.pixel_size, about)
        return
    yield from save_masks_events(path, labels, axes, result.pixel_size, about)
    largest = max((int(plane.max()) for plane in result.planes()), default=0)
    if warning := layout_of_masks(labels.shape, axes, largest).warning:
        yield Notice(f'"{path.name}": {warning}')


def _write_probabilities(path: Path, result: Result, options: ExportOptions) -> Generator[Event, None, None]:
    maps, axes = _maps(result)
    kind, about = options.probability_type, About(result.name)
    save = partial(save_probabilities_events, path, maps, axes, result.pixel_size)
    yield from save(classes=result.channels, kind=kind, about=about)


def _write_zarr(path: Path, result: Result, options: ExportOptions) -> Generator[Event, None, None]:
    from napari_unet.export.ome_zarr import save_ome_zarr_events

    labels, axes = _labels(result)
    image = open_image(labels, axes, result.pixel_size, result.name)
    classes = result.classes if result.meaning == "semantic" else ()
    work = save_ome_zarr_events(path, result.image, {"masks": image}, classes=classes, version=options.zarr_version)
    yield from work


def _write_table(path: Path, result: Result) -> None:
    from napari_unet.export.table import save_table

    save_table(path, measured(result), image_name=result.name)


def measured(result: Result) -> Table:
    """Measure the objects of a result."""
    return measure(np.asarray(result.labels), result.pixel_size, result.image)


def _write_outlines(output: Output, path: Path, result: Result) -> None:
    labels, axes = _labels(result)
    if output == "rois":
        from napari_unet.export.rois import save_rois

        channels = 1 if result.image is None else result.image.sizes["C"]
        save_rois(path, labels, axes, channels=channels)
        return
    from napari_unet.export.geojson import save_geojson

    classes = result.classes if result.meaning == "semantic" else ()
    save_geojson(path, labels, axes, result.pixel_size, measured(result), classes=classes)


def _write_overlay(path: Path, result: Result) -> None:
    """Draw the middle slice of the first time point."""
    from napari_unet.export.overlay import save_overlay

    assert result.image is not None
    size = result.image.sizes
    z = size["Z"] // 2
    planes = result.image.read(0, slice(z, z + 1), slice(0, size["Y"]), slice(0, size["X"]))[:, 0]
    picture = np.moveaxis(planes, 0, -1) if len(planes) == 3 else planes[0]
    save_overlay(path, picture, np.asarray(result.labels[0, z]), result.pixel_size)


def _labels(result: Result) -> tuple[ArrayLike, str]:
    """Return the labels and their axes; those of lazy arrays stay as they are."""
    if isinstance(result.labels, np.ndarray):
        return from_canonical(result.labels[:, None], result.axes), result.axes
    return result.labels, "TZYX"


def _maps(result: Result) -> tuple[ArrayLike, str]:
    """Return the probabilities (class, ...), and the axes of one class, as `_labels` does."""
    assert result.probabilities is not None
    if isinstance(result.probabilities, np.ndarray):
        return _view(result.probabilities, result.axes), result.axes
    return result.probabilities, "TZYX"


def _view(maps: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """View (K, T, Z, Y, X) as (K, *axes)."""
    kept = maps.squeeze(tuple(i for i, axis in enumerate("KTZYX") if axis not in f"K{axes}"))
    order = [axis for axis in "TZYX" if axis in axes]
    return kept.transpose([0, *(1 + order.index(axis) for axis in axes)])
