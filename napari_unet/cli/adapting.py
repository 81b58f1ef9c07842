"""``napari-unet adapt``: a model that has got used to images, without any labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from napari_unet.axes import PixelSize
from napari_unet.cli.finetuning import check_model_file
from napari_unet.cli.segmenting import Source
from napari_unet.cli.showing import run_shown
from napari_unet.imaging.reading import read_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.training.adaptation import PRIOR, adapt_events
from napari_unet.weights.bundled import resolve
from napari_unet.weights.model import Model


def adapt_to_files(
    paths: Sequence[Path],
    source: Source,
    inference: InferenceConfig,
    out: Path,
    *,
    prior: float = PRIOR,
    pixel_size: PixelSize | None = None,
    overwrite: bool = False,
) -> Model:
    """Adapt a model to images, and write it to a file.

    Parameters
    ----------
    paths : sequence of Path
        Of the images, which are taken together.
    source : Source
        The model.
    inference : InferenceConfig
        How the images are read and rescaled.
    out : Path
        For the adapted model.
    prior : float
        How many windows the old statistics are worth.
    pixel_size : PixelSize, optional
        Instead of what the files say.
    overwrite : bool
        Whether a file at `out` may be replaced.

    Raises
    ------
    NapariUnetError
        If a file cannot be used or written, or the model cannot be adapted.
    Cancelled
        If cancelled.
    """
    check_model_file(out, [resolve(source.name), *paths], overwrite=overwrite)
    model = source.load()
    images = [read_image(path, inference.axes) for path in paths]
    if pixel_size is not None:
        images = [replace(image, pixel_size=pixel_size) for image in images]
    adapted = run_shown(adapt_events(model, images, inference, prior), "Adapting")
    adapted.save(out)
    typer.echo(
        f"{out}: {model.spec.name}, adapted to {len(images)} image{'s' if len(images) > 1 else ''} without labels. "
        "Nothing was held out to judge it by: compare what both models find before you use it."
    )
    return adapted
