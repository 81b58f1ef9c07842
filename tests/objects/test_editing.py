"""Edits of objects: what changes, what stays, and that far-away pixels are not even looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError
from napari_unet.objects.editing import reaching
from napari_unet.objects.editing.between import copy_to, interpolate
from napari_unet.objects.editing.changes import find_object, slices
from napari_unet.objects.editing.dividing import crossed, split_by_line, split_by_seeds
from napari_unet.objects.editing.index import ObjectIndex
from napari_unet.objects.editing.joining import delete, merge, rename
from napari_unet.objects.editing.shaping import reshape


def disk(shape, centre, radius):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2


def scene(*disks, shape=(200, 300)):
    labels = np.zeros(shape, np.uint32)
    for number, (centre, radius) in enumerate(disks, start=1):
        labels[disk(shape, centre, radius)] = number
    return labels


def done(labels, changes):
    after = labels.copy()
    for change in changes:
        after[slices(change.box)] = change.values
    return after


def boxes(labels):
    found = ndi.find_objects(labels.astype(int))
    return {n: tuple((p.start, p.stop) for p in place) for n, place in enumerate(found, start=1) if place}


class Watched:
    """An array that counts the pixels that are read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += np.size(part)
        return part


@given(st.integers(0, 4000))
def test_an_object_is_found_whole(seed):
    rng = np.random.default_rng(seed)
    noise = ndi.gaussian_filter(rng.normal(size=(120, 260)), rng.uniform(2, 9))
    labels, _ = ndi.label(noise > 0)
    y, x = rng.integers(0, 120), rng.integers(0, 260)
    if not labels[y, x]:
        with pytest.raises(LabelsError, match="no object here"):
            find_object(labels, (y, x))
        return
    number, box = find_object(labels, (y, x))
    assert number == labels[y, x]
    assert box == boxes(labels)[number]


def test_finding_an_object_reads_only_around_it():
    labels = Watched(np.zeros((8000, 8000), np.uint16))
    labels.array[4000:4040, 4000:4020] = 7
    assert find_object(labels, (4005, 4010)) == (7, ((4000, 4040), (4000, 4020)))
    assert labels.read < 200**2


def test_merging_gives_all_the_first_id():
    labels = scene(((50, 50), 20), ((50, 85), 20), ((150, 200), 20))
    after = done(labels, merge(labels, boxes(labels), [3, 1, 2]))
    assert np.array_equal(after, np.where(labels > 0, 3, 0))
    assert done(labels, merge(labels, boxes(labels), [2])).tolist() == labels.tolist()


def test_deleting_leaves_the_others():
    labels = scene(((50, 50), 20), ((50, 85), 20), ((150, 200), 20))
    changes = delete(labels, boxes(labels), [1, 3])
    assert np.array_equal(done(labels, changes), np.where(labels == 2, 2, 0))
    assert sum(change.values.size for change in changes) < 2 * 41 * 41 + 1


@given(st.integers(0, 500))
def test_renaming_follows_the_mapping(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, (12, 14)).astype(np.uint16)
    names = {int(n): int(rng.integers(0, 8)) for n in rng.choice(np.arange(1, 6), 3, replace=False)}
    expected = labels.copy()
    for number, name in names.items():
        expected[labels == number] = name
    assert np.array_equal(done(labels, rename(labels, boxes(labels), names)), expected)


def test_a_line_cuts_an_object_in_two():
    labels = scene(((80, 100), 30), ((80, 170), 30))
    number, box = find_object(labels, (80, 100))
    after = done(labels, split_by_line(labels, number, box, [(20, 90), (140, 95)], iter([9])))
    assert np.array_equal(after > 0, labels > 0)
    assert np.array_equal(after == 2, labels == 2)
    sizes = np.bincount(after.ravel())
    assert sizes[1] > sizes[9] > 0.3 * sizes[1]
    assert after[80, 75] == 9
    assert after[80, 115] == 1


