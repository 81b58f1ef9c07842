"""``napari-unet adapt``: a model that has got used to images, without any labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """How a model is adapted.

    Attributes
    ----------
    inference : InferenceConfig
        How the images are read and rescaled.
    estimates : bool
        Whether the diameter of the objects is estimated for each image.
    pixel_size : PixelSize, optional
        Instead of what the files say.
    prior : float
        How many windows the old statistics are worth.
    """

    inference: InferenceConfig
    estimates: bool = False
    pixel_size: PixelSize | None = None
    prior: float = PRIOR


def adapt_to_files(
    paths: Sequence[Path], source: Source, options: AdaptOptions, out: Path, *, overwrite: bool = False
) -> Model:
    """Adapt a model to images, and write it to a file.

    Parameters
    ----------
    paths : sequence of Path
        Of the images, which are taken together.
    source : Source
        The model.
    options : AdaptOptions
    out : Path
        For the adapted model.
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
    images = [read_image(path, options.inference.axes) for path in paths]
    if options.pixel_size is not None:
        images = [replace(image, pixel_size=options.pixel_size) for image in images]
    work = adapt_events(model, images, options.inference, options.prior, estimates=options.estimates)
    adapted = run_shown(work, "Adapting")
    adapted.save(out)
    typer.echo(
        f"{out}: {model.spec.name}, adapted to {len(images)} image{'s' if len(images) > 1 else ''} without labels. "
        "Nothing was held out to judge it by: compare what both models find before you use it."
    )
    return adapted
