"""``napari-unet demo``: the main job on a real image, without a window."""

from __future__ import annotations

from pathlib import Path

import typer

from napari_unet.cli.showing import run_shown
from napari_unet.events import finish
from napari_unet.export.outputs import ExportOptions, write_outputs_events
from napari_unet.export.targets import make_folder
from napari_unet.imaging.image import open_image
from napari_unet.imaging.samples import open_sample
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.segmentation import segment_events
from napari_unet.jobs.batches import result_of
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
    found = run_shown(segment_events(model, image, InferenceConfig(device=device)), name)
    outputs = ExportOptions(outputs=("masks", "table", "overlay"))
    written = finish(write_outputs_events(folder, name, result_of(model, image, found.labels, None), outputs))
    typer.echo(f"{found.count} nuclei were found in a fluorescence image.")
    for path, what in zip(written, ("masks", "table of objects", "overlay"), strict=True):
        typer.echo(f"{what + ':':18}{path}")
