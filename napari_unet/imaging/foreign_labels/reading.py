"""Labels of any program: Cellpose, ImageJ and Fiji, QuPath, and label images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize, check_axes, sizes, without
from napari_unet.errors import AxesError, LabelsError
from napari_unet.imaging.foreign_labels.cellpose import is_pickled, read_seg
from napari_unet.imaging.foreign_labels.geojson_files import read_geojson
from napari_unet.imaging.foreign_labels.painting import Region, paint
from napari_unet.imaging.foreign_labels.roi_files import read_rois
from napari_unet.imaging.image import Image, from_canonical, open_image, to_canonical
from napari_unet.imaging.reading import check_there, read_label_image

OUTLINES = (".zip", ".roi", ".geojson", ".json", ".geojson.gz", ".json.gz")
"""Endings of files that hold outlines, which need the shape of the image."""
_ROIS = (".zip", ".roi")


@dataclass(frozen=True, slots=True)
class ForeignLabels(Image):
    """A label image, and what a user should know of how it came about.

    Attributes
    ----------
    notes : tuple of str
        A sentence each, such as how many pixels several outlines claimed.
    """

    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """The label image that is wanted: its axes and the sizes along T, C, Z, Y and X."""

    axes: str
    sizes: dict[str, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes[axis] for axis in self.axes)


def is_foreign(path: Path) -> bool:
    """Whether a file holds labels in a form that is no image."""
    name = path.name.lower()
    return name.endswith(OUTLINES) or (name.endswith(".npy") and path.is_file() and is_pickled(path))


def read_foreign_labels(
    path: str | os.PathLike[str], shape: Sequence[int] | None = None, axes: str | None = None
) -> ForeignLabels:
    """Open labels that any program has written.

    Masks of Cellpose (``_seg.npy``, ``_cp_masks.png`` and ``.tif``), ROIs of ImageJ and Fiji (``.zip``, ``.roi``),
    outlines of QuPath (``.geojson``, ``.json``, also packed as ``.gz``), and label images of every kind that
    `read_image` opens. Nothing in a file is ever run.

    Parameters
    ----------
    path : str or path-like
    shape : sequence of int, optional
        Of the image that the labels belong to. Outlines do not know it; of other files it is checked.
    axes : str, optional
        Of that image, or without `shape` those of the file. Channels are left out: labels have none.

    Returns
    -------
    ForeignLabels
        Of integers, with the pixel size where the file knows it. Outlines that are called by a number have that number;
        others get numbers that are free. Where outlines overlap, a pixel belongs to the smallest.

    Raises
    ------
    ImageError
        If the file is missing, damaged, or claims more than it can hold.
    LabelsError
        If it holds no labels, they are not those of this image, or outlines come without a shape.
    AxesError
        If `axes` do not describe the image.
    """
    path = Path(path)
    check_there(path)
    frame = None if shape is None else _frame(shape, axes)
    name = path.name.lower()
    if name.endswith(OUTLINES):
        return _read_outlines(path, frame)
    if name.endswith(".npy") and is_pickled(path):
        masks = read_seg(path)
        found = open_image(masks, _own_axes(axes, frame), name=path.name)
    else:
        found = _read_image_file(path, axes, frame)
    return _fitted(found, frame)


def _frame(shape: Sequence[int], axes: str | None) -> _Frame:
    checked = check_axes(axes, len(shape))
    return _Frame(without(checked, "C"), sizes(shape, checked))


def _read_image_file(path: Path, axes: str | None, frame: _Frame | None) -> Image:
    """Open a label image; where the file does not say what its axes are, they are those of the image."""
    if frame is None:
        return read_label_image(path, axes)
    try:
        return read_label_image(path)
    except AxesError:
        return read_label_image(path, frame.axes)


def _own_axes(axes: str | None, frame: _Frame | None) -> str | None:
    """Return the axes of the file, where a user has named these and not those of an image."""
    return axes if frame is None else None


def _read_outlines(path: Path, frame: _Frame | None) -> ForeignLabels:
    if frame is None:
        raise LabelsError(
            f'"{path.name}" holds outlines, which do not say how large the image is. Open its image first, or give the '
            "shape."
        )
    regions: list[Region]
    if path.name.lower().endswith(_ROIS):
        regions, others = read_rois(path, frame.sizes)
    else:
        regions, others = read_geojson(path)
    painted = paint(regions, frame.sizes, path.name)
    left_out = (f"{others} lines, points or texts were left out.",) if others else ()
    labels = from_canonical(painted.labels[:, None], frame.axes)
    return ForeignLabels(labels, frame.axes, PixelSize(), path.name, painted.notes + left_out)


def _fitted(found: Image, frame: _Frame | None) -> ForeignLabels:
    """Check labels from an image file, and give them the axes of the image they belong to."""
    array = np.asarray(found.array[...])
    if frame is None:
        flat = without(found.axes, "C")
        labels = _whole_numbers(
            from_canonical(to_canonical(np.asarray(found.array[...]), found.axes), flat), found.name
        )
        return ForeignLabels(labels, flat, found.pixel_size, found.name)
    array = np.asarray(found.array[...])
    if without(found.axes, "C") == found.axes and array.shape == frame.shape:
        labels = array  # a stack of unknown axes is one of the image's
    elif [found.sizes[axis] for axis in "TZYX"] == [frame.sizes[axis] for axis in "TZYX"]:
        labels = from_canonical(to_canonical(array, found.axes), frame.axes)
    elif array.squeeze().shape == tuple(side for side in frame.shape if side > 1):
        labels = array.reshape(frame.shape)
    else:
        raise LabelsError(
            f'"{found.name}" holds labels of the shape {_text(array.shape)}, and the image has {_text(frame.shape)} '
            f"({frame.axes}). Choose the labels of this image."
        )
    return ForeignLabels(_whole_numbers(labels, found.name), frame.axes, found.pixel_size, found.name)


def _whole_numbers(labels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return labels as unsigned integers.

    Raises
    ------
    LabelsError
        If they are fractions or negative.
    """
    if labels.dtype.kind in "ub":
        return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise LabelsError(
            f'"{name}" holds fractions, and whole numbers of objects were expected. Choose a label image.'
        )
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0:
        raise LabelsError(f'"{name}" goes down to {low}, and 0 is the lowest label. Choose a label image.')
    return labels.astype(np.uint32 if high < 2**32 else np.uint64)


def _text(shape: Sequence[int]) -> str:
    return " × ".join(str(side) for side in shape)
