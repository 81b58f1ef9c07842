"""Held-out corrections: what a new model is judged on is never trained on, in no fine-tuning of its lineage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.training.pairs import Field
from napari_unet.training.planes import divide_planes, planes_of, summed_up
from napari_unet.training.strips import (
    GAP_PX,
    HELD_OUT_OF_ONE,
    Strips,
    box_of,
    divide,
    first_strip,
    freest_axis,
    gap_of,
    ids_of,
    learnt_spans,
    more_strips,
)
from napari_unet.weights.divisions import Division, Planes, near
from napari_unet.weights.spec import Meaning

# Of so many images whole ones are held out: how a model does on other images is what matters, and parts of images that
# it has learnt from do not tell it.
MANY_IMAGES = 3
# Of so many slices or time points of fewer images whole ones are.
MANY_PLANES = 5
HELD_OUT = 0.2
# So many ways are tried to hold out enough, but not most of what could be learnt.
DRAWS = 4
MIN_PX = 1000
# With fewer, chance is larger than anything that a fine-tuning changes.
MIN_OBJECTS = 8
MOST_MARKS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Fields with train and validation regions.

    Attributes
    ----------
    fields : tuple of Field
    held_out_px, held_out_objects : int
        Size of the validation region; both 0 if there are too few labels to judge by. An object
        that is seen in several slices counts once; classes have no objects to count.
    divisions : tuple of Division
        Of the images of the fields, in their order.
    lineage : tuple of Division
        What a model that is trained on it must remember: of each image that it or an ancestor has seen.
    """

    fields: tuple[Field, ...]
    held_out_px: int
    held_out_objects: int
    divisions: tuple[Division, ...] = ()
    lineage: tuple[Division, ...] = ()


