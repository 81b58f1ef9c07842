"""What one fine-tuning has learnt from, no later one of its lineage is judged on; and the other way round."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from napari_unet.errors import LabelsError
from napari_unet.training.pairs import Field, Source
from napari_unet.training.planes import summed_up
from napari_unet.training.splitting import hold_out
from napari_unet.training.telling import tell_split
from napari_unet.weights.divisions import Division, near


def squares(shape, seed, side=8, step=12):
    """Squares on a grid, a little out of place, with numbers that are the same in all slices."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number, (y, x) in enumerate(np.ndindex(shape[-2] // step, shape[-1] // step), start=1):
        down, right = rng.integers(0, step - side + 3, 2)
        labels[..., y * step + down : y * step + down + side, x * step + right : x * step + right + side] = number
    return labels


@dataclass
class Picture:
    """An image (T, Z, Y, X) and what of it is reviewed so far."""

    name: str
    labels: np.ndarray
    marks: tuple = ()

    def __post_init__(self):
        self.reviewed = np.zeros(self.labels.shape, bool)

    def field(self, group, t, z, scale=1.0):
        """What `load_fields` makes of a slice."""
        grid = [max(1, round(n / scale)) for n in self.labels.shape[2:]]
        exact = [n / new for n, new in zip(self.labels.shape[2:], grid, strict=True)]
        rows, columns = (
            np.floor((np.arange(new) + 0.5) * one).astype(int) for new, one in zip(grid, exact, strict=True)
        )
        seen = self.reviewed[t, z][rows[:, None], columns]
        top, left = (int(np.argmax(seen.any(axis=axis))) for axis in (1, 0))
        labels, seen = (array[t, z][rows[top:, None], columns[left:]].copy() for array in (self.labels, self.reviewed))
        source = Source(self.labels.shape, self.marks, tuple(exact))
        empty = np.zeros_like(seen)
        image = np.zeros((1, *seen.shape), np.float32)
        return Field(image, labels, seen, empty, 1.0, (group, t, z), (top, left), self.name, source)


def fields_of(pictures, scale=1.0):
    return [
        picture.field(group, t, z, scale)
        for group, picture in enumerate(pictures)
        for t, z in np.ndindex(picture.labels.shape[:2])
        if picture.reviewed[t, z].any()
    ]


def places(picture, group, split, side):
    """Which pixels of an image are on a side of a split."""
    mask = np.zeros(picture.labels.shape, bool)
    for one in split.fields:
        if one.place[0] == group:
            own = getattr(one, side)
            rows, columns = (
                np.floor((np.arange(n) + first + 0.5) * step).astype(int)
                for n, first, step in zip(own.shape, one.origin, one.source.scale, strict=True)
            )
            y, x = np.nonzero(own)
            mask[one.place[1], one.place[2], rows[y], columns[x]] = True
    return mask


class Lineage:
    """Round after round, each from the model before; fails when a pixel changes sides."""

    def __init__(self, meaning="instances"):
        self.meaning, self.divisions, self.sides = meaning, (), {}

    def go(self, pictures, seed=0, scale=1.0, gap=10):
        fields = fields_of(pictures, scale)
        split = hold_out(fields, np.random.default_rng(seed), self.meaning, gap, self.divisions)
        again = hold_out(fields, np.random.default_rng(seed), self.meaning, gap, self.divisions)
        for one, other in zip(split.fields, again.fields, strict=True):
            assert np.array_equal(one.train, other.train)
            assert np.array_equal(one.validation, other.validation)
        assert split.held_out_px == sum(int(one.validation.sum()) for one in split.fields)
        # What travels in a file is what is remembered.
        self.divisions = tuple(Division.model_validate_json(one.model_dump_json()) for one in split.lineage)
        for group, picture in enumerate(pictures):
            now = {side: places(picture, group, split, side) for side in ("train", "validation")}
            before = self.sides.setdefault(id(picture), {side: np.zeros_like(mask) for side, mask in now.items()})
            assert not (now["train"] & now["validation"]).any()
            assert not (now["validation"] & before["train"]).any()
            assert not (now["train"] & before["validation"]).any()
            for side, mask in now.items():
                before[side] |= mask
        return split


def random_pictures(rng):
    shapes = [(1, 1, 96, 120), (1, 9, 60, 72), (4, 3, 60, 60), (1, 1, 150, 60)]
    count = int(rng.integers(1, 9))
    return [
        Picture(
            f"image {rng.integers(3)}" if rng.random() < 0.2 else f"picture {i}",
            squares(shapes[int(rng.integers(4))] if count < 5 else (1, 1, 72, 96), i),
            (f"mark {i}",),
        )
        for i in range(count)
    ]


