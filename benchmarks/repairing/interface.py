"""Where to cut an object in two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Place = tuple[float, float]


def interface(one: Mask, other: Mask) -> npt.NDArray[np.float64] | None:
    """Return the places where two parts of an object touch, or None if they do not."""
    touching = np.argwhere(_around(one) & other)
    return touching.astype(float) if len(touching) else None


def _around(mask: Mask) -> Mask:
    found = mask.copy()
    for axis in (0, 1):
        here = found.copy()
        first, last = ((slice(1, None), slice(None)), (slice(None, -1), slice(None)))
        if axis:
            first, last = first[::-1], last[::-1]
        found[first] |= here[last]
        found[last] |= here[first]
    return found


def line_through(places: npt.NDArray[np.float64], there: Mask) -> Iterator[tuple[Place, ...]]:
    """Offer lines along the places where parts touch, that leave the object at both ends: straight, and with a bend."""
    middle = places.mean(axis=0)
    spread = places - middle
    along = np.linalg.svd(spread, full_matrices=False)[2][0] if len(places) > 1 else np.array([0.0, 1.0])
    reach = spread @ along
    ends = [_out(middle + along * reach.max(), along, there), _out(middle + along * reach.min(), -along, there)]
    yield _points(ends)
    if len(places) >= 6:
        third = np.quantile(reach, (0.67, 0.33))
        bends = [places[np.abs(reach - at) <= 2].mean(axis=0) for at in third if (np.abs(reach - at) <= 2).any()]
        yield _points([ends[0], *bends, ends[1]])


def _out(start: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], there: Mask) -> npt.NDArray[np.float64]:
    """Go on until two pixels outside of the object, or to the edge of the image."""
    at, outside = start.copy(), 0
    while outside < 2:
        after = at + direction
        y, x = np.round(after).astype(int)
        if not (0 <= y < there.shape[0] and 0 <= x < there.shape[1]):
            break
        at = after
        outside = outside + 1 if not there[y, x] else 0
    return at


def _points(places: list[npt.NDArray[np.float64]]) -> tuple[Place, ...]:
    return tuple((float(round(y)), float(round(x))) for y, x in places)
