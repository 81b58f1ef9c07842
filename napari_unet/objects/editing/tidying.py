"""All objects of a label image put in order at once: their outlines, which of them stay, and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from napari_unet.errors import LabelsError
from napari_unet.networks.spec import Config
from napari_unet.objects.editing.changes import Change, slices
from napari_unet.objects.editing.filtering import census, renumber
from napari_unet.objects.editing.shaping import Shape, reshape_many


class TidyOptions(Config):
    """What is done with all objects, in this order; by default nothing.

    Attributes
    ----------
    fill_holes : bool
        Fill what an object encloses in its slice.
    keep_largest : bool
        Keep only the largest piece of each object.
    smooth_px, grow_px, shrink_px : int
        Round outlines, or move them outwards or inwards, by so many pixels. Objects never grow over others.
    min_size_px, max_size_px : int
        Remove objects that are smaller or larger: pixels in planes, voxels in stacks. A largest size of 0 is none.
    no_border : bool
        Remove objects that touch the border of the plane.
    renumber : bool
        Number the objects 1, 2, 3 and so on; what has one number at several time points keeps one.
    """

    fill_holes: bool = False
    keep_largest: bool = False
    smooth_px: int = Field(default=0, ge=0)
    grow_px: int = Field(default=0, ge=0)
    shrink_px: int = Field(default=0, ge=0)
    min_size_px: int = Field(default=0, ge=0)
    max_size_px: int = Field(default=0, ge=0)
    no_border: bool = False
    renumber: bool = False

    @property
    def shapes(self) -> Iterator[tuple[Shape, int]]:
        """How outlines change, and by how many pixels."""
        wanted: tuple[tuple[Shape, int], ...] = (
            ("fill holes", int(self.fill_holes)),
            ("keep largest", int(self.keep_largest)),
            ("smooth", self.smooth_px),
            ("grow", self.grow_px),
            ("shrink", self.shrink_px),
        )
        return ((how, pixels) for how, pixels in wanted if pixels)


def tidy(
    labels: npt.NDArray[np.integer], options: TidyOptions, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> npt.NDArray[np.integer]:
    """Put all objects in order, each time point by itself.

    Parameters
    ----------
    labels : (T, Z, Y, X) integers
        Are not changed.
    options : TidyOptions
    spacing : sequence of float
        Sides Z, Y and X of a voxel in any unit: outlines move by so many pixels along X, by the same length elsewhere.

    Returns
    -------
    (T, Z, Y, X) integers
        Of the type of `labels`.

    Raises
    ------
    LabelsError
        If `labels` are no such integers.

    Examples
    --------
    >>> labels = np.array([[[[5, 5, 0, 9]]]])
    >>> tidy(labels, TidyOptions(min_size_px=2, renumber=True)).tolist()
    [[[[1, 1, 0, 0]]]]
    """
    if labels.ndim != 4 or labels.dtype.kind not in "ui":
        raise LabelsError(
            f"The labels have {labels.ndim} dimensions of type {labels.dtype}, and (T, Z, Y, X) of integers was "
            "expected. Give them these axes."
        )
    tidied = labels.copy()
    for volume in tidied:
        _tidy_volume(volume, options, spacing)
    if options.renumber:
        _apply(tidied, renumber(tidied, census(tidied).in_order()))
    return tidied


def _tidy_volume(volume: npt.NDArray[np.integer], options: TidyOptions, spacing: Sequence[float]) -> None:
    """Change the objects of one time point (Z, Y, X) in place."""
    for how, pixels in options.shapes:
        _apply(volume, reshape_many(volume, census(volume).boxes, how, pixels, spacing))
    unwanted = census(volume).unwanted(options.min_size_px, options.max_size_px or None, no_border=options.no_border)
    _apply(volume, renumber(volume, dict.fromkeys(unwanted, 0)))


def _apply(labels: npt.NDArray[np.integer], changes: Iterable[Change]) -> None:
    for change in changes:
        labels[slices(change.box)] = change.values
