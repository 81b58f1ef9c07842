"""An image divided into strips along Y or X: some to learn from, others held out.

All places are pixels of the image, whatever the scale that the network sees it at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from napari_unet.training.pairs import Bools, Field
from napari_unet.weights.divisions import Span

HELD_OUT_OF_ONE = 0.25
# With less of the reviewed pixels held out, a further strip of what is new is.
TOO_LITTLE = 0.15
GAP_PX = 8
MOST_GAP = 1 / 8
MOST_SPANS = 16


@dataclass(frozen=True, slots=True)
class Strips:
    """Strips of one image that are held out, along Y (axis 0) or X (axis 1)."""

    axis: int
    held: tuple[Span, ...]


def first_strip(fields: Sequence[Field], rng: np.random.Generator) -> Strips | None:
    """Hold out the last quarter of the reviewed pixels of one image, or the first, along the longer side of their box.

    None if nothing is reviewed.
    """
    weights = [_reviewed_pixels(fields, axis)[0] for axis in (0, 1)]
    places = [np.flatnonzero(line) for line in weights]
    if not len(places[0]):
        return None
    axis = int(np.argmax([np.ptp(seen) for seen in places]))
    run = int(places[axis][0]), int(places[axis][-1]) + 1
    wanted = HELD_OUT_OF_ONE * float(weights[axis].sum())
    return Strips(axis, (_end_of(run, weights[axis], wanted, bool(rng.integers(2))),))


def more_strips(
    fields: Sequence[Field], strips: Strips, learnt: Sequence[Span], gap_px: int, rng: np.random.Generator
) -> Strips:
    """Hold out a further strip where nothing was learnt from, if less than it should be is held out.

    Parameters
    ----------
    fields : sequence of Field
        Of one image.
    strips : Strips
        Those that are held out.
    learnt : sequence of (start, stop)
        What was learnt from.
    gap_px : int
        Distance that is kept from it; see `gap_of`.
    rng : numpy Generator
        Chooses the end of a region that a strip is taken from.
    """
    weights, covered = _reviewed_pixels(fields, strips.axis)
    held = mask_of(strips.held, len(weights))
    total, inside = weights.sum(), weights[held].sum()
    if inside >= TOO_LITTLE * total:
        return strips
    reach = gap_px * fields[0].source.scale[strips.axis]
    free = covered & ~held & (_distance(np.arange(len(weights)), learnt) >= reach)
    runs = spans_of(free)
    if not runs:
        return strips
    run = max(runs, key=lambda span: weights[slice(*span)].sum())
    new = _end_of(run, weights, HELD_OUT_OF_ONE * total - inside, _from_start(run, strips.held, learnt, rng))
    return Strips(strips.axis, joined((*strips.held, new)))


def freest_axis(fields: Sequence[Field], box: tuple[Span, Span]) -> int:
    """Return the axis along which most reviewed pixels lie beyond a box; 0 is Y."""
    beyond = []
    for axis in (0, 1):
        weights, _ = _reviewed_pixels(fields, axis)
        beyond.append(weights[~mask_of((box[axis],), len(weights))].sum())
    return int(np.argmax(beyond))


def gap_of(fields: Sequence[Field], axis: int, gap_px: int) -> int:
    """Return the gap in pixels of the network's grid: at least 8, at most an eighth of what is reviewed."""
    places = _reviewed_places(fields, axis)
    span = float(np.ptp(places)) / fields[0].source.scale[axis] if len(places) else 0.0
    return max(GAP_PX, min(gap_px, round(MOST_GAP * span)))


def divide(fields: Sequence[Field], strips: Strips, gap_px: int, *, instances: bool) -> list[Field]:
    """Hold strips out of all fields of an image; pixels near them and objects that they divide are on neither side.

    Nothing is learnt either from what is unreviewed there.
    """
    axis = strips.axis
    across = [_along(field, axis, places_of(field, axis)) for field in fields]
    inside = [_distance(places, strips.held) == 0 for places in across]
    divided = _divided(fields, inside) if instances else np.empty(0, np.uint32)
    split = []
    for field, places, held in zip(fields, across, inside, strict=True):
        kept = field.train & ~np.isin(field.labels, divided)
        apart = _distance(places, strips.held) >= gap_px * field.source.scale[axis]
        unreviewed = None if field.unreviewed is None else field.unreviewed & apart
        split.append(replace(field, train=kept & apart, validation=kept & held, unreviewed=unreviewed))
    return split


def learnt_spans(fields: Sequence[Field], strips: Strips, earlier: Sequence[Span]) -> tuple[Span, ...]:
    """Return spans along the axis of some strips that hold all that is trained on, and all that was before.

    Small distances between spans are filled, and as many more as it takes for 16 spans, but never across what is held
    out.
    """
    places = _reviewed_places(fields, strips.axis)
    size = fields[0].source.sizes[2 + strips.axis]
    size = max([size, *(stop for _, stop in earlier), int(places.max(initial=0)) + 1])
    trained = mask_of(earlier, size)
    trained[places] = True
    spans = list(spans_of(trained))
    held = mask_of(strips.held, size)
    near = GAP_PX * fields[0].source.scale[strips.axis]
    gaps = sorted((b[0] - a[1], a[1], b[0]) for a, b in pairwise(spans))
    count = len(spans)
    for width, start, stop in gaps:
        if (width <= near or count > MOST_SPANS) and not held[start:stop].any():
            trained[start:stop] = True
            count -= 1
    return spans_of(trained)


