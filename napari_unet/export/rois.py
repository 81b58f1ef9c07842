"""Outlines of objects as a zip of ROIs, for the ROI Manager of ImageJ and Fiji."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError
from napari_unet.export.outlines import Outline, label_stack, outlines
from napari_unet.imaging.image import ArrayLike

if TYPE_CHECKING:
    from roifile import ImagejRoi

LARGEST_SHORT = 60535
"""The largest coordinate that ImageJ reads from two bytes; beyond it they are floats."""
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Date of the files in the zip: the same labels give the same file."""


def save_rois(path: str | os.PathLike[str], labels: ArrayLike, axes: str | None = None, *, channels: int = 1) -> Path:
    """Save the outline of every object in every plane as a ROI.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.zip``.
    labels : array of integers
        0 is background.
    axes : str, optional
        Of `labels`; YX for 2 dimensions and ZYX for 3 by default.
    channels : int
        Of the image that the ROIs are for. ImageJ counts slices in another way where there are several; the ROIs are
        then shown on all channels of their slice.

    Returns
    -------
    Path
        Of the zip. A ROI is called by the number of its object, in stacks followed by its slice and frame, such as
        ``12-z3-t1``. Objects with holes or of several pieces are composite ROIs.

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
    if path.suffix.lower() != ".zip":
        raise ExportError(f'"{path.name}" does not end in .zip, and ROIs are saved as a zip. Add .zip to the name.')
    stack = label_stack(labels, axes)
    return replace_file(path, lambda file: _write(file, stack, channels), _verify)


def _write(path: Path, stack: npt.NDArray[Any], channels: int) -> None:
    times, slices = stack.shape[:2]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for outline in outlines(stack):
            roi = _roi(outline)
            roi.name = _name(outline, times, slices)
            _place(roi, outline, times, slices, channels)
            member = zipfile.ZipInfo(f"{roi.name}.roi", _LONG_AGO)
            archive.writestr(member, roi.tobytes(), zipfile.ZIP_DEFLATED)


def _verify(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ExportError(f'The ROIs were not saved: "{damaged}" did not read back. Check the disk.')


def _name(outline: Outline, times: int, slices: int) -> str:
    z = f"-z{outline.z + 1}" if slices > 1 else ""
    t = f"-t{outline.t + 1}" if times > 1 else ""
    return f"{outline.label}{z}{t}"


def _place(roi: ImagejRoi, outline: Outline, times: int, slices: int, channels: int) -> None:
    """Say on which slice and frame it lies.

    A plain stack knows positions, a hyperstack slices and frames; ImageJ shows a ROI with the wrong one on all slices.
    """
    if channels == 1 and (times == 1) != (slices == 1):
        roi.position = max(outline.t, outline.z) + 1
        return
    if slices > 1:
        roi.z_position = outline.z + 1
    if times > 1:
        roi.t_position = outline.t + 1


def _roi(outline: Outline) -> ImagejRoi:
    (first, *others) = outline.polygons
    return _composite(outline) if others or first.holes else _traced(first.shell)


def _traced(shell: npt.NDArray[np.int64]) -> ImagejRoi:
    from roifile import ROI_OPTIONS, ROI_TYPE

    roi = _framed([shell])
    roi.roitype = ROI_TYPE.TRACED
    roi.n_coordinates = len(shell)
    roi.integer_coordinates = (shell - shell.min(axis=0)).astype(np.int32)
    if shell.max() > LARGEST_SHORT:
        roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = shell.astype(np.float32)
    return roi


def _composite(outline: Outline) -> ImagejRoi:
    from roifile import ROI_TYPE

    rings = [ring for polygon in outline.polygons for ring in polygon.rings]
    roi = _framed(rings)
    roi.roitype = ROI_TYPE.RECT
    roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _path(ring: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return a ring as a path of Java: move to the first corner, draw lines to the others, close."""
    steps = np.full((len(ring), 3), _LINE, np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.ravel(), np.float32(_CLOSE))


def _framed(rings: list[npt.NDArray[np.int64]]) -> ImagejRoi:
    """Return a ROI that knows its bounding box only."""
    from roifile import ImagejRoi

    points = np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return ImagejRoi(left=left, top=top, right=right, bottom=bottom)
