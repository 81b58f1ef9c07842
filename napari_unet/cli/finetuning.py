"""``napari-unet finetune``: a new model from corrected labels, and whether it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.cli.segmenting import Source
from napari_unet.cli.showing import run_shown
from napari_unet.errors import ExportError, LabelsError, ModelError
from napari_unet.export.targets import check_folder, check_free, check_targets, free_path, make_folder
from napari_unet.imaging.foreign_labels.reading import ForeignLabels
from napari_unet.imaging.image import Image, to_canonical
from napari_unet.imaging.reading import read_image, read_labels
from napari_unet.networks.registry import variants
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import FineTuneResult, finetune_events
from napari_unet.training.pairs import TrainingPair
from napari_unet.weights.bundled import bundled, own, own_folder, resolve
from napari_unet.weights.file import SUFFIX
from napari_unet.weights.model import Model, new_model


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Files of images, labels and reviewed regions; those at the same place belong together.

    Attributes
    ----------
    images : sequence of Path
    labels : sequence of Path
        Of any program: see `read_labels`.
    reviewed : sequence of Path
        As the labels. May be empty: every pixel is vouched for.
    axes : str, optional
        Of the images, instead of what the files say.
    """

    images: Sequence[Path]
    labels: Sequence[Path]
    reviewed: Sequence[Path]
    axes: str | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.images, *self.labels, *self.reviewed)


def finetune_files(
    source: Source,
    files: PairFiles,
    config: FineTuneConfig,
    out: Path,
    *,
    channels: tuple[int, ...] | None = None,
    overwrite: bool = False,
) -> FineTuneResult:
    """Fine-tune a model, write the candidate in any case, and say whether it was accepted.

    Parameters
    ----------
    source : Source
        A model or file; or a variant, which is trained from scratch.
    files : PairFiles
    config : FineTuneConfig
    out : Path
        For the candidate.
    channels : tuple of int, optional
        Which channels of the images feed the model.
    overwrite : bool
        Whether a file at `out` may be replaced.

    Raises
    ------
    NapariUnetError
        If a file cannot be used or written, or there is nothing to learn from.
    Cancelled
        If cancelled before there is anything to keep.
    """
    check_model_file(out, [*_source_files(source.name), *files.all], overwrite=overwrite)
    pairs = read_pairs(files)
    model = _model(source, pairs[0].image, channels)
    fit = run_shown(finetune_events(model, pairs, config, channels), "Fine-tuning", config.seconds)
    try:
        _save(fit.candidate, out, overwrite=overwrite)
    finally:
        typer.echo(fit.sentence)
    typer.echo(_verdict(fit, out))
    return fit


def read_pairs(files: PairFiles) -> list[TrainingPair]:
    """Open all images with their labels.

    Raises
    ------
    LabelsError
        If their numbers differ, or labels are not those of their image.
    """
    wanted = len(files.images)
    if len(files.labels) != wanted or len(files.reviewed) not in {0, wanted}:
        raise LabelsError(
            f"{wanted} images, {len(files.labels)} label images and {len(files.reviewed)} reviewed regions were given. "
            "Give one label image for each image, and as many reviewed regions or none."
        )
    regions: Sequence[Path | None] = files.reviewed or [None] * wanted
    return [
        _read_pair(image, labels, reviewed, files.axes)
        for image, labels, reviewed in zip(files.images, files.labels, regions, strict=True)
    ]


def _read_pair(image_path: Path, labels_path: Path, reviewed_path: Path | None, axes: str | None) -> TrainingPair:
    image = read_image(image_path, axes)
    labels = _read_for(image, labels_path)
    if reviewed_path is None:
        return TrainingPair(image, labels, np.ones(labels.shape, dtype=bool))
    return TrainingPair(image, labels, _read_for(image, reviewed_path) > 0)


def _read_for(image: Image, path: Path) -> npt.NDArray[Any]:
    """Read labels or a region of any program as (T, Z, Y, X)."""
    labels = read_labels(path, image.axes, image.array.shape)
    if isinstance(labels, ForeignLabels):
        for note in labels.notes:
            typer.echo(f"{path.name}: {note}", err=True)
    return to_canonical(np.asarray(labels.array[...]), labels.axes)[:, 0]


def check_model_file(out: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Check that a model can and may be written to a file, before any time is spent on it.

    Parameters
    ----------
    out : Path
    inputs : sequence of Path
        Files that are read, and must not be replaced.
    overwrite : bool
        Whether another file at `out` may be replaced.

    Raises
    ------
    ExportError
        If it cannot or must not be.
    """
    if out.suffix != SUFFIX:
        raise ExportError(f'"{out.name}" does not end in {SUFFIX}, as every model does. Add {SUFFIX} to the name.')
    check_targets([out], inputs)
    check_free(out, overwrite=overwrite)
    make_folder(out.parent)
    check_folder(out.parent)


def _save(candidate: Model, out: Path, *, overwrite: bool) -> None:
    """Save a model; if that fails after all, keep it among the user's own models.

    Raises
    ------
    ExportError
        If it could not be saved at `out`: where it is instead, or that it could not be kept at all.
    """
    try:
        check_free(out, overwrite=overwrite)  # training takes long, and others may have written meanwhile
        candidate.save(out)
    except ExportError as error:
        typer.echo(str(error), err=True)
        kept = free_path(own_folder(), f"{out.stem}-rescued", SUFFIX)
        make_folder(kept.parent)
        candidate.save(kept)
        raise ExportError(f'The new model is not lost: it was saved as "{kept}".') from error


def _source_files(source: str) -> list[Path]:
    """Return the file of a model; none for a variant."""
    if source in variants() and source not in {**bundled(), **own()}:
        return []
    return [resolve(source)]


def _model(source: Source, image: Image, channels: tuple[int, ...] | None) -> Model:
    if not _source_files(source.name):
        if source.answers:
            raise ModelError(f'"{source.name}" is a variant, which leaves nothing open. Leave --answer out.')
        return new_model(source.name, image.sizes["C"] if channels is None else len(channels))
    return source.load()


def _verdict(fit: FineTuneResult, out: Path) -> str:
    match fit.accepted:
        case True:
            return f"Accepted. The new model is {out}."
        case False:
            return f"Not accepted: go on with the old model. The candidate was written to {out} all the same."
        case None:
            return f"Neither accepted nor refused. The candidate was written to {out}."
