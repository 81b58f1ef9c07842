"""What is held out is never trained on."""

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.training.pairs import Field
from napari_unet.training.splitting import GAP_PX, hold_out


def field(shape=(120, 160), objects=48, reviewed=None, within=None):
    """Squares at random places, or all within so many columns at the left."""
    labels = np.zeros(shape, np.uint32)
    rng = np.random.default_rng(0)
    for number in range(1, objects + 1):
        y, x = (int(rng.integers(0, size - 14)) for size in (shape[0], within or shape[1]))
        labels[y : y + 12, x : x + 12] = number
    train = np.ones(shape, bool) if reviewed is None else reviewed
    return Field(
        np.zeros((1, *shape), np.float32),
        labels,
        train=train,
        validation=np.zeros(shape, bool),
    )


def objects_learnt(split):
    return sum(len(np.setdiff1d(one.labels[one.train], 0)) for one in split.fields)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 23])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_train_and_validation_never_overlap(count, seed):
    fields = [replace(field(), place=(i, 0, 0)) for i in range(count)]
    split = hold_out(fields, np.random.default_rng(seed))
    assert split.held_out_px == sum(int(f.validation.sum()) for f in split.fields) > 0
    for before, after in zip(fields, split.fields, strict=True):
        assert not (after.train & after.validation).any()
        assert not ((after.train | after.validation) & ~before.train).any()


@pytest.mark.parametrize("seed", range(6))
def test_one_field_is_cut_with_a_gap_and_no_object_on_both_sides(seed):
    split = hold_out([field()], np.random.default_rng(seed))
    (after,) = split.fields
    shared = set(np.unique(after.labels[after.train])) & set(np.unique(after.labels[after.validation]))
    assert shared <= {0}
    train, validation = (np.nonzero(mask)[1] for mask in (after.train, after.validation))
    gap = max(validation.min() - train.max(), train.min() - validation.max())
    assert gap >= GAP_PX
    assert 0.1 < split.held_out_px / after.labels.size < 0.3


def test_what_the_network_sees_of_the_held_out_part_is_not_trained_on():
    wide = field((100, 800), objects=60)
    for gap, expected in ((60, 60), (300, 100), (0, GAP_PX)):  # at most an eighth of what is reviewed
        (after,) = hold_out([wide], np.random.default_rng(0), gap_px=gap).fields
        train, validation = (np.nonzero(mask)[1] for mask in (after.train, after.validation))
        between = max(validation.min() - train.max(), train.min() - validation.max())
        assert expected <= between <= expected + 14  # an object that is cut belongs to neither side


@pytest.mark.parametrize("seed", range(6))
def test_neighbouring_slices_are_cut_at_the_same_place(seed):
    fields = [replace(field(), place=(0, 0, z), origin=(0, 10 * z)) for z in range(2)]
    split = hold_out(fields, np.random.default_rng(seed))
    columns = [[set(np.nonzero(mask)[1] + f.origin[1]) for mask in (f.train, f.validation)] for f in split.fields]
    assert not columns[0][0] & columns[1][1]
    assert not columns[1][0] & columns[0][1]


def test_classes_are_no_objects():
    """A class lies on both sides of the cut, and is no reason to hold nothing out."""
    labelled = replace(field(), labels=(field().labels > 0).astype(np.uint32))
    split = hold_out([labelled], np.random.default_rng(0), "semantic")
    assert split.held_out_px > 3000
    (after,) = split.fields
    assert (after.labels[after.validation] == 1).any()
    assert (after.labels[after.train] == 1).any()


def test_objects_of_held_out_slices_are_not_trained_on_in_others():
    tall = field()  # the same objects, under the same ids, in each slice
    fields = [replace(tall, place=(0, 0, 10 * z)) for z in range(6)]
    split = hold_out(fields, np.random.default_rng(0))
    held = {int(i) for f in split.fields for i in np.unique(f.labels[f.validation])} - {0}
    trained = {int(i) for f in split.fields for i in np.unique(f.labels[f.train])} - {0}
    assert held
    assert not held & trained
    assert split.held_out_objects == len(held)


def test_of_many_fields_a_fifth_is_held_out_whole():
    split = hold_out([replace(field(), place=(i, 0, 0)) for i in range(20)], np.random.default_rng(0))
    held = [f for f in split.fields if f.validation.any()]
    assert len(held) == 4
    assert all(f.validation.all() and not f.train.any() for f in held)


@pytest.mark.parametrize("count", [3, 4])
def test_of_a_few_images_one_is_held_out_whole(count):
    held = set()
    for seed in range(24):
        fields = [replace(field(), place=(i, 0, 0)) for i in range(count)]
        split = hold_out(fields, np.random.default_rng(seed))
        (one,) = [i for i, f in enumerate(split.fields) if f.validation.any()]
        assert split.fields[one].validation.all()
        assert all(f.train.all() for i, f in enumerate(split.fields) if i != one)
        held.add(one)
    assert held == set(range(count))  # by chance, and not always the same


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ((48, 3, 48), (0, 2)),  # three objects tell nothing
        ((48, 16, 48), (1,)),  # little is lost without it
        ((5, 5, 12, 40), (2,)),  # the only one
    ],
)
def test_of_a_few_images_one_is_held_out_that_has_enough_objects_and_not_most(objects, expected):
    for seed in range(24):
        fields = [replace(field(objects=n), place=(i, 0, 0)) for i, n in enumerate(objects)]
        split = hold_out(fields, np.random.default_rng(seed))
        (held,) = [i for i, one in enumerate(split.fields) if one.validation.any()]
        assert held in expected
        assert sum(bool(one.train.any()) for one in split.fields) == len(objects) - 1


