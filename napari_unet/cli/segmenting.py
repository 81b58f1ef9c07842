"""``napari-unet segment``: a mask TIFF for every image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.axes import PixelSize
from napari_unet.cli.showing import run_shown
from napari_unet.errors import Cancelled, NapariUnetError
from napari_unet.export.table import save_table
from napari_unet.export.targets import check_free, check_targets, make_folder
from napari_unet.export.tiff import save_masks, save_probabilities
from napari_unet.imaging.image import Image, from_canonical
from napari_unet.imaging.reading import image_name, read_image
from napari_unet.inference.config import InferenceConfig, describe_way
from napari_unet.inference.diameters import estimated_events
from napari_unet.inference.pipeline import Prediction
from napari_unet.inference.segmentation import Segmentation, segment_events
from napari_unet.jobs.explaining import explain
from napari_unet.jobs.scratch import Scratch, open_array
from napari_unet.networks.spec import checked
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.measuring import measure
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import Model

IN_MEMORY_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Source:
    """Name or file of a model, and answers to what the file leaves open."""

    name: str
    answers: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Model:
        """Open the model."""
        return load_model(self.name, **self.answers)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What to write for every image, and where."""

    folder: Path
    probabilities: bool = False
    table: bool = False
    overwrite: bool = False

    def files(self, stem: str) -> dict[str, Path]:
        """Return the files of the image that is called `stem`, by what they hold."""
        wanted = {"masks.tif": True, "probabilities.tif": self.probabilities, "objects.csv": self.table}
        return {Path(end).stem: self.folder / f"{stem}_{end}" for end, is_wanted in wanted.items() if is_wanted}


def segment_files(
    paths: Sequence[Path],
    source: Source,
    outputs: Outputs,
    inference: InferenceConfig,
    *,
    objects: Mapping[str, float],
    pixel_size: PixelSize | None = None,
    estimates: bool = False,
) -> bool:
    """Segment images one after the other; one that fails gives its sentence, and the others go on.

    Parameters
    ----------
    paths : sequence of Path
    source : Source
        The model.
    outputs : Outputs
    inference : InferenceConfig
    objects : mapping
        Options for finding objects that replace those of the model.
    pixel_size : PixelSize, optional
        Instead of what the files say.
    estimates : bool
        Whether to estimate the diameter of the objects in each image first.

    Returns
    -------
    bool
        Whether all went well.

    Raises
    ------
    ModelError, ExportError, NapariUnetError
        If nothing can be done at all.
    """
    _check_names(paths)
    check_targets((file for path in paths for file in outputs.files(image_name(path)).values()), paths)
    model = source.load()
    _options(model, inference, objects)  # what is wrong with them is wrong for all images
    make_folder(outputs.folder)
    failed = 0
    for path in paths:
        try:
            for file in outputs.files(image_name(path)).values():
                check_free(file, overwrite=outputs.overwrite)
            image = _read(path, inference.axes, pixel_size)
            how = run_shown(estimated_events(model, image, inference), image.name) if estimates else inference
            with _room_for_probabilities(model, image, wanted=outputs.probabilities) as room:
                segmentation = segment_image(model, image, how, _options(model, how, objects), room)
                files = ", ".join(str(file) for file in write_results(outputs, image_name(path), image, segmentation))
            typer.echo(f"{path}: {segmentation.count} objects ({_way(segmentation.prediction, how)}), {files}")
        except Cancelled:
            raise
        except Exception as error:  # one bad image must not end a night's work
            failed += 1
            typer.echo(f"{path}: {error if isinstance(error, NapariUnetError) else explain(error)}", err=True)
    if failed:
        typer.echo(f"{failed} of {len(paths)} images failed.", err=True)
    return not failed


def segment_image(
    model: Model,
    image: Image,
    inference: InferenceConfig,
    options: ObjectOptions,
    probabilities: npt.NDArray[np.float32] | None = None,
) -> Segmentation:
    """Segment one image while a bar shows the progress; `probabilities` is written if given."""
    return run_shown(segment_events(model, image, inference, options, (probabilities, None)), image.name)


def _read(path: Path, axes: str | None, pixel_size: PixelSize | None) -> Image:
    image = read_image(path, axes)
    return image if pixel_size is None else replace(image, pixel_size=pixel_size)


def _options(model: Model, inference: InferenceConfig, objects: Mapping[str, float]) -> ObjectOptions:
    """Options that were given, and for the others the model's at the diameter that is known."""
    return checked(ObjectOptions, **{**model.spec.objects_at(inference.diameter_px).model_dump(), **objects})


def _way(prediction: Prediction, inference: InferenceConfig) -> str:
    seam = None if prediction.seam is None else prediction.seam.mean
    return describe_way(prediction.exact, seam, fast=inference.fast)


def write_results(outputs: Outputs, stem: str, image: Image, segmentation: Segmentation) -> list[Path]:
    """Write what was asked for, and return the files."""
    files = outputs.files(stem)
    masks = label_image(image, segmentation)
    save_masks(files["masks"], masks, axes=image.label_axes, pixel_size=image.pixel_size)
    if outputs.probabilities:
        probabilities = probability_map(image, segmentation)
        save_probabilities(files["probabilities"], probabilities, image.label_axes, image.pixel_size)
    if outputs.table:
        save_table(files["objects"], measure(segmentation.labels, image.pixel_size, image))
    return list(files.values())


def label_image(image: Image, segmentation: Segmentation) -> npt.NDArray[Any]:
    """Labels with the axes of the image, without its channels."""
    return from_canonical(segmentation.labels[:, None], image.label_axes)


def probability_map(image: Image, segmentation: Segmentation) -> npt.NDArray[np.float32]:
    """Probabilities (class, ...) with the axes of the image after the class."""
    classes = (from_canonical(one[:, None], image.label_axes) for one in segmentation.prediction.probabilities)
    return np.stack(list(classes))


@contextmanager
def _room_for_probabilities(model: Model, image: Image, *, wanted: bool) -> Iterator[npt.NDArray[np.float32] | None]:
    """Make room for probability maps that are wanted, for large ones on disk; None for others."""
    shape = (len(model.spec.classes), *(image.sizes[axis] for axis in "TZYX"))
    if not wanted:
        yield None
        return
    if 4 * math.prod(shape) <= IN_MEMORY_BYTES:
        yield np.empty(shape, np.float32)
        return
    scratch = Scratch()
    try:
        yield open_array(scratch.array(shape, np.float32), "r+")
    finally:
        scratch.close()


def _check_names(paths: Sequence[Path]) -> None:
    """Refuse two images whose results would have one name."""
    name, count = Counter(image_name(path) for path in paths).most_common(1)[0]
    if count > 1:
        raise NapariUnetError(
            f'{count} of the images are called "{name}", and the masks of one would replace those of another. '
            "Segment them into different folders."
        )