@pytest.mark.parametrize("line", [[(30, 60), (110, 150)], [(110, 60), (30, 150)], [(40, 100), (81, 101), (120, 90)]])
def test_slanted_lines_cut_too(line):
    labels = scene(((80, 100), 30))
    after = done(labels, split_by_line(labels, 1, find_object(labels, (80, 100))[1], line, iter([5])))
    assert sorted(np.unique(after)) == [0, 1, 5]
    for number in (1, 5):
        assert ndi.label(after == number)[1] == 1


def test_a_line_that_does_not_reach_through_cuts_nothing():
    labels = scene(((80, 100), 30))
    with pytest.raises(LabelsError, match="from one side"):
        split_by_line(labels, 1, find_object(labels, (80, 100))[1], [(80, 95), (80, 105)], iter([5]))


def test_a_line_in_one_slice_cuts_a_volume():
    labels = scene(((15, 40, 40), 14), shape=(30, 80, 80))
    after = done(
        labels, split_by_line(labels, 1, find_object(labels, (15, 40, 40))[1], [(15, 10, 40), (15, 70, 40)], iter([2]))
    )
    for z in (4, 15, 26):
        assert after[z, 40, 36] != after[z, 40, 44] > 0


def test_seeds_divide_touching_disks_at_the_neck():
    labels = np.where(disk((120, 200), (60, 70), 30) | disk((120, 200), (60, 120), 30), 4, 0).astype(np.uint8)
    number, box = find_object(labels, (60, 70))
    after = done(labels, split_by_seeds(labels, number, box, [(60, 70), (60, 120)], iter([5])))
    assert np.array_equal(after > 0, labels > 0)
    assert abs(int((after == 4).sum()) - int((after == 5).sum())) < 100
    assert after[60, 60] == 4
    assert after[60, 130] == 5


def test_seeds_follow_the_border_that_the_network_saw():
    labels = np.ones((60, 100), np.uint16)
    border = np.zeros((60, 100), np.float32)
    border[:, 70] = 100
    after = done(labels, split_by_seeds(labels, 1, ((0, 60), (0, 100)), [(30, 10), (30, 90)], iter([2]), border))
    assert (after[:, :70] == 1).all()
    assert (after[:, 71:] == 2).all()


@pytest.mark.parametrize("most_px", [20_000, 700])
def test_seeds_beside_the_middle_divide_at_the_neck(most_px, monkeypatch):
    monkeypatch.setattr(reaching, "MOST_PX", most_px)
    labels = ((scene(((50, 40), 25)) > 0) | (scene(((50, 78), 25)) > 0)).astype(np.uint16)
    box = boxes(labels)[1]
    after = done(labels, split_by_seeds(labels, 1, box, [(60, 30), (40, 90)], iter([2])))
    assert np.array_equal(after > 0, labels > 0)
    wrong = (after == 1)[:, 62:].sum() + (after == 2)[:, :57].sum()
    assert wrong < 0.01 * (labels > 0).sum()


def test_steps_of_the_image_pull_the_cut_to_them():
    labels = np.ones((40, 60), np.uint16)
    image = np.where(np.arange(60) < 25, 10.0, 200.0)[None, None].repeat(40, axis=1)
    border = 20 * reaching.edges(image)
    after = done(labels, split_by_seeds(labels, 1, ((0, 40), (0, 60)), [(20, 14), (20, 44)], iter([2]), border))
    assert (after[15:25, :24] == 1).all()
    assert (after[15:25, 27:] == 2).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_do_not_keep_an_object_whole(bad):
    labels = np.ones((40, 60), np.uint16)
    image = np.where(np.arange(60) < 25, 10.0, 200.0)[None, None].repeat(40, axis=1)
    image[0, 20, 30] = bad
    seeds, box = [(20, 14), (20, 44)], ((0, 40), (0, 60))
    for border in (20 * reaching.edges(image), image[0] / 10):  # the second one as a network may give it
        after = done(labels, split_by_seeds(labels, 1, box, seeds, iter([2]), border))
        assert (after[15:25, :20] == 1).all()
        assert (after[15:25, 40:] == 2).all()