def box_of(fields: Sequence[Field], earlier: tuple[Span, Span] | None) -> tuple[Span, Span] | None:
    """Return the box in Y and X that holds all that is trained on, and an earlier box; None if there is nothing."""
    spans = []
    for axis in (0, 1):
        places = _reviewed_places(fields, axis)
        if not len(places):
            return earlier
        own = (int(places.min()), int(places.max()) + 1)
        spans.append(own if earlier is None else (min(own[0], earlier[axis][0]), max(own[1], earlier[axis][1])))
    return (spans[0], spans[1])


def places_of(field: Field, axis: int) -> npt.NDArray[np.intp]:
    """Return the pixels of the image that the rows (axis 0) or columns (axis 1) of a field lie in."""
    inside = np.arange(field.train.shape[axis - 2]) + field.origin[axis]
    places: npt.NDArray[np.intp] = np.floor((inside + 0.5) * field.source.scale[axis]).astype(np.intp)
    return places


def spans_of(mask: Bools) -> tuple[Span, ...]:
    """Return the runs of True in a line.

    >>> import numpy as np
    >>> spans_of(np.array([True, False, True, True]))
    ((0, 1), (2, 4))
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return tuple((int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True))


def mask_of(spans: Sequence[Span], size: int) -> Bools:
    """Return a line of `size` that is True in the spans."""
    mask = np.zeros(size, bool)
    for start, stop in spans:
        mask[start:stop] = True
    return mask


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Join spans that touch or overlap.

    >>> joined([(5, 8), (0, 3), (3, 4)])
    ((0, 4), (5, 8))
    """
    return spans_of(mask_of(spans, max((stop for _, stop in spans), default=0)))


def _reviewed_places(fields: Sequence[Field], axis: int) -> npt.NDArray[np.intp]:
    """Rows or columns of the image that hold pixels to train on."""
    return np.concatenate([places_of(field, axis)[_profile(field, axis) > 0] for field in fields])


def _profile(field: Field, axis: int) -> npt.NDArray[np.intp]:
    """How many pixels to train on lie in each row or column of a field."""
    others = tuple(dim for dim in range(field.train.ndim) if dim != field.train.ndim + axis - 2)
    counts: npt.NDArray[np.intp] = field.train.sum(axis=others)
    return counts


def _reviewed_pixels(fields: Sequence[Field], axis: int) -> tuple[npt.NDArray[np.float64], Bools]:
    """How many reviewed pixels lie in each row or column of the image; and the rows or columns that they cover."""
    size = max(fields[0].source.sizes[2 + axis], *(int(places_of(field, axis)[-1]) + 1 for field in fields), 1)
    weights, covered = np.zeros(size), np.zeros(size, bool)
    width = int(np.ceil(fields[0].source.scale[axis]))
    for field in fields:
        counts, places = _profile(field, axis), places_of(field, axis)
        np.add.at(weights, places, counts)
        for step in range(width):
            covered[np.minimum(places[counts > 0] + step, size - 1)] = True
    return weights, covered


def _from_start(run: Span, held: Sequence[Span], learnt: Sequence[Span], rng: np.random.Generator) -> bool:
    """Whether a strip is taken from the start of a run: beside what is held out, or else away from what was learnt."""
    if any(stop == run[0] for _, stop in held) or any(start == run[1] for start, _ in held):
        return any(stop == run[0] for _, stop in held)
    before, after = any(stop <= run[0] for _, stop in learnt), any(start >= run[1] for start, _ in learnt)
    return bool(rng.integers(2)) if before == after else after


def _end_of(run: Span, weights: npt.NDArray[np.float64], wanted: float, from_start: bool) -> Span:
    """Return as much of one end of a run as holds the wanted weight."""
    inside = weights[slice(*run)]
    ordered = np.cumsum(inside if from_start else inside[::-1])
    count = min(int(np.searchsorted(ordered, wanted)) + 1, len(inside))
    return (run[0], run[0] + count) if from_start else (run[1] - count, run[1])


def _along(field: Field, axis: int, values: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Give a value for each row or column a shape that broadcasts with the field."""
    shape = [1] * field.train.ndim
    shape[axis - 2] = -1
    return values.reshape(shape)


def _distance(places: npt.NDArray[np.intp], spans: Sequence[Span]) -> npt.NDArray[np.float64]:
    """Distance of places from the nearest place in any span; 0 inside."""
    nearest = np.full(places.shape, np.inf)
    for start, stop in spans:
        nearest = np.minimum(nearest, np.maximum(np.maximum(start - places, places - (stop - 1)), 0))
    return nearest


def _divided(fields: Sequence[Field], inside: Sequence[Bools]) -> npt.NDArray[np.uint32]:
    """Ids of objects that lie inside and outside, in whatever slices."""
    within, without = (
        np.concatenate(
            [ids_of(f, f.train & (held if wanted else ~held)) for f, held in zip(fields, inside, strict=True)]
        )
        for wanted in (True, False)
    )
    return np.intersect1d(within, without)


def ids_of(field: Field, where: Bools) -> npt.NDArray[np.uint32]:
    """Return the ids of the objects in a part of a field."""
    labels = field.labels[where]
    if labels.max(initial=0) < labels.size:  # several times as fast
        found: npt.NDArray[np.uint32] = np.flatnonzero(np.bincount(labels)).astype(np.uint32)
    else:
        found = np.unique(labels)
    return found[found > 0]
