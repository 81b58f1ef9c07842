"""Masks and probability maps as TIFF that ImageJ, Bio-Formats and Python read alike.

Up to 65535 objects: a uint16 ImageJ hyperstack in strips, compressed with zlib. More: a uint32 OME-TIFF, because
ImageJ's own reader turns 32-bit integers into floats. From 3.5 GiB on an OME-TIFF, too, and a BigTIFF where it has to
be. `napari_unet.export.layouts` says which, and which programs will not open it.

Arrays that are on disk or computed are read band by band; no step here holds more than some of them in memory.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import numpy as np

from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError, LabelsError
from napari_unet.events import Event, finish
from napari_unet.export.rasters import (
    About,
    binary_raster,
    class_raster,
    label_axes,
    largest_id_events,
    mask_raster_events,
    open_labels,
    probability_raster,
)
from napari_unet.export.writing import write_tiff_events
from napari_unet.imaging.image import ArrayLike, open_image

ProbabilityType = Literal["float32", "uint8"]


def save_masks(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Path:
    """Save a label image as TIFF, read it back, and only then put it in place.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.tif`` or ``.tiff``.
    labels : array of integers, or of floats with integral values
        0 is background. Ids are kept as they are; none is ever wrapped or renumbered. Zarr, Dask and mapped arrays are
        read piece by piece.
    axes : str, optional
        Of `labels`; YX for 2 dimensions and ZYX for 3 by default.
    pixel_size : PixelSize, optional
        Is written where the size in the plane is known.
    about : About, optional
        Name of the image and time between its time points.

    Returns
    -------
    Path
        Of the file: uint16 ImageJ hyperstack; uint32 OME-TIFF where ids exceed 65535; uint16 OME-TIFF where the pixels
        take 3.5 GiB or more. `napari_unet.export.layouts.layout_of_masks` says it beforehand.

    Raises
    ------
    LabelsError
        If `labels` are boolean, negative, not integral, or beyond 2**32 - 1.
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    return finish(save_masks_events(path, labels, axes, pixel_size, about))


def save_masks_events(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Generator[Event, None, Path]:
    """Save a label image as `save_masks` does, and tell how far it is."""
    path = check_suffix(path)
    raster = yield from mask_raster_events(open_labels(labels, axes, pixel_size), about or About())
    return (yield from write_tiff_events(path, raster))


def save_binary(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Path:
    """Save what is in objects as a uint8 TIFF: 255 in them, 0 in the background.

    Parameters
    ----------
    path, axes, pixel_size, about
        As for `save_masks`.
    labels : array of integers or booleans

    Raises
    ------
    LabelsError
        If `labels` are neither numbers nor True and False.
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    return finish(save_binary_events(path, labels, axes, pixel_size, about))


def save_binary_events(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Generator[Event, None, Path]:
    """Save a binary mask as `save_binary` does, and tell how far it is."""
    path = check_suffix(path)
    if np.dtype(labels.dtype) == np.bool_:
        image = open_image(labels, label_axes(axes, len(labels.shape)), pixel_size, "labels")
    else:
        image = open_labels(labels, axes, pixel_size)
    return (yield from write_tiff_events(path, binary_raster(image, about or About())))


def save_classes(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    classes: tuple[str, ...],
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Path:
    """Save semantic labels as a uint8 TIFF with a channel for each class: 255 where it is, 0 elsewhere.

    Parameters
    ----------
    path, axes, pixel_size, about
        As for `save_masks`.
    labels : array of integers
        Numbers of classes; 0 is background and gets no channel.
    classes : tuple of str
        Names of the classes 1, 2 and so on, which the channels will have.

    Raises
    ------
    LabelsError
        If there is a number without a name.
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    return finish(save_classes_events(path, labels, classes, axes, pixel_size, about))


def save_classes_events(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    classes: tuple[str, ...],
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    about: About | None = None,
) -> Generator[Event, None, Path]:
    """Save masks of classes as `save_classes` does, and tell how far it is."""
    path = check_suffix(path)
    image = open_labels(labels, axes, pixel_size)
    largest = yield from largest_id_events(image)
    if largest > len(classes) or not classes:
        raise LabelsError(
            f"The labels go up to class {largest}, and {len(classes)} classes have a name. Give a name for each number."
        )
    return (yield from write_tiff_events(path, class_raster(image, classes, about or About())))


def save_probabilities(
    path: str | os.PathLike[str],
    probabilities: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    *,
    classes: tuple[str, ...] = (),
    kind: ProbabilityType = "float32",
    about: About | None = None,
) -> Path:
    """Save a probability map as TIFF; its classes become channels.

    Parameters
    ----------
    path, pixel_size, about
        As for `save_masks`.
    probabilities : (class, *axes) array
        As `predict` returns it; if uint8, 255 means 1.
    axes : str, optional
        Of one class; YX or ZYX by default.
    classes : tuple of str
        Names of the channels.
    kind : "float32" | "uint8"
        In 8 bits, 255 means 1: a quarter of the size, right to 0.002.

    Raises
    ------
    ExportError
        If the file cannot be written or reads back differently; what stood there is unchanged.
    """
    work = save_probabilities_events(path, probabilities, axes, pixel_size, classes=classes, kind=kind, about=about)
    return finish(work)


def save_probabilities_events(
    path: str | os.PathLike[str],
    probabilities: ArrayLike,
    axes: str | None = None,
    pixel_size: PixelSize | None = None,
    *,
    classes: tuple[str, ...] = (),
    kind: ProbabilityType = "float32",
    about: About | None = None,
) -> Generator[Event, None, Path]:
    """Save a probability map as `save_probabilities` does, and tell how far it is."""
    path = check_suffix(path)
    of_class = label_axes(axes, len(probabilities.shape) - 1)
    image = open_image(probabilities, "C" + of_class, pixel_size, "probability map")
    names = classes or tuple(f"class {number}" for number in range(image.sizes["C"]))
    if len(names) != image.sizes["C"]:
        raise ExportError(f"There are {image.sizes['C']} probability maps and {len(names)} names. Name each of them.")
    return (yield from write_tiff_events(path, probability_raster(image, names, kind, about or About())))


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """Return a path that ends in .tif or .tiff.

    Raises
    ------
    ExportError
        If it ends otherwise.
    """
    path = Path(path)
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise ExportError(f'"{path.name}" does not end in .tif, and only TIFF is written. Add .tif to the name.')
    return path