@pytest.mark.parametrize("objects", [(5, 48, 5), (4, 4, 4, 4, 60), (5, 5, 40, 5, 5, 5)])
def test_the_only_image_full_of_objects_is_not_held_out_whole(objects):
    for seed in range(12):
        fields = [replace(field(objects=n), place=(i, 0, 0)) for i, n in enumerate(objects)]
        split = hold_out(fields, np.random.default_rng(seed))
        assert split.held_out_objects >= 8
        assert objects_learnt(split) >= split.held_out_objects


@pytest.mark.parametrize("objects", [(12,), (5, 40, 5)])
def test_no_strip_is_held_out_that_leaves_nothing_to_learn_from(objects):
    fields = [replace(field(objects=n, within=40), place=(i, 0, 0)) for i, n in enumerate(objects)]
    for seed in range(8):
        split = hold_out(fields, np.random.default_rng(seed))
        assert objects_learnt(split) >= max(8, split.held_out_objects)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_held_out_before_is_no_reason_to_hold_out_more(seed):
    first = [replace(field(), place=(i, 0, 0), name=f"image {i}") for i in range(5)]
    before = hold_out(first, np.random.default_rng(seed))
    (held,) = [one for one in before.fields if one.validation.any()]
    old = next(one for one in first if one.name == held.name)
    new = [replace(field(objects=15), place=(i, 0, 0), name=f"image {i}") for i in (7, 8)]
    after = hold_out([old, *new], np.random.default_rng(seed), earlier=before.lineage)
    assert [bool(one.validation.any()) for one in after.fields] == [True, False, False]
    assert all(one.train.all() for one in after.fields[1:])


def test_of_new_slices_of_a_known_stack_a_fifth_is_held_out():
    first = [replace(field(objects=2), place=(i, 0, 0), name=f"stack {i}") for i in range(3)]
    before = hold_out(first, np.random.default_rng(0))
    assert before.held_out_px == 0
    more = [replace(one, name="stack 0") for one in stacks(22)[2:]]
    for seed in range(6):
        after = hold_out([*first, *more], np.random.default_rng(seed), earlier=before.lineage)
        assert 3 <= sum(one.validation.any() for one in after.fields) <= 5
        assert after.held_out_objects < 300


def test_two_layers_of_a_slice_are_held_out_together():
    fields = stacks(6)
    half = np.zeros(fields[0].train.shape, bool)
    half[:60] = True
    layers = [replace(one, train=half if first else ~half) for first in (True, False) for one in fields]
    for seed in range(8):
        split = hold_out(layers, np.random.default_rng(seed))
        upper, lower = (
            {one.place for one in part if one.validation.any()} for part in (split.fields[:6], split.fields[6:])
        )
        assert upper == lower
        assert len(upper) == 1


def stacks(*depths):
    """Fields of stacks; objects have a number of their own in each slice."""
    return [
        replace(field(), labels=field().labels + np.uint32(100 * z) * (field().labels > 0), place=(i, 0, z))
        for i, depth in enumerate(depths)
        for z in range(depth)
    ]


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ((10, 10, 10), [{0}, {1}, {2}]),
        ((1, 1, 2), [{0}, {1}]),  # that leaves most to learn from
        ((1, 1, 1, 1, 30), [{0}, {1}, {2}, {3}]),  # not most of all objects
    ],
)
def test_of_several_stacks_one_is_held_out_with_all_its_slices(depths, expected):
    for seed in range(8):
        split = hold_out(stacks(*depths), np.random.default_rng(seed))
        held, learnt = (
            {f.place[0] for f in split.fields if getattr(f, side).any()} for side in ("validation", "train")
        )
        assert held in expected
        assert learnt == set(range(len(depths))) - held


def test_objects_that_are_the_same_at_all_time_points_are_divided_by_a_strip():
    film = [replace(field(), place=(0, t, 0)) for t in range(6)]
    split = hold_out(film, np.random.default_rng(0))
    assert split.held_out_objects >= 8
    for one in split.fields:
        assert one.validation.any()
        assert (one.labels[one.train] > 0).any()


def test_slices_next_to_held_out_ones_are_not_trained_on():
    fields = [replace(field(), place=(0, 0, z), labels=field().labels + 100 * np.uint32(z)) for z in range(20)]
    for seed in range(5):
        split = hold_out(fields, np.random.default_rng(seed))
        held = [f.place[2] for f in split.fields if f.validation.any()]
        trained = [f.place[2] for f in split.fields if f.train.any()]
        assert len(held) == 4
        assert len(trained) >= 13
        assert min(abs(a - b) for a in held for b in trained) >= 2


def test_too_little_is_not_judged_but_all_trained_on():
    reviewed = np.zeros((120, 160), bool)
    reviewed[:30, :40] = True
    split = hold_out([field(reviewed=reviewed)], np.random.default_rng(0))
    assert (split.held_out_px, split.held_out_objects) == (0, 0)
    assert split.fields[0].train.sum() == 1200
