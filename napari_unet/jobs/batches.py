"""A recipe over many images: what is done is skipped, what fails is told, and the others go on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_unet.atomic import unnamed_file
from napari_unet.errors import Cancelled, ExportError, ModelError, NapariUnetError
from napari_unet.events import Event, ImageBegun, ImageDone, Notice, finish, finish_warning
from napari_unet.export.outputs import ExportOptions, Result, file_names, general_obstacle, write_outputs_events
from napari_unet.export.provenance import ImageOrigin, ModelOrigin, Provenance, provenance_now
from napari_unet.export.targets import check_targets, make_folder
from napari_unet.imaging.image import Image
from napari_unet.imaging.reading import read_image
from napari_unet.inference.config import InferenceConfig, describe_way
from napari_unet.inference.diameters import estimated_events
from napari_unet.inference.segmentation import Segmentation, segment_events
from napari_unet.jobs.explaining import explain
from napari_unet.jobs.image_lists import BatchImage, find_images
from napari_unet.jobs.ledger import Entry, Ledger, image_stamp
from napari_unet.jobs.recipes import Recipe, read_recipe, weights_fingerprint
from napari_unet.jobs.summaries import check_summary, summary_events
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model

IN_MEMORY_BYTES = 2**30
"""Larger results lie in a temporary file until they are written."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of each image, in their order."""

    images: tuple[ImageDone, ...]

    def count(self, status: Literal["done", "skipped", "failed"]) -> int:
        """Return how many images became that."""
        return sum(image.status == status for image in self.images)


def run_recipe(
    recipe: Recipe | str | os.PathLike[str],
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    any_model: bool = False,
    summary: str | os.PathLike[str] | None = None,
) -> BatchReport:
    """Segment images as a recipe says, and write the results; what is done already is skipped.

    Parameters
    ----------
    recipe : Recipe, str or path-like
        Or its file.
    images : str, path-like, or a sequence of them
        Files, folders and patterns such as ``data/**/*.tif``.
    folder : str or path-like
        For the results; made if it is missing.
    overwrite : bool
        Whether to do all images again and to replace files that exist.
    any_model : bool
        Whether to use the model even if it is not the one that the recipe was made with.
    summary : str or path-like, optional
        File for a page about the run, ending in ``.html``; needs the masks.

    Returns
    -------
    BatchReport
        What became of each image; one that fails does not keep the others from being done.

    Raises
    ------
    NapariUnetError
        If nothing can be done at all.
    """
    sources = [images] if isinstance(images, str | os.PathLike) else images
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    found = find_images(sources, Path(folder))
    chosen, model = open_recipe(chosen, any_model=any_model)
    if summary is not None:
        check_summary(chosen)
    report = finish_warning(batch_events(chosen, model, found, Path(folder), overwrite=overwrite))
    if summary is not None:
        finish(summary_events(chosen, model.spec, report.images, Path(summary)))
    return report


def open_recipe(recipe: Recipe, *, any_model: bool = False) -> tuple[Recipe, Model]:
    """Load the model of a recipe, and check that it is the one that the recipe was made with.

    Parameters
    ----------
    recipe : Recipe
    any_model : bool
        Whether another one will do.

    Returns
    -------
    Recipe
        As it will be run: with the fingerprint and the normalization of the model.
    Model

    Raises
    ------
    ModelError
        If there is no such model, or it is another one.
    """
    source = recipe.model.source
    found = weights_fingerprint(source)
    if recipe.model.sha256 not in {"", found} and not any_model:
        raise ModelError(
            f'The model "{source}" is not the one that the recipe was made with: its weights have the SHA-256 '
            f"{found[:12]}…, and {recipe.model.sha256[:12]}… was expected. Get that model, or allow any (--any-model)."
        )
    model = load_model(source, **recipe.model.answers)
    if recipe.normalization not in {None, model.spec.normalization} and not any_model:
        raise ModelError(
            f'The model "{source}" normalizes images otherwise than when the recipe was made. '
            "Get that model, or allow any (--any-model)."
        )
    recipe.objects_for(model.spec, None)
    opened = recipe.model.model_copy(update={"sha256": found})
    return recipe.model_copy(update={"model": opened, "normalization": model.spec.normalization}), model