def hold_out(
    fields: Sequence[Field],
    rng: np.random.Generator,
    meaning: Meaning = "instances",
    gap_px: int = GAP_PX,
    earlier: Sequence[Division] = (),
    slices: int = 1,
) -> Split:
    """Hold out a part of the reviewed pixels; what was held out or trained on before keeps its role.

    From three images on a fifth of them is held out whole, and at least one (of three or four with objects the one that
    leaves most of these to learn from). Of fewer images with five slices or time points or more it is a fifth of these,
    in a row; those next to them, and what other slices show of their objects, belong to neither side.
    Of less, and where nothing whole can be spared, a quarter of each image is held out, a strip at one end of what is
    reviewed through all slices and time points: pixels near the strip, and objects that it divides, belong to neither
    side. No more objects, or pixels of classes, are newly held out than are left to learn from. With fewer than 1000
    pixels, or 8 objects, held out a score would mean nothing: then all is trained on that was not held out before.

    Of images that the model or an ancestor has seen, the same planes and strips are held out again. More is held out
    of what is new, where the held-out share would fall.

    Parameters
    ----------
    fields : sequence of Field
        With nothing held out yet.
    rng : numpy Generator
        Chooses the images or planes, or the side of the cut.
    meaning : "instances" | "semantic"
        Whether equal labels are one object.
    gap_px : int
        Distance from a strip to what is trained on: as far as the network sees, so that it has seen nothing of what it
        is judged on; at least 8 pixels, and at most an eighth of what is reviewed, so that enough is left.
    earlier : sequence of Division
        What the model remembers; see `Split.lineage`.
    slices : int
        That the network is shown at once: between slices that are held out and those that are trained on lie half as
        many, at least one.

    Raises
    ------
    LabelsError
        If all that is reviewed was held out before.
    """
    instances = meaning == "instances"
    images = _images(fields, earlier)
    gap = _Gap(gap_px, max(1, slices // 2))

    def carried_out(plan: _Plan) -> Split:
        split = _divided(fields, images, plan, gap, instances=instances)
        divisions = tuple(_noted(image, plan.strips.get(i), plan.chosen, split) for i, image in enumerate(images))
        objects = _count(split, "validation") if instances else 0
        pixels = sum(int(one.validation.sum()) for one in split)
        return Split(tuple(split), pixels, objects, divisions, _lineage(images, divisions, earlier))

    split = carried_out(_as_before(images))
    few = instances and MANY_IMAGES <= len(images) < MANY_IMAGES + 2
    for whole in (True, False):
        tried = (carried_out(plan) for plan in _plans(images, rng, gap, whole=whole))
        fair = (one for one in tried if _is_fair(one, split, instances))
        best = max(fair, key=lambda one: _left(one, instances), default=None) if few and whole else next(fair, None)
        if best is not None:
            return best
    if _suffices(split, instances):
        return split
    if not any(one.train.any() for one in split.fields):
        raise LabelsError(
            "All that is reviewed was held out when this model was fine-tuned before, and what is held out is never "
            "learned from. Review more, outside of what is held out, and start again."
        )
    # A score on so little would mean nothing; all the same it stays held out.
    unjudged = [replace(one, validation=np.zeros_like(one.validation)) for one in split.fields]
    return replace(split, fields=tuple(unjudged), held_out_px=0, held_out_objects=0)


def _suffices(split: Split, instances: bool) -> bool:
    """Whether enough is held out for a score, and something left to learn from."""
    enough = split.held_out_px >= MIN_PX and (split.held_out_objects >= MIN_OBJECTS or not instances)
    return enough and any(one.train.any() for one in split.fields)


def _is_fair(split: Split, before: Split, instances: bool) -> bool:
    """Whether enough is held out, and no more of it newly than is left to learn from."""
    held, old = (one.held_out_objects if instances else one.held_out_px for one in (split, before))
    return _suffices(split, instances) and held - old <= _left(split, instances)


def _left(split: Split, instances: bool) -> int:
    """Count the objects, or pixels of classes, that are left to learn from."""
    return _count(split.fields, "train") if instances else sum(int(one.train.sum()) for one in split.fields)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The fields of one image, and how it was divided before."""

    members: tuple[int, ...]
    fields: tuple[Field, ...]
    division: Division

    @property
    def planes(self) -> dict[Planes, list[int]]:
        """Where its fields lie, each place once, with their numbers."""
        found: dict[Planes, list[int]] = {}
        for i, one in zip(self.members, self.fields, strict=True):
            found.setdefault(planes_of(one), []).append(i)
        return found

    @property
    def strips(self) -> Strips | None:
        axis = self.division.axis
        return None if axis is None else Strips("YX".index(axis), self.division.held_spans)

    @property
    def fresh(self) -> bool:
        """Whether nobody has used it yet."""
        return self.division.axis is None and not self.division.held_planes and self.division.box is None

    @property
    def all_learnt(self) -> bool:
        """Whether it was learnt from, and nothing of it has been held out."""
        return self.division.axis is None and not self.division.held_planes and self.division.box is not None


@dataclass(frozen=True, slots=True)
class _Gap:
    """Between what is held out and what is trained on: pixels beside strips, and slices or time points."""

    pixels: int
    planes: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is held out: strips of images, by their number, and fields, by theirs."""

    strips: dict[int, Strips]
    chosen: frozenset[int] = frozenset()


def _images(fields: Sequence[Field], earlier: Sequence[Division]) -> list[_Seen]:
    members: dict[int, list[int]] = {}
    for i, one in enumerate(fields):
        members.setdefault(one.place[0], []).append(i)
    images = []
    for places in members.values():
        own = tuple(fields[i] for i in places)
        marks = tuple(dict.fromkeys(mark for one in own for mark in one.source.marks))
        new = Division(name=own[0].name, sizes=own[0].source.sizes, marks=marks)
        old = _known(new, earlier)
        images.append(_Seen(tuple(places), own, new if old is None else old))
    return images


def _known(image: Division, earlier: Sequence[Division]) -> Division | None:
    """Return what is remembered of an image: it is known again by its pixels, or else by its name and sizes."""
    for one in earlier:
        if set(one.marks) & set(image.marks):
            return one
    for one in earlier:
        if (one.name, one.sizes) == (image.name, image.sizes) and not (one.marks and image.marks):
            return one
    return None


def _as_before(images: Sequence[_Seen]) -> _Plan:
    """Hold out nothing but what was before."""
    return _Plan({i: strips for i, image in enumerate(images) if (strips := image.strips) is not None})


def _plans(images: Sequence[_Seen], rng: np.random.Generator, gap: _Gap, *, whole: bool) -> Iterator[_Plan]:
    """Decide what else is held out, in several ways in random order: whole images or planes if `whole`, or strips."""
    by_image = len(images) >= MANY_IMAGES and any(image.fresh for image in images)
    if whole and len(images) < MANY_IMAGES and sum(len(image.planes) for image in images) < MANY_PLANES:
        return
    units, wanted = _units(images, gap.planes, fresh=whole, by_image=by_image), _wanted(images, by_image=by_image)
    starts = rng.permutation(max(1, len(units)))
    known: list[_Plan] = []
    for draw in range(DRAWS):
        strips = _as_before(images).strips
        for i, old in strips.items():
            seen = images[i].fields
            strips[i] = more_strips(seen, old, images[i].division.train_spans, gap_of(seen, old.axis, gap.pixels), rng)
        first = int(starts[draw % len(starts)])
        chosen = frozenset().union(*[*units[first:], *units[:first]][: round(wanted)])
        for i, image in enumerate(images):
            fresh = image.fresh and not whole and (wanted > 0 or not by_image)
            if fresh or (image.all_learnt and wanted > 0 and not chosen):
                cut = _cut(image, gap.pixels, rng)
                strips |= {} if cut is None else {i: cut}
        plan = _Plan(strips, chosen)
        if plan not in known:
            known.append(plan)
            yield plan


def _wanted(images: Sequence[_Seen], *, by_image: bool) -> float:
    """How many more images, or planes, should be held out; at least one where nothing is yet."""
    total = held = 0.0
    for image in images:
        roles = [image.division.role(planes) for planes in image.planes]
        count = 1 if by_image else len(roles)
        total += count
        held += count * (roles.count("held-out") / len(roles) if image.strips is None else HELD_OUT_OF_ONE)
    wanted = max(0.0, HELD_OUT * total - held)
    return wanted if held else max(1.0, wanted)


def _units(images: Sequence[_Seen], gap: int, *, fresh: bool, by_image: bool) -> list[frozenset[int]]:
    """List what can be held out, as numbers of fields: images that nobody has used yet, or planes.

    No planes that show the next slice of what was learnt from, and of images that nobody has used only if `fresh`.
    """
    units = []
    for image in images:
        if by_image and image.fresh and fresh:
            units.append(frozenset(image.members))
        elif not by_image and image.strips is None and (fresh or not image.fresh):
            units += [
                frozenset(members)
                for planes, members in sorted(image.planes.items())
                if image.division.role(planes) is None and not near(planes, image.division.train_planes, gap)
            ]
    return units


def _cut(image: _Seen, gap_px: int, rng: np.random.Generator) -> Strips | None:
    """Divide an image into strips of which nothing was held out before; None if there is nothing to hold out."""
    box = image.division.box
    if box is None:
        return first_strip(image.fields, rng)
    axis = freest_axis(image.fields, box)
    cut = more_strips(image.fields, Strips(axis, ()), [box[axis]], gap_of(image.fields, axis, gap_px), rng)
    return cut if cut.held else None


def _divided(
    fields: Sequence[Field], images: Sequence[_Seen], plan: _Plan, gap: _Gap, *, instances: bool
) -> list[Field]:
    split = list(fields)
    for i, image in enumerate(images):
        strips = plan.strips.get(i)
        if strips is None:
            chosen = {k for k, member in enumerate(image.members) if member in plan.chosen}
            after = divide_planes(image.fields, image.division, chosen, gap.planes, instances=instances)
        else:
            beside = gap_of(image.fields, strips.axis, gap.pixels)
            after = divide(image.fields, strips, beside, instances=instances)
        for member, one in zip(image.members, after, strict=True):
            split[member] = one
    return split


def _noted(image: _Seen, strips: Strips | None, chosen: frozenset[int], split: Sequence[Field]) -> Division:
    """Return how an image is divided now."""
    old, after = image.division, [split[i] for i in image.members]
    marks = tuple(dict.fromkeys((*old.marks, *(mark for one in after for mark in one.source.marks))))
    own = {"name": after[0].name, "sizes": after[0].source.sizes, "marks": marks[:MOST_MARKS]}
    if strips is not None:
        learnt = old.train_spans if old.box is None else (old.box[strips.axis],)
        return Division(
            **own,
            axis="Y" if strips.axis == 0 else "X",
            train_spans=learnt_spans(after, strips, learnt),
            held_spans=strips.held,
        )
    held = [*old.held_planes, *(planes_of(split[i]) for i in image.members if i in chosen)]
    trained = [*old.train_planes, *(planes_of(one) for one in after if one.train.any())]
    train_planes = summed_up(trained, held)
    return Division(
        **own,
        train_planes=train_planes,
        held_planes=summed_up(held, train_planes),
        box=None if held else box_of(after, old.box),
    )


def _lineage(
    images: Sequence[_Seen], divisions: Sequence[Division], earlier: Sequence[Division]
) -> tuple[Division, ...]:
    """Return what has been noted before, with what is new."""
    noted = list(earlier)
    for image, division in zip(images, divisions, strict=True):
        place = next((i for i, one in enumerate(noted) if one is image.division), None)
        if place is None:
            noted.append(division)
        else:
            noted[place] = division
    return tuple(noted)


def _count(fields: Sequence[Field], side: Literal["train", "validation"]) -> int:
    """Count the objects on one side; one that is seen in several slices counts once."""
    return len({(one.place[0], int(i)) for one in fields for i in ids_of(one, getattr(one, side))})
