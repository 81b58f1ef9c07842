"""Objects in slices that nobody has painted: between two that somebody has, or like the one before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError
from napari_unet.objects.editing.changes import Box, Change, Labels, Mask, changes_of, extent, slices


def interpolate(labels: Labels, number: int, box: Box) -> list[Change]:
    """Fill the slices between those that show an object, by interpolating its outline.

    The outline is the zero of the signed distance to the object's edge, which is interpolated linearly, after the
    shapes have been moved onto each other (Raya and Udupa 1990, doi 10.1109/42.52980). Other objects stay.

    Parameters
    ----------
    labels : (Z, Y, X) integer
    number : int
        Of the object.
    box : Box
        That holds it in all slices; the others may be time points as well.

    Raises
    ------
    LabelsError
        If there are no slices to fill.
    """
    first = box[0][0]
    shown = [z for z in range(*box[0]) if (labels[z][slices(box[1:])] == number).any()]
    gaps = [(a, b) for a, b in pairwise(shown) if b - a > 1]
    if not gaps:
        raise LabelsError(
            "There is nothing to interpolate. Paint the object with one label in two slices that are no neighbours."
        )
    values = np.array(labels[slices(box)])
    for below, above in gaps:
        low, high = (values[z - first] == number for z in (below, above))
        for z in range(below + 1, above):
            middle = _between(low, high, (z - below) / (above - below))
            values[z - first][middle & (values[z - first] == 0)] = number
    return changes_of(labels, box, values)


def copy_to(labels: Labels, number: int, source: int, target: int) -> list[Change]:
    """Copy an object of one slice to another, where nothing else is.

    Parameters
    ----------
    labels : (Z, Y, X) integer
    number : int
    source, target : int
        Slices.

    Raises
    ------
    LabelsError
        If the object is not in the source, or there is no such slice.
    """
    if not 0 <= target < len(labels):
        raise LabelsError("There is no slice to copy to: this is the last one.")
    mask = labels[source] == number
    found = extent(mask)
    if found is None or not number:
        raise LabelsError("The object is not in this slice. Choose one that is.")
    box = ((target, target + 1), *found)
    values = np.array(labels[slices(box)])
    values[0][mask[slices(found)] & (values[0] == 0)] = number
    return changes_of(labels, box, values)


def _between(a: Mask, b: Mask, share: float) -> Mask:
    """Interpolate between two shapes (Y, X) of the same window."""
    box_a, box_b = extent(a), extent(b)
    assert box_a is not None
    assert box_b is not None
    margin = [max(j - i for i, j in (pa, pb)) for pa, pb in zip(box_a, box_b, strict=True)]
    a, b = (np.pad(mask, [(m, m) for m in margin]) for mask in (a, b))
    centre_a, centre_b = (np.array(ndi.center_of_mass(mask)) for mask in (a, b))
    middle = centre_a * (1 - share) + centre_b * share
    moved = [
        ndi.shift(_distance(mask), middle - centre, order=1, mode="nearest")
        for mask, centre in ((a, centre_a), (b, centre_b))
    ]
    inside: Mask = moved[0] * (1 - share) + moved[1] * share > 0
    return inside[tuple(slice(m, n - m) for m, n in zip(margin, inside.shape, strict=True))]


def _distance(mask: Mask) -> npt.NDArray[np.float64]:
    """Signed distance to the edge of a shape, positive inside."""
    inside: npt.NDArray[np.float64] = ndi.distance_transform_edt(mask) - ndi.distance_transform_edt(~mask)
    return inside
