"""A picture of an image with the outlines of its objects."""

from __future__ import annotations

import colorsys
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import write_bytes
from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.export.scale_bar import draw_scale_bar

OUTLINE = (255, 214, 10)
"""Of all objects, where they are drawn in one colour."""
Colours = Literal["one", "objects"]

_COLOURS = 64
_GOLDEN = 0.6180339887498949
_SAMPLED_PX = 2**22
"""The contrast of larger images is found from some of their pixels."""


def save_overlay(
    path: str | os.PathLike[str],
    image_plane: npt.NDArray[Any],
    labels_plane: npt.NDArray[np.integer[Any]],
    pixel_size: PixelSize | None = None,
    *,
    contrast: tuple[float, float] | None = None,
    colours: Colours = "objects",
) -> Path:
    """Save a PNG with the objects outlined.

    Parameters
    ----------
    path : str or path-like
    image_plane : (Y, X) grey or (Y, X, 3) colour array
        uint8 colours are shown as they are.
    labels_plane : (Y, X) integers
        0 is background.
    pixel_size : PixelSize, optional
        For a scale bar, which is left out where the picture is too small for it.
    contrast : tuple of float, optional
        Values that are black and white, such as the contrast limits of a layer; by default the 0.2nd and 99.8th
        percentile.
    colours : "objects" | "one"
        Whether neighbours have outlines of different colours.

    Raises
    ------
    LabelsError
        If the labels do not fit the image.
    ExportError
        If the file cannot be written; what stood there is unchanged.
    """
    import imagecodecs

    picture = overlay(image_plane, labels_plane, contrast=contrast, colours=colours)
    if pixel_size is not None and pixel_size.x_um is not None:
        draw_scale_bar(picture, pixel_size.x_um)
    return write_bytes(Path(path), bytes(imagecodecs.png_encode(picture)))


def overlay(
    image_plane: npt.NDArray[Any],
    labels_plane: npt.NDArray[np.integer[Any]],
    *,
    contrast: tuple[float, float] | None = None,
    colours: Colours = "objects",
) -> npt.NDArray[np.uint8]:
    """Draw the inner outline of every object; see `save_overlay`.

    Returns
    -------
    (Y, X, 3) uint8

    Raises
    ------
    LabelsError
        If the labels do not fit the image.
    """
    if image_plane.shape[:2] != labels_plane.shape:
        raise LabelsError(
            f"The labels have {labels_plane.shape} pixels and the image {image_plane.shape[:2]}. "
            "Choose the labels of this image."
        )
    picture = _displayed(image_plane, contrast)
    edges = _inner_edges(labels_plane)
    if colours == "one":
        picture[edges] = OUTLINE
    else:
        picture[edges] = _palette()[(labels_plane[edges] % _COLOURS).astype(np.intp)]
    return picture


def _inner_edges(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Mark the pixels of objects that have a neighbour of another label; the border of the image is none."""
    edges = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = labels[one] != labels[other]
        edges[one] |= differ
        edges[other] |= differ
    return edges & (labels > 0)


def _palette() -> npt.NDArray[np.uint8]:
    """Return bright colours; those of ids that follow each other are far apart."""
    hues = (0.14 + np.arange(_COLOURS) * _GOLDEN) % 1
    # blue on black is hard to see unless it is mixed with white
    colours = [colorsys.hls_to_rgb(hue, 0.72 if 0.55 < hue < 0.85 else 0.6, 1.0) for hue in hues.tolist()]
    palette: npt.NDArray[np.uint8] = np.rint(255 * np.array(colours)).astype(np.uint8)
    return palette


def _displayed(plane: npt.NDArray[Any], contrast: tuple[float, float] | None) -> npt.NDArray[np.uint8]:
    if plane.ndim == 3 and plane.dtype == np.uint8 and contrast is None:
        return plane[..., :3].copy()
    low, high = _limits(plane) if contrast is None else contrast
    values = np.nan_to_num(plane[..., :3] if plane.ndim == 3 else plane, posinf=high, neginf=low).astype(np.float32)
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    rounded: npt.NDArray[np.uint8] = np.rint(grey).astype(np.uint8)
    return rounded if plane.ndim == 3 else np.repeat(rounded[..., None], 3, axis=2)


def _limits(plane: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the values that are shown black and white."""
    step = max(1, round((plane.size / _SAMPLED_PX) ** 0.5))
    values = plane[::step, ::step].astype(np.float32)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.2, 99.8)) if values.size else (0.0, 1.0)
    return float(low), float(high)