def review_more(picture, rng):
    t, z, height, width = picture.labels.shape
    for _ in range(int(rng.integers(1, 4))):
        planes = (
            slice(a := int(rng.integers(t)), a + 1),
            slice(b := int(rng.integers(z)), b + int(rng.integers(1, 5))),
        )
        if rng.random() < 0.5:
            planes = (planes[0], slice(None)) if rng.random() < 0.5 else (slice(None), slice(None))
        y, x = int(rng.integers(height - 20)), int(rng.integers(width - 20))
        picture.reviewed[
            (*planes, slice(y, y + int(rng.integers(20, 100))), slice(x, x + int(rng.integers(20, 100))))
        ] = 1


@pytest.mark.parametrize("seed", range(60))
def test_no_pixel_changes_sides_while_more_is_reviewed(seed):
    rng = np.random.default_rng(seed)
    lineage = Lineage("semantic" if seed % 4 == 0 else "instances")
    pictures = random_pictures(rng)
    for number in range(4):
        known = pictures[: max(1, len(pictures) * (number + 1) // 4)]
        for picture in known:
            review_more(picture, rng)
        shown = [picture for picture in known if rng.random() < 0.8] or known
        scale = float(rng.choice([1.0, 1.0, 0.7, 1.6, 2.5]))
        lineage.go(shown, seed=int(rng.integers(5)), scale=scale, gap=int(rng.integers(8, 40)))


def reviewed(name, shape, seed=0, **where):
    picture = Picture(name, squares(shape, seed), (name,))
    picture.reviewed[tuple(where.get(axis, slice(None)) for axis in "tzyx")] = True
    return picture


def test_without_its_memory_a_model_would_be_judged_on_what_it_has_learnt():
    picture = reviewed("cells", (1, 1, 96, 120), x=slice(0, 60))
    first = hold_out(fields_of([picture]), np.random.default_rng(0))
    picture.reviewed[:] = True
    later = [hold_out(fields_of([picture]), np.random.default_rng(seed)) for seed in range(4)]
    learnt = places(picture, 0, first, "train")
    assert any((learnt & places(picture, 0, split, "validation")).any() for split in later)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_reviewed_later_in_an_image_is_mostly_learnt_from(seed):
    """A quarter stays held out, though the image grows far beyond the first cut."""
    picture, lineage = reviewed("cells", (1, 1, 96, 600), x=slice(200, 300)), Lineage()
    assert lineage.go([picture], seed).held_out_px
    picture.reviewed[:] = True
    split = lineage.go([picture], seed)
    learnt = sum(int(one.train.sum()) for one in split.fields)
    assert 0.15 < split.held_out_px / (split.held_out_px + learnt) < 0.35


def test_where_too_little_was_held_out_at_first_something_new_is_later():
    picture, lineage = reviewed("cells", (1, 1, 96, 200), y=slice(0, 40), x=slice(0, 40)), Lineage()
    assert not lineage.go([picture]).held_out_px
    picture.reviewed[:] = True
    assert lineage.go([picture]).held_out_objects >= 8


def test_of_new_images_about_a_fifth_is_held_out_and_the_old_ones_stay():
    pictures, lineage = [reviewed(f"image {i}", (1, 1, 60, 72), i) for i in range(20)], Lineage()
    for count, held in ((5, 1), (7, 1), (12, 2), (20, 4)):
        split = lineage.go(pictures[:count])
        assert len([one for one in split.fields if one.validation.any()]) == held


def test_new_slices_beside_those_that_were_learnt_from_are_not_held_out():
    stack, lineage = reviewed("stack", (1, 40, 60, 60), z=slice(0, 6)), Lineage("semantic")
    lineage.go([stack])
    stack.reviewed[:] = True
    split = lineage.go([stack], seed=1)
    held, learnt = (
        [one.place[2] for one in split.fields if getattr(one, side).any()] for side in ("validation", "train")
    )
    assert len(held) == 8
    assert min(abs(a - b) for a in held for b in learnt) >= 2


def test_an_object_that_was_learnt_from_is_not_judged_on_in_new_slices():
    stack, lineage = reviewed("stack", (1, 40, 60, 60), z=slice(0, 6)), Lineage()
    stack.labels[0, :6][stack.labels[0, :6] > 0] += 100  # others than in the slices to come
    stack.labels[0, :, 24:48, 24:48] = 999  # through all slices
    lineage.go([stack])
    stack.reviewed[:] = True
    split = lineage.go([stack], seed=1)
    new = [one for one in split.fields if one.validation.any() and one.place[2] > 6]
    assert new
    assert not any((one.labels[one.validation] == 999).any() for one in new)


def test_what_is_held_out_is_not_learnt_from_even_where_no_score_can_be_given():
    first, lineage = reviewed("cells", (1, 1, 60, 72)), Lineage("semantic")
    assert lineage.go([first]).held_out_px
    lineage.meaning = "instances"  # now 8 objects are needed
    first.labels[:] = 0
    split = lineage.go([first])
    assert not split.held_out_px
    assert not split.fields[0].validation.any()


def test_nothing_to_learn_from_is_said():
    picture, lineage = reviewed("cells", (1, 1, 96, 120)), Lineage()
    split = lineage.go([picture])
    held = places(picture, 0, split, "validation")
    picture.reviewed &= held
    with pytest.raises(LabelsError, match="held out when this model was fine-tuned before"):
        lineage.go([picture])


def test_an_image_is_known_by_its_pixels_whatever_it_is_called():
    """Scripts name images by their place in the list."""
    first, second = (reviewed(f"image {i}", (1, 1, 96, 120), i) for i in (1, 2))
    lineage = Lineage()
    lineage.go([first, second], seed=3)
    second.name = "image 1"
    for seed in range(4):
        lineage.go([second], seed)


def test_an_image_without_fingerprint_is_known_by_its_name():
    picture, lineage = reviewed("cells", (1, 1, 96, 120)), Lineage()
    picture.marks = ()
    for seed in range(4):
        lineage.go([picture], seed)


def test_thousands_of_planes_are_remembered_in_few_numbers():
    planes = [((t, t + 1), (z, z + 1)) for t in range(30) for z in range(0, 120, 3)]
    held = planes[500:700]
    learnt = [one for one in planes if not near(one, tuple(held))]
    blocks = summed_up(learnt, held)
    own = Division(name="", sizes=(30, 120, 8, 8), train_planes=blocks, held_planes=summed_up(held, blocks))
    assert len(own.model_dump_json()) < 500
    assert {own.role(one) for one in held} == {"held-out"}
    assert {own.role(one) for one in learnt} == {"train"}


@pytest.mark.parametrize("seed", range(20))
def test_planes_of_either_kind_keep_their_role_and_their_distance(seed):
    rng = np.random.default_rng(seed)
    roles = rng.choice(["train", "held-out", ""], (6, 12), p=[0.4, 0.2, 0.4])
    kinds = {
        name: [((int(t), int(t) + 1), (int(z), int(z) + 1)) for t, z in np.argwhere(roles == name)]
        for name in ("train", "held-out")
    }
    kinds["train"] = [one for one in kinds["train"] if not near(one, tuple(kinds["held-out"]))]
    learnt = summed_up(kinds["train"], kinds["held-out"])
    own = Division(name="", sizes=(6, 12, 8, 8), train_planes=learnt, held_planes=summed_up(kinds["held-out"], learnt))
    for name, planes in kinds.items():
        assert {own.role(one) for one in planes} <= {name}
    assert not any(near(block, own.held_planes) for block in own.train_planes)


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (
            [{"name": "cells", "shape": (1, 1, 96, 120)}],
            r"Held out: the (left|right) quarter of “cells”; \d+ objects\.",
        ),
        (
            [{"name": "cells", "shape": (1, 1, 96, 300), "x": slice(0, 120)}],
            r"Held out: the (left|right) quarter of what is reviewed in “cells”; \d+ objects\.",
        ),
        ([{"name": "stack", "shape": (1, 10, 60, 60)}], r"Held out: 2 of 10 slices of “stack”; 50 objects\."),
        ([{"name": "film", "shape": (10, 1, 60, 60)}], r"Held out: 2 of 10 time points of “film”; 50 objects\."),
        (
            [{"name": f"image {i}", "shape": (1, 1, 60, 60)} for i in range(9)],
            r"Held out: 2 of 9 images \(“image \d” and “image \d”\); 50 objects\.",
        ),
        ([{"name": "cells", "shape": (1, 1, 20, 20)}], r"No score: too little of what is reviewed could be held out\."),
    ],
)
def test_it_is_said_what_is_held_out(pictures, sentence):
    made = [reviewed(one.pop("name"), one.pop("shape"), **one) for one in map(dict, pictures)]
    for one in made:  # no object is seen in two slices
        planes = np.arange(one.labels.shape[0] * one.labels.shape[1], dtype=np.uint32)
        one.labels += np.where(one.labels > 0, 1000 * planes.reshape(*one.labels.shape[:2], 1, 1), 0).astype(np.uint32)
    told = tell_split(hold_out(fields_of(made), np.random.default_rng(0)), "instances")
    assert re.fullmatch(sentence, told.sentence)
    held = [
        places(one, i, hold_out(fields_of(made), np.random.default_rng(0)), "validation") for i, one in enumerate(made)
    ]
    for picture, mask in zip(made, held, strict=True):
        inside = np.zeros_like(mask)
        for name, window in told.regions:
            if name == picture.name:
                inside[tuple(slice(*span) for span in window)] = True
        assert not (mask & ~inside).any()