def batch_events(
    recipe: Recipe, model: Model, images: Sequence[BatchImage], folder: Path, *, overwrite: bool = False
) -> Generator[Event, None, BatchReport]:
    """Segment images one after the other; one that fails gives its sentence, and the others go on.

    Between an `ImageBegun` and its `ImageDone` come the events of that image. The process may be killed at any
    moment, and begun again: the results of an image are there as a whole or are made again.

    Parameters
    ----------
    recipe : Recipe
    model : Model
        Of the recipe, see `open_recipe`.
    images : sequence of BatchImage
        See `find_images`.
    folder : Path
        For the results; made if it is missing.
    overwrite : bool
        Whether to do all images again and to replace files that exist.

    Raises
    ------
    ExportError
        If nothing can be written to the folder, a result would replace an image, or something can be written of none.
    """
    targets = (folder / image.folder / file for image in images for file in _files(image, recipe.export))
    check_targets(targets, [image.path for image in images])
    for output in recipe.export.outputs:
        if obstacle := general_obstacle(output, model.spec.meaning):
            raise ExportError(obstacle)
    make_folder(folder)
    batch = _Batch(recipe, recipe.digest(), model, folder, Ledger(folder), overwrite)
    settled = []
    for number, image in enumerate(images, start=1):
        yield ImageBegun(number, len(images), image.name)
        began = time.perf_counter()
        became = yield from _settle(batch, image)
        took = None if became[0] == "skipped" else time.perf_counter() - began
        done = ImageDone(number, len(images), image.name, str(image.path), *became, seconds=took)
        settled.append(done)
        yield done
    return BatchReport(tuple(settled))


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all images of a batch share."""

    recipe: Recipe
    digest: str
    model: Model
    folder: Path
    ledger: Ledger
    overwrite: bool


_Became = tuple[Literal["done", "skipped", "failed"], str, int | None, tuple[str, ...]]


def _settle(batch: _Batch, image: BatchImage) -> Generator[Event, None, _Became]:
    """Do an image, unless that is done or impossible."""
    try:
        stamp = _stamp(image.path)
        entry = batch.ledger.entry(image.name)
        if entry is not None and not batch.overwrite and (entry.recipe, entry.image) == (batch.digest, stamp):
            files = tuple(str(batch.folder / file) for file in entry.files)
            return "skipped", "It has been done before.", entry.objects, files
        _check_free(batch, image, known=entry is not None)
        made = yield from _image_events(batch, image, stamp)
    except Cancelled:
        raise
    except Exception as error:  # one bad image must not end a night's work
        return "failed", str(error) if isinstance(error, NapariUnetError) else explain(error), None, ()
    return made


def _stamp(path: Path) -> str:
    """Say of which state an image is; nothing for one that is not there, which reading it tells better."""
    try:
        return image_stamp(path)
    except OSError:
        return ""


def _files(image: BatchImage, options: ExportOptions) -> tuple[str, ...]:
    return tuple(str(file) for file in file_names(image.stem, options).values())


def _named(image: BatchImage, files: Iterable[str]) -> tuple[str, ...]:
    """Return how the ledger names files of an image."""
    return tuple((image.folder / file).as_posix() for file in files)


def _check_free(batch: _Batch, image: BatchImage, *, known: bool) -> None:
    """Check that no file of the user is replaced.

    Raises
    ------
    ExportError
        If one would be.
    """
    unfinished = batch.ledger.unfinished(image.name)
    for file in _named(image, _files(image, batch.recipe.export)):
        target = batch.folder / file
        if not target.exists() or batch.overwrite or file in unfinished:
            continue
        why = ", and was made with other settings or of another state of the image" if known else ""
        raise ExportError(f'"{target}" already exists{why}; use --overwrite to replace it.')


def _image_events(batch: _Batch, item: BatchImage, stamp: str) -> Generator[Event, None, _Became]:
    """Read, segment and write one image."""
    recipe, model, folder = batch.recipe, batch.model, batch.folder / item.folder
    image = read_image(item.path, recipe.input.axes)
    if recipe.input.pixel_size is not None:
        image = replace(image, pixel_size=recipe.input.pixel_size)
    how = recipe.settings
    if recipe.estimates:
        how = yield from estimated_events(model, image, how)
    options = recipe.objects_for(model.spec, how.diameter_px)
    segmentation, maps = yield from _segment_events(model, image, how, options, recipe.export)
    make_folder(folder)
    batch.ledger.begin(item.name, _named(item, _files(item, recipe.export)))
    origin = _provenance(batch, item, image, how, options)
    result = result_of(model, image, segmentation.labels, maps, origin)
    written = yield from write_outputs_events(folder, item.stem, result, recipe.export)
    files = _named(item, (file.name for file in written))
    batch.ledger.finish(item.name, Entry(batch.digest, stamp, segmentation.count, files))
    return "done", _in_words(model, segmentation, how), segmentation.count, tuple(map(str, written))


def result_of(model: Model, image: Image, labels: Any, maps: Any, origin: Provenance | None = None) -> Result:  # noqa: ANN401
    """Gather what can be written about a segmented image.

    Parameters
    ----------
    model : Model
    image : Image
    labels : (T, Z, Y, X) integers
    maps : (K, T, Z, Y, X) float32 or uint8, or None
        The probabilities.
    origin : Provenance, optional
    """
    return Result(
        labels=labels,
        axes=image.label_axes,
        pixel_size=image.pixel_size,
        name=image.name,
        image=image,
        probabilities=None if maps is None else maps[: len(model.spec.classes)],
        meaning=model.spec.meaning,
        classes=model.spec.foreground_classes,
        channels=model.spec.classes,
        provenance=origin,
    )


def _segment_events(
    model: Model, image: Image, how: InferenceConfig, options: ObjectOptions, export: ExportOptions
) -> Generator[Event, None, tuple[Segmentation, Any]]:
    """Segment an image by way of float32 probabilities, as the panel does, so that the labels are the same."""
    shape = tuple(image.sizes[axis] for axis in "TZYX")
    maps: npt.NDArray[np.float32] | None = None
    try:
        maps = _room((len(model.spec.outputs), *shape), np.float32)
    except ExportError as error:
        if "probabilities" in export.outputs:
            raise
        yield Notice(f"{error} Probabilities are rounded to bytes meanwhile, which may change a few pixels in 10,000.")
    labels = _room(shape, np.uint32)
    segmentation = yield from segment_events(model, image, how, options, (maps, labels))
    return segmentation, maps


def _room(shape: Iterable[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Make an array of zeros; a large one lies in a file of which nothing is left afterwards, whatever happens.

    Raises
    ------
    ExportError
        If there is too little space for it.
    """
    sides, kind = tuple(shape), np.dtype(dtype)
    size = math.prod(sides) * kind.itemsize
    if size <= IN_MEMORY_BYTES:
        return np.zeros(sides, kind)
    try:
        return np.memmap(unnamed_file(size), kind, "r+", shape=sides)
    except OSError as error:
        raise ExportError(
            f"There is no temporary space for {size / 1e9:,.1f} GB ({error.strerror}); the environment variable TMPDIR "
            "names another folder."
        ) from error


def _provenance(
    batch: _Batch, item: BatchImage, image: Image, how: InferenceConfig, options: ObjectOptions
) -> Provenance:
    spec, model = batch.model.spec, batch.recipe.model
    return provenance_now(
        model=ModelOrigin(name=spec.name, source=model.source, sha256=model.sha256, classes=spec.classes),
        image=ImageOrigin.of(image, str(item.path)),
        inference=how.model_dump(mode="json"),
        objects=options,
    )


def _in_words(model: Model, segmentation: Segmentation, how: InferenceConfig) -> str:
    prediction = segmentation.prediction
    seam = None if prediction.seam is None else prediction.seam.mean
    what = "object" if model.spec.meaning == "instances" else "region"
    plural = "" if segmentation.count == 1 else "s"
    return f"{segmentation.count} {what}{plural} ({describe_way(prediction.exact, seam, fast=how.fast)})"
