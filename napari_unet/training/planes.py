"""An image divided by whole planes: slices or time points to learn from, and others that are held out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_unet.training.pairs import Field
from napari_unet.training.strips import ids_of
from napari_unet.weights.divisions import Division, Planes, near


def planes_of(field: Field) -> Planes:
    """Return where along T and Z a field lies."""
    _, t, z = field.place
    depth = 1 if field.train.ndim == 2 else field.train.shape[0]
    return ((t, t + 1), (z, z + depth))


def divide_planes(
    fields: Sequence[Field], division: Division, chosen: Collection[int], gap: int = 1, *, instances: bool
) -> list[Field]:
    """Hold out planes of one image: those that were before, and those that are chosen now.

    Planes next to those belong to neither side, nor do objects in other planes that the planes held out show, too. An
    object that was learnt from before is not among those to judge by in the planes that are chosen now.

    Parameters
    ----------
    fields : sequence of Field
        Of one image.
    division : Division
        How that image was divided before.
    chosen : collection of int
        Which fields are held out from now on.
    gap : int
        How many planes next to those belong to neither side.
    instances : bool
        Whether equal labels are one object.
    """
    roles = [division.role(planes_of(field)) for field in fields]
    held = {i for i, role in enumerate(roles) if role == "held-out" or i in chosen}
    around = tuple(_runs([*division.held_planes, *(planes_of(fields[i]) for i in held)]))
    seen = _ids(fields, held) if instances else np.empty(0, np.uint32)
    known = _ids(fields, [i for i, role in enumerate(roles) if role == "train"] if instances and chosen else [])
    split = []
    for i, field in enumerate(fields):
        nothing = np.zeros_like(field.train)
        if i in held:
            judged = field.train & ~np.isin(field.labels, known) if i in chosen else field.train
            split.append(replace(field, train=nothing, validation=judged))
        elif near(planes_of(field), around, gap):
            split.append(replace(field, train=nothing))
        elif len(seen):
            split.append(replace(field, train=field.train & ~np.isin(field.labels, seen)))
        else:
            split.append(field)
    return split


def _ids(fields: Sequence[Field], chosen: Collection[int]) -> npt.NDArray[np.uint32]:
    """Return the ids of all objects that some fields show."""
    found = [ids_of(fields[i], fields[i].train) for i in chosen]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint32)


def summed_up(planes: Sequence[Planes], others: Sequence[Planes]) -> tuple[Planes, ...]:
    """Describe planes by few blocks of them, which may hold planes that nobody has used yet.

    No block holds any of the others, or one that is next to them: so that thousands of planes are a few numbers, and
    what is new between planes of one kind will be of that kind.

    >>> summed_up([((0, 1), (z, z + 1)) for z in (0, 1, 5, 9)], [((0, 1), (7, 8))])
    (((0, 1), (0, 6)), ((0, 1), (9, 10)))
    """
    blocks: list[Planes] = []
    apart = tuple(_runs(others))
    for one in _runs(planes):
        for i in range(len(blocks) - 1, -1, -1):
            (a, b), (c, d) = (
                (min(mine[0], its[0]), max(mine[1], its[1])) for mine, its in zip(one, blocks[i], strict=True)
            )
            if not near(((a, b), (c, d)), apart):
                blocks[i] = ((a, b), (c, d))
                break
        else:
            blocks.append(one)
    return tuple(sorted(blocks))


def _runs(planes: Sequence[Planes]) -> list[Planes]:
    """Join planes that follow each other along Z, and then along T."""
    joined = sorted(set(planes))
    for axis in (1, 0):
        waiting, joined = sorted(joined, key=lambda one: (one[1 - axis], one[axis])), []
        for one in waiting:
            last = joined[-1] if joined else None
            if last is not None and last[1 - axis] == one[1 - axis] and last[axis][1] == one[axis][0]:
                span = (last[axis][0], one[axis][1])
                joined[-1] = (last[0], span) if axis else (span, last[1])
            else:
                joined.append(one)
    return sorted(joined)
