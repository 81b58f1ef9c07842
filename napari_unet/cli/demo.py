"""``napari-unet demo``: the main job on a real image, without a window."""

from __future__ import annotations

from pathlib import Path

import typer

from napari_unet.cli.segmenting import Outputs, label_image, segment_image, write_results
from napari_unet.cli.targets import make_folder
from napari_unet.export.overlay import save_overlay
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.weights.loading import load_model

DIAMETER_PX = 10.0  # of the nuclei in the sample, half of what the model was trained on


def run_demo(folder: Path, device: str = "auto") -> None:
    """Segment the nuclei of a tissue section; write masks, a table of objects and an overlay.

    What a former demonstration left in the folder is replaced.

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
    segmentation = segment_image(
        model, image, InferenceConfig(device=device, diameter_px=DIAMETER_PX), model.spec.objects
    )
    written = write_results(Outputs(folder, table=True), "ihc", image, segmentation)
    written.append(save_overlay(folder / "ihc_overlay.png", pixels, label_image(image, segmentation)))
    typer.echo(f"{segmentation.count} objects were found in a section of tissue (immunohistochemistry).")
    for path, what in zip(written, ("masks", "table of objects", "overlay"), strict=True):
        typer.echo(f"{what + ':':18}{path}")
