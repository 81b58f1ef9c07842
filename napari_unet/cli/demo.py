"""``napari-unet demo``: the main job on a real image, without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.cli.segmenting import Outputs, label_image, make_folder, segment_image, write_results
from napari_unet.errors import ExportError
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.weights.loading import load_model


def run_demo(folder: Path, device: str = "auto") -> None:
    """Segment the nuclei of a tissue section; write masks, a table of objects and an overlay.

    Raises
    ------
    NapariUnetError
        If a file cannot be written.
    """
    from skimage.data import immunohistochemistry

    make_folder(folder)
    pixels = immunohistochemistry()
    image = open_image(pixels, "YXC", name="ihc")
    model = load_model("nuclei")
    segmentation = segment_image(model, image, InferenceConfig(device=device), model.spec.objects)
    written = write_results(Outputs(folder, table=True), "ihc", image, segmentation)
    written.append(save_overlay(folder / "ihc_overlay.png", pixels, label_image(image, segmentation)))
    typer.echo(f"{segmentation.count} objects were found in a section of tissue (immunohistochemistry).")
    for path, what in zip(written, ("masks", "table of objects", "overlay"), strict=True):
        typer.echo(f"{what + ':':18}{path}")


def save_overlay(path: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> Path:
    """Draw the outlines of objects into a colour image.

    Parameters
    ----------
    path : Path
        PNG file.
    pixels : (Y, X, 3) uint8
    labels : (Y, X) integer

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    from skimage.io import imsave
    from skimage.segmentation import mark_boundaries

    drawn = mark_boundaries(pixels, labels, color=(1, 0.9, 0), mode="inner")
    try:
        imsave(path, np.round(drawn * 255).astype(np.uint8), check_contrast=False)
    except OSError as error:
        raise ExportError(f'"{path}" cannot be written ({error.strerror}). Choose another folder.') from error
    return path
