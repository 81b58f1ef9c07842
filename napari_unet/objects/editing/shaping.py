"""Changing the outline of an object without touching its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.objects.editing.changes import Box, Change, Mask, Readable, changes_of, grown, slices
from napari_unet.objects.editing.draft import Draft

Shape = Literal["grow", "shrink", "fill holes", "smooth", "keep largest"]
Units = tuple[float, ...]


def reshape(
    labels: Readable, number: int, box: Box, how: Shape, pixels: int = 1, spacing: Sequence[float] | None = None
) -> list[Change]:
    """Change the outline of an object.

    Parameters
    ----------
    labels : ([Z,] Y, X) integer
    number : int
        Of the object.
    box : Box
        That holds it.
    how : str
        "grow" and "shrink" move the outline by `pixels`; growing stops at other objects. "fill holes" fills what
        is background and wholly enclosed, in a volume in each slice. "smooth" takes the majority within `pixels`,
        and leaves an object alone that is too small for that.
        "keep largest" removes all but the largest connected piece.
    pixels : int
    spacing : sequence of float, optional
        Sides of a pixel along each axis; the last finite one counts as 1. Along an axis where they are infinite, such
        as time, each plane is changed by itself.
    """
    units = units_of(spacing) if spacing else (1.0,) * len(box)
    box = grown(box, pixels + 1, labels.shape)
    values = np.array(labels[slices(box)])
    mask, free = values == number, values == 0
    if not mask.any():
        return []
    new = _changed(how, mask, pixels, units) & (mask | free)
    values[mask & ~new] = 0
    values[new] = number
    return changes_of(labels, box, values)


def reshape_many(
    labels: Readable,
    boxes: Mapping[int, Box],
    how: Shape,
    pixels: int = 1,
    spacing: Sequence[float] | None = None,
) -> list[Change]:
    """Change the outlines of several objects, one after the other: where two grow, the first one is first.

    Parameters
    ----------
    labels, how, pixels, spacing
        As in `reshape`.
    boxes : mapping
        From ids to boxes that hold the objects.
    """
    draft = Draft(labels)
    for number, box in boxes.items():
        draft.keep(reshape(draft, number, box, how, pixels, spacing))
    return draft.gathered()


def units_of(spacing: Sequence[float]) -> Units:
    """Return the sides of a pixel, in units of the last one that is finite."""
    unit = next((side for side in reversed(spacing) if np.isfinite(side)), 1.0)
    return tuple(side / unit for side in spacing)


def _changed(how: Shape, mask: Mask, pixels: int, units: Units) -> Mask:
    """Change an outline; at each time point by itself."""
    time = next((axis for axis, unit in enumerate(units) if np.isinf(unit)), None)
    if time is None:
        return _SHAPES[how](mask, pixels, units)
    rest = (*units[:time], *units[time + 1 :])
    planes = (_SHAPES[how](plane, pixels, rest) if plane.any() else plane for plane in np.moveaxis(mask, time, 0))
    return np.stack(list(planes), axis=time)


def _grow(mask: Mask, pixels: int, units: Units) -> Mask:
    near: Mask = ndi.distance_transform_edt(~mask, sampling=units) <= pixels
    return near


def _shrink(mask: Mask, pixels: int, units: Units) -> Mask:
    # What lies beyond the image is not background: an object at the border keeps its side there.
    if mask.all():
        return mask
    deep: Mask = ndi.distance_transform_edt(mask, sampling=units) > pixels
    return deep


def _fill_holes(mask: Mask, _pixels: int, _units: Units) -> Mask:
    planes = mask.reshape(-1, *mask.shape[-2:])
    filled: Mask = np.stack([ndi.binary_fill_holes(plane) for plane in planes]).reshape(mask.shape)
    return filled


def _smooth(mask: Mask, pixels: int, units: Units) -> Mask:
    sigma = [pixels / unit for unit in units]
    share = ndi.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest", truncate=3)
    smooth: Mask = share >= 0.5
    return smooth if smooth.any() else mask  # a speck has no outline to round, and must not vanish


def _keep_largest(mask: Mask, _pixels: int, _units: Units) -> Mask:
    pieces, count = ndi.label(mask, ndi.generate_binary_structure(mask.ndim, mask.ndim))
    if count < 2:
        return mask
    sizes: npt.NDArray[np.intp] = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: Mask = pieces == sizes.argmax()
    return largest


_SHAPES = {
    "grow": _grow,
    "shrink": _shrink,
    "fill holes": _fill_holes,
    "smooth": _smooth,
    "keep largest": _keep_largest,
}
