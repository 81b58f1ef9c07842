"""One page about a batch, made of what lies in its folder: also what was done earlier, or corrected since."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_unet.errors import ExportError, NapariUnetError
from napari_unet.events import Event, ImageDone, Progress
from napari_unet.export.outputs import ENDINGS
from napari_unet.export.provenance import ModelOrigin, Provenance, provenance_now
from napari_unet.export.summary import LARGE_PX, SMALL_PX, ImageSummary, save_summary, summarize_image
from napari_unet.imaging.image import Image, to_canonical
from napari_unet.imaging.reading import read_image, read_labels
from napari_unet.jobs.recipes import Recipe
from napari_unet.objects.measuring import measure
from napari_unet.weights.spec import ModelSpec

NAME = "napari-unet-summary.html"


def check_summary(recipe: Recipe) -> None:
    """Check that there will be masks to tell about.

    Raises
    ------
    ExportError
        If there will be none.
    """
    if "masks" not in recipe.export.outputs:
        raise ExportError('A summary is made of the masks, which are not written. Write "masks", too.')


def summary_events(
    recipe: Recipe, spec: ModelSpec, images: Sequence[ImageDone], path: Path
) -> Generator[Event, None, Path]:
    """Write a page with pictures, counts, sizes and settings of a batch.

    Parameters
    ----------
    recipe : Recipe
        That was run.
    spec : ModelSpec
        Of its model.
    images : sequence of ImageDone
        What became of each image.
    path : Path
        Ends in ``.html``; what is there is replaced.

    Raises
    ------
    ExportError
        If it cannot be written, or there are no masks.
    """
    check_summary(recipe)
    side = LARGE_PX if len(images) == 1 else SMALL_PX
    told = []
    for number, image in enumerate(images):
        yield Progress("Writing the summary", number, len(images))
        told.append(_summarize(recipe, image, side))
    yield Progress("Writing the summary", len(images), len(images))
    return save_summary(path, told, _provenance(recipe, spec), title=f"Segmentation with {spec.name}")


def _summarize(recipe: Recipe, done: ImageDone, side_px: int) -> ImageSummary:
    """Look at the image and its masks again; what is wrong with them now is told on the page."""
    if done.status == "failed":
        return ImageSummary(done.name, problem=done.text)
    try:
        masks = next(file for file in done.files if file.endswith(ENDINGS["masks"]))
        labels = read_labels(masks)
        stack = to_canonical(np.asarray(labels.array[...]), labels.axes)[:, 0]
        image = _open(recipe, done)
        table = measure(stack, image.pixel_size, hulls=False)
        return summarize_image(image, stack, table, side_px=side_px, seconds=done.seconds)
    except NapariUnetError as error:
        return ImageSummary(done.name, problem=str(error))


def _open(recipe: Recipe, done: ImageDone) -> Image:
    image = replace(read_image(done.path, recipe.input.axes), name=done.name)
    size = recipe.input.pixel_size
    return image if size is None else replace(image, pixel_size=size)


def _provenance(recipe: Recipe, spec: ModelSpec) -> Provenance:
    settings, model = recipe.settings, recipe.model
    told = settings.model_dump(mode="json")
    if recipe.estimates:
        told["diameter_px"] = "estimated for each image"
    return provenance_now(
        model=ModelOrigin(name=spec.name, source=model.source, sha256=model.sha256, classes=spec.classes),
        inference=told,
        objects=recipe.objects_for(spec, settings.diameter_px),
    )