def test_one_seed_divides_nothing():
    labels = scene(((80, 100), 30))
    with pytest.raises(LabelsError, match="Two seeds"):
        split_by_seeds(labels, 1, find_object(labels, (80, 100))[1], [(80, 100), (5, 5)], iter([2]))


def test_objects_crossed_by_a_line_are_found_in_order():
    labels = scene(((50, 150), 20), ((50, 50), 20), ((150, 100), 20))
    assert list(crossed(labels, [(50, 0), (50, 299)])) == [2, 1]
    assert list(crossed(labels, [(50, 50), (150, 100), (-20, 400)])) == [2, 3]


def test_growing_stops_at_other_objects_and_at_the_border():
    labels = scene(((20, 10), 15), ((20, 45), 15))
    after = done(labels, reshape(labels, 1, boxes(labels)[1], "grow", 8))
    assert np.array_equal(after == 2, labels == 2)
    near = ndi.distance_transform_edt(labels != 1) <= 8
    assert np.array_equal(after == 1, near & (labels != 2))


def test_shrinking_undoes_growing_of_a_disk():
    labels = scene(((80, 100), 25))
    larger = done(labels, reshape(labels, 1, boxes(labels)[1], "grow", 5))
    back = done(larger, reshape(larger, 1, boxes(larger)[1], "shrink", 5))
    assert np.mean((back > 0) != (labels > 0)) < 0.001


def test_an_object_at_the_border_does_not_shrink_from_it():
    labels = np.zeros((50, 50), np.uint16)
    labels[:, :20] = 3
    after = done(labels, reshape(labels, 3, ((0, 50), (0, 20)), "shrink", 4))
    assert np.array_equal(after > 0, np.arange(50)[None] < np.full((50, 1), 16))


@pytest.mark.parametrize(("how", "spacing"), [("grow", (np.inf, 1, 1)), ("keep largest", (np.inf, 1, 1))])
def test_time_points_are_changed_each_by_itself(how, spacing):
    plane = scene(((30, 30), 10), shape=(60, 90))
    plane[10:14, 70:74] = 1
    labels = np.stack([np.zeros_like(plane), plane, plane[:, ::-1], np.zeros_like(plane)])
    after = done(labels, reshape(labels, 1, boxes(labels)[1], how, 1, spacing))
    assert not after[[0, 3]].any()
    for at in (1, 2):
        alone = done(labels[at], reshape(labels[at], 1, boxes(labels[at])[1], how))
        assert np.array_equal(after[at], alone)


def test_nothing_grows_where_the_object_is_no_more():
    labels = scene(((30, 30), 10), shape=(60, 90))
    assert reshape(labels, 7, ((10, 40), (10, 40)), "grow") == []


def test_an_object_that_fills_the_image_does_not_shrink():
    labels = np.ones((20, 30), np.uint16)
    assert reshape(labels, 1, ((0, 20), (0, 30)), "shrink", 2) == []


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_all_types_of_labels(dtype):
    labels = scene(((30, 30), 10), ((30, 60), 10), shape=(60, 90)).astype(dtype)
    top = np.iinfo(dtype).max
    labels[labels == 2] = top
    found = {number: find_object(labels, at)[1] for number, at in ((1, (30, 30)), (int(top), (30, 60)))}
    merged = done(labels, merge(labels, found, [int(top), 1]))
    assert np.array_equal(merged, np.where(labels > 0, dtype(top), dtype(0)))
    index = ObjectIndex(labels)
    list(index.build())
    assert dict(index.boxes()) == found
    grown = done(labels, reshape(labels, int(top), found[int(top)], "grow"))
    assert ((grown == top) & (labels == 0)).any()
    assert grown.dtype == dtype


