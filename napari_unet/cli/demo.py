"""``napari-unet demo``: the main job on a real image, without a window."""

from __future__ import annotations

from pathlib import Path

import typer

from napari_unet.cli.segmenting import Outputs, label_image, segment_image, write_results
from napari_unet.export.overlay import save_overlay
from napari_unet.export.targets import make_folder
from napari_unet.imaging.image import open_image
from napari_unet.imaging.samples import open_sample
from napari_unet.inference.config import InferenceConfig
from napari_unet.weights.loading import load_model


def run_demo(folder: Path, device: str = "auto") -> None:
    """Segment nuclei in fluorescence; write masks, a table of objects and an overlay.

    What a former demonstration left in the folder is replaced.

    Raises
    ------
    NapariUnetError
        If a file cannot be written.
    """
    sample, name = open_sample("fluorescence"), "fluorescence"
    make_folder(folder)
    image = open_image(sample.image, sample.axes, name=name)
    model = load_model("nuclei")
    segmentation = segment_image(model, image, InferenceConfig(device=device), model.spec.objects)
    written = write_results(Outputs(folder, table=True), name, image, segmentation)
    written.append(save_overlay(folder / f"{name}_overlay.png", sample.image, label_image(image, segmentation)))
    typer.echo(f"{segmentation.count} nuclei were found in a fluorescence image.")
    for path, what in zip(written, ("masks", "table of objects", "overlay"), strict=True):
        typer.echo(f"{what + ':':18}{path}")
