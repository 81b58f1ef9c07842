"""``napari-unet edit`` and ``merge``: what the panel does to all objects at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import typer

from napari_unet.axes import PixelSize, without
from napari_unet.errors import LabelsError
from napari_unet.export.targets import check_free, check_targets
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.image import Image, from_canonical, to_canonical
from napari_unet.imaging.reading import read_labels
from napari_unet.objects.editing.tidying import TidyOptions, tidy
from napari_unet.objects.merging import merge_prediction


@dataclass(frozen=True, slots=True)
class Target:
    """Where the new labels go.

    Attributes
    ----------
    path : Path
        Of a mask TIFF.
    overwrite : bool
    axes : str, optional
        Of all labels; by default what the files say.
    """

    path: Path
    overwrite: bool = False
    axes: str | None = None

    def check(self, *inputs: Path) -> None:
        """Check that no input and no other file is replaced unasked.

        Raises
        ------
        ExportError
            If one would be.
        """
        check_targets([self.path], inputs)
        check_free(self.path, overwrite=self.overwrite)

    def save(self, labels: npt.NDArray[Any], like: Image) -> None:
        """Write labels (T, Z, Y, X) with the axes and the pixel size of others."""
        axes = without(like.axes, "C")
        save_masks(self.path, from_canonical(labels[:, None], axes), axes, like.pixel_size)


def edit_file(source: Path, target: Target, options: TidyOptions, pixel_size: PixelSize | None = None) -> None:
    """Put the objects of a label image in order.

    Raises
    ------
    NapariUnetError
        If the labels cannot be read, or the file cannot be written.
    """
    target.check(source)
    labels = read_labels(source, target.axes)
    size = pixel_size or labels.pixel_size
    before = _stack(labels)
    after = tidy(before, options, _spacing(size))
    target.save(after, Image(labels.array, labels.axes, size, labels.name))
    typer.echo(f"{_count(before)} objects before and {_count(after)} after, written to {target.path}")


def merge_files(
    predicted: Path, corrected: Path, reviewed: Path, target: Target, meaning: Literal["instances", "semantic"]
) -> None:
    """Put a new prediction under what somebody has reviewed.

    Raises
    ------
    NapariUnetError
        If the labels cannot be read or do not belong together, or the file cannot be written.
    """
    target.check(predicted, corrected, reviewed)
    files = (predicted, corrected, reviewed)
    images = [read_labels(file, target.axes) for file in files]
    stacks = [_stack(image) for image in images]
    for file, stack in zip(files, stacks, strict=True):
        if stack.shape != stacks[0].shape:
            raise LabelsError(
                f'"{file.name}" has the size {stack.shape} along T, Z, Y and X, and "{predicted.name}" '
                f"{stacks[0].shape}. Choose labels of one image."
            )
    merged = merge_prediction(stacks[1], stacks[0], stacks[2], meaning)
    target.save(merged.labels, images[1])
    typer.echo(f"{merged.kept} reviewed objects kept and {merged.new} new ones, written to {target.path}")


def _stack(labels: Image) -> npt.NDArray[Any]:
    """Read labels as (T, Z, Y, X)."""
    values = np.asarray(labels.array[...])
    if values.dtype.kind not in "uib":
        raise LabelsError(f'"{labels.name}" holds {values.dtype}, and labels are whole numbers. Choose another file.')
    stack: npt.NDArray[Any] = to_canonical(values, labels.axes)[:, 0]
    return stack.astype(np.uint8) if stack.dtype == np.bool_ else stack


def _spacing(size: PixelSize) -> tuple[float, float, float]:
    """Sides of a voxel; those that are not known are as long as the others."""
    x = size.x_um or 1.0
    return size.z_um or x, size.y_um or x, x


def _count(labels: npt.NDArray[Any]) -> int:
    return len(np.setdiff1d(labels, 0))