def test_holes_are_filled_but_not_with_other_objects():
    labels = scene(((80, 100), 40))
    labels[70:75, 90:95] = 0
    labels[85:90, 100:105] = 7
    after = done(labels, reshape(labels, 1, boxes(labels)[1], "fill holes"))
    assert (after[70:75, 90:95] == 1).all()
    assert (after[85:90, 100:105] == 7).all()


def test_the_largest_piece_is_kept():
    labels = scene(((80, 100), 30))
    labels[5:9, 5:9] = 1
    after = done(labels, reshape(labels, 1, ((0, 200), (0, 300)), "keep largest"))
    assert not after[5:9, 5:9].any()
    assert after[80, 100] == 1


def test_smoothing_takes_off_spikes():
    labels = scene(((80, 100), 30))
    labels[80, 130:150] = 1
    after = done(labels, reshape(labels, 1, boxes(labels)[1], "smooth", 2))
    assert not after[80, 138:].any()
    assert np.mean((after > 0) != disk(labels.shape, (80, 100), 30)) < 0.01


def test_smoothing_removes_no_speck():
    labels = np.zeros((20, 20), np.uint16)
    labels[9, 9:12] = 4
    assert not reshape(labels, 4, boxes(labels)[4], "smooth")


def test_slices_between_two_are_interpolated():
    labels = np.zeros((9, 100, 140), np.uint16)
    labels[1][disk((100, 140), (40, 40), 10)] = 6
    labels[7][disk((100, 140), (60, 90), 22)] = 6
    labels[4, 30:70, 60:64] = 2
    after = done(labels, interpolate(labels, 6, boxes(labels)[6]))
    assert np.array_equal(after == 2, labels == 2)
    sizes = [(after[z] == 6).sum() for z in range(1, 8)]
    assert sizes == sorted(sizes) or min(np.diff(sizes)) > -170  # less what belongs to the other object
    centre = ndi.center_of_mass((after[4] == 6) | (after[4] == 2))
    assert np.abs(np.array(centre) - (50, 65)).max() < 4
    assert not after[[0, 8]].any()


def test_nothing_to_interpolate_is_said():
    labels = np.zeros((3, 20, 20), np.uint16)
    labels[0:2, 5:9, 5:9] = 1
    with pytest.raises(LabelsError, match="nothing to interpolate"):
        interpolate(labels, 1, ((0, 2), (5, 9), (5, 9)))


def test_an_object_is_copied_to_the_next_slice():
    labels = np.zeros((3, 50, 50), np.uint16)
    labels[0, 10:30, 10:30] = 5
    labels[1, 20:40, 20:40] = 8
    after = done(labels, copy_to(labels, 5, 0, 1))
    assert (after[1, 10:20, 10:30] == 5).all()
    assert (after[1, 20:40, 20:40] == 8).all()
    with pytest.raises(LabelsError, match="last one"):
        copy_to(labels, 5, 0, 3)


@given(st.integers(0, 300))
def test_the_index_knows_where_objects_are(seed):
    rng = np.random.default_rng(seed)
    labels = scene(*[((rng.integers(0, 200), rng.integers(0, 300)), rng.integers(2, 30)) for _ in range(9)])
    index = ObjectIndex(labels)
    for _ in index.build():
        pass
    assert index.complete
    assert index.boxes() == boxes(labels)
    box = tuple(sorted(int(i) for i in rng.integers(0, n, 2)) for n in labels.shape)
    labels[slices(box)] = 50
    index.update([tuple(map(tuple, box))])
    for number, true in boxes(labels).items():
        known = index.box(number)
        assert all(i <= k and m <= j for (i, j), (k, m) in zip(known, true, strict=True))
        assert index.tighten(number) == true
    assert index.highest == max(index.boxes(), default=0)


def test_an_object_that_is_gone_is_forgotten():
    labels = scene(((50, 50), 20))
    index = ObjectIndex(labels)
    list(index.build())
    labels[...] = 0
    assert index.tighten(1) is None
    assert index.box(1) is None
