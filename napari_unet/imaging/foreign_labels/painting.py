"""Regions of other programs, painted as labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from napari_unet.errors import LabelsError
from napari_unet.imaging.foreign_labels.filling import Points, area, fill

_NUMBER = re.compile(r"(\d{1,19})(?:-z\d+)?(?:-t\d+)?", re.ASCII)
"""Names that we give: the number of the object, in stacks with its slice and frame."""


@dataclass(frozen=True, slots=True)
class Region:
    """An outline and where it lies.

    Attributes
    ----------
    rings : tuple of (corners, 2) arrays
        x and y in pixels; inside is what an odd number of them surrounds.
    name : str
        Empty if it has none.
    t, z : int, optional
        Time point and slice, from 0; None for all of them.
    """

    rings: tuple[Points, ...]
    name: str = ""
    t: int | None = None
    z: int | None = None


@dataclass(frozen=True, slots=True)
class Painted:
    """Labels, and what a user should know of how they came about.

    Attributes
    ----------
    labels : (T, Z, Y, X) uint32 or uint64
    notes : tuple of str
        A sentence each.
    """

    labels: npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
    notes: tuple[str, ...]


def paint(regions: Sequence[Region], sizes: dict[str, int], source: str) -> Painted:
    """Paint regions as labels.

    Where they overlap, a pixel belongs to the smallest region, so that none disappears in a larger one.

    Parameters
    ----------
    regions : sequence of Region
    sizes : dict of str to int
        Of the image along T, Z, Y and X.
    source : str
        Name of the file, for messages.

    Raises
    ------
    LabelsError
        If a region lies on a slice or time point that the image does not have.
    """
    shape = (sizes["T"], sizes["Z"], sizes["Y"], sizes["X"])
    ids = numbered([region.name for region in regions])
    labels = np.zeros(shape, np.uint32 if max(ids, default=0) < 2**32 else np.uint64)
    lost, shared = 0, 0
    areas = np.array([-area(region.rings) for region in regions])
    for number in np.argsort(areas, kind="stable").tolist():
        region, label = regions[number], ids[number]
        planes = list(_planes(region, shape, source))
        box, inside = fill(region.rings, shape[2:])
        lost += not inside.any()
        for t, z in planes:
            target = labels[t, z][box]
            under = target[inside]
            shared += int(((under > 0) & (under != label)).sum())
            target[inside] = label
    return Painted(labels, tuple(_notes(lost, shared, _everywhere(regions, shape))))


def numbered(names: Sequence[str]) -> list[int]:
    """Return the number of each object: the one that it is called by, or one that no other has.

    >>> numbered(["7", "nucleus", "7-z2", ""])
    [7, 8, 7, 9]
    """
    matches = [_NUMBER.fullmatch(name) for name in names]
    known = [int(match[1]) if match and 0 < int(match[1]) < 2**63 else None for match in matches]
    unused = count(max((number for number in known if number is not None), default=0) + 1)
    return [next(unused) if number is None else number for number in known]


def _planes(region: Region, shape: tuple[int, ...], source: str) -> Iterator[tuple[int, int]]:
    """Yield the time point and the slice of each plane that a region lies on."""
    for place, size, word in ((region.t, shape[0], "time point"), (region.z, shape[1], "slice")):
        if place is not None and not 0 <= place < size:
            raise LabelsError(
                f'"{source}" has an outline on {word} {place + 1}, and the image has {size}. Choose the outlines of '
                "this image."
            )
    for t in range(shape[0]) if region.t is None else (region.t,):
        for z in range(shape[1]) if region.z is None else (region.z,):
            yield t, z


def _everywhere(regions: Sequence[Region], shape: tuple[int, ...]) -> int:
    """Count the regions that lie on more than one plane."""
    several = [(region.t is None and shape[0] > 1) or (region.z is None and shape[1] > 1) for region in regions]
    return sum(several)


def _notes(lost: int, shared: int, everywhere: int) -> Iterator[str]:
    if lost:
        yield f"{lost} outlines hold no pixel of the image and were left out."
    if shared:
        yield f"{shared} pixels are in several outlines; each belongs to the smallest of them."
    if everywhere:
        yield f"{everywhere} outlines do not say on which slice they lie, and were painted on all."
