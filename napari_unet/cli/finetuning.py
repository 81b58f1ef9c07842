"""``napari-unet finetune``: a new model from corrected labels, and whether it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.cli.segmenting import make_folder
from napari_unet.cli.showing import run_shown
from napari_unet.errors import LabelsError
from napari_unet.imaging.image import Image, to_canonical
from napari_unet.imaging.reading import read_image, read_labels
from napari_unet.networks.registry import variants
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import FineTuneResult, finetune_events
from napari_unet.training.pairs import TrainingPair
from napari_unet.weights.bundled import bundled, own
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model, new_model


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Files of images, labels and reviewed regions; those at the same place belong together.

    Attributes
    ----------
    images, labels : sequence of Path
    reviewed : sequence of Path
        May be empty: every pixel is vouched for.
    axes : str, optional
        Of the images, instead of what the files say.
    """

    images: Sequence[Path]
    labels: Sequence[Path]
    reviewed: Sequence[Path]
    axes: str | None = None


def finetune_files(
    source: str,
    files: PairFiles,
    config: FineTuneConfig,
    out: Path,
    *,
    channels: tuple[int, ...] | None = None,
) -> FineTuneResult:
    """Fine-tune a model, write the candidate in any case, and say whether it was accepted.

    Parameters
    ----------
    source : str
        A model or file; or a variant, which is trained from scratch.
    files : PairFiles
    config : FineTuneConfig
    out : Path
        For the candidate.
    channels : tuple of int, optional
        Which channels of the images feed the model.

    Raises
    ------
    NapariUnetError
        If a file cannot be used, or there is nothing to learn from.
    Cancelled
        If cancelled before there is anything to keep.
    """
    pairs = read_pairs(files)
    make_folder(out.parent)
    model = _model(source, pairs[0].image, channels)
    fit = run_shown(finetune_events(model, pairs, config, channels), "Fine-tuning", config.seconds)
    fit.candidate.save(out)
    typer.echo(fit.sentence)
    typer.echo(_verdict(fit, out))
    return fit


def read_pairs(files: PairFiles) -> list[TrainingPair]:
    """Open all images with their labels.

    Raises
    ------
    LabelsError
        If their numbers differ.
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
    """Read labels or a region as (T, Z, Y, X)."""
    labels = read_labels(path)
    if len(labels.array.shape) == len(image.label_axes):  # one that says nothing is read as a Z stack
        labels = replace(labels, axes=image.label_axes)
    return to_canonical(np.asarray(labels.array[...]), labels.axes)[:, 0]


def _model(source: str, image: Image, channels: tuple[int, ...] | None) -> Model:
    if source in variants() and source not in {**bundled(), **own()}:
        return new_model(source, image.sizes["C"] if channels is None else len(channels))
    return load_model(source)


def _verdict(fit: FineTuneResult, out: Path) -> str:
    match fit.accepted:
        case True:
            return f"Accepted. The new model is {out}."
        case False:
            return f"Not accepted: go on with the old model. The candidate was written to {out} all the same."
        case None:
            return f"Not judged: there were too few labels. The candidate was written to {out}."
