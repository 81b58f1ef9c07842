"""A picture of an image with the outlines of its objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.errors import LabelsError

OUTLINE = (255, 214, 10)


def save_overlay(
    path: str | os.PathLike[str], image_plane: npt.NDArray[Any], labels_plane: npt.NDArray[np.integer[Any]]
) -> Path:
    """Save a PNG with the objects outlined.

    Parameters
    ----------
    image_plane : (Y, X) grey or (Y, X, 3) colour array
        Grey is stretched between its 0.2nd and 99.8th percentile; uint8 colours are shown as they are.
    labels_plane : (Y, X) integers
        0 is background.

    Raises
    ------
    LabelsError
        If the labels do not fit the image.
    ExportError
        If the file cannot be written; what stood there is unchanged.
    """
    import imagecodecs

    return write_bytes(Path(path), bytes(imagecodecs.png_encode(overlay(image_plane, labels_plane))))


def overlay(image_plane: npt.NDArray[Any], labels_plane: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
    """Draw the inner outline of every object; returns (Y, X, 3) uint8.

    Raises
    ------
    LabelsError
        If the labels do not fit the image.
    """
    from skimage.segmentation import find_boundaries

    if image_plane.shape[:2] != labels_plane.shape:
        raise LabelsError(
            f"The labels have {labels_plane.shape} pixels and the image {image_plane.shape[:2]}. "
            "Choose the labels of this image."
        )
    picture = _displayed(image_plane)
    picture[find_boundaries(labels_plane, mode="inner")] = OUTLINE
    return picture


def _displayed(plane: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if plane.ndim == 3 and plane.dtype == np.uint8:
        return plane[..., :3].copy()
    values = np.nan_to_num(plane.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(values, (0.2, 99.8))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    rounded: npt.NDArray[np.uint8] = np.rint(grey).astype(np.uint8)
    return rounded if plane.ndim == 3 else np.repeat(rounded[..., None], 3, axis=2)
