"""Labels that are spoiled on purpose: each way does what it says, and leaves alone what it is given."""

import numpy as np
import pytest
from scipy import ndimage as ndi

annotator = pytest.importorskip("benchmarks.annotation.annotator")
damage = pytest.importorskip("benchmarks.annotation.damage")
images = pytest.importorskip("benchmarks.annotation.images")


def squares(side=12, pitch=24, count=3):
    """Squares in the cells of a grid."""
    labels = np.zeros((pitch * count, pitch * count), np.uint32)
    for number, (y, x) in enumerate(np.ndindex(count, count), start=1):
        labels[pitch * y + 6 : pitch * y + 6 + side, pitch * x + 6 : pitch * x + 6 + side] = number
    return labels


def sample(name, labels=None):
    """Bright objects, but the ninth is hardly seen."""
    labels = squares() if labels is None else labels
    noise = np.random.default_rng(0).integers(0, 30, labels.shape)
    return images.Sample(name, (np.isin(labels, (0, 9), invert=True) * 150 + noise).astype(np.uint8), labels)


def count(labels):
    return int((np.unique(labels) > 0).sum())


def test_merged_objects_are_pairs_of_neighbours_in_one_piece():
    labels = squares()
    merged = damage.merged(labels)
    assert count(merged) == 5  # four pairs and one that is left alone
    assert np.all(merged[labels > 0] > 0)
    for number in np.unique(merged[merged > 0]):
        assert ndi.label(merged == number, np.ones((3, 3)))[1] == 1
        before = np.unique(labels[(merged == number) & (labels > 0)])
        assert 1 <= len(before) <= 2


def test_objects_far_apart_are_not_merged():
    far = squares(side=4, pitch=60, count=2)
    assert np.array_equal(damage.merged(far), far)


@pytest.mark.parametrize("radius", [3, 4])
def test_eroded_and_dilated_objects_have_moved_outlines_and_the_same_names(radius):
    labels = squares()
    eroded, dilated = damage.eroded(labels, radius), damage.dilated(labels, radius)
    assert np.array_equal(np.unique(eroded), np.unique(labels))
    assert np.sum(eroded == 5) == (12 - 2 * radius) ** 2
    assert np.all((eroded == labels)[eroded > 0])
    assert np.ptp(np.nonzero(dilated == 5)[0]) + 1 == 12 + 2 * radius
    assert np.array_equal(dilated[labels > 0], labels[labels > 0])


def test_touching_objects_part_when_eroded_and_small_ones_vanish():
    labels = np.zeros((30, 30), np.uint32)
    labels[2:28, 2:15], labels[2:28, 15:26] = 1, 2
    labels[0:2, 0:2] = 3
    eroded = damage.eroded(labels, 3)
    assert not eroded[:, 12:18].any()
    assert set(np.unique(eroded)) == {0, 1, 2}


@pytest.mark.parametrize("offset", [(6, 0), (0, -6), (-4, 4), (100, 0)])
def test_shifted_objects_have_moved_and_nothing_comes_in_at_the_other_side(offset):
    labels = squares()
    shifted = damage.shifted(labels, offset)
    for (y, x), number in np.ndenumerate(labels):
        to = (y + offset[0], x + offset[1])
        if all(0 <= place < size for place, size in zip(to, labels.shape, strict=True)):
            assert shifted[to] == number
    assert np.sum(shifted > 0) <= np.sum(labels > 0)


def test_a_third_is_missing_and_the_rest_is_untouched():
    labels = squares()
    found = damage.without_a_third(labels, np.random.default_rng(0))
    assert count(found) == 6
    assert np.array_equal(found[found > 0], labels[found > 0])


def test_labels_of_another_image_fit_whatever_its_shape():
    labels = np.zeros((50, 100), np.uint32)
    other = squares()  # 72 x 72
    found = damage.of_another(labels, other)
    assert found.shape == labels.shape
    assert np.array_equal(found[:, :72] > 0, other[:50] > 0)
    assert count(found[:, 72:]) > 0
    assert not np.intersect1d(found[:, :68][found[:, :68] > 0], found[:, 72:]).size


def test_a_threshold_finds_what_is_bright_with_touching_objects_in_one():
    labels = np.zeros((40, 40), np.uint32)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[30:31, 30:31] = 1, 2, 3
    found = damage.thresholded(sample("a", labels))
    assert np.array_equal(found > 0, labels > 0)
    assert count(found) == 2


@pytest.mark.parametrize("how", ["good", *damage.DAMAGES])
def test_damage_changes_labels_alone_and_not_those_that_it_is_given(how):
    samples = [sample("a", np.roll(squares(), 3, 0)), sample("b"), sample("c")]
    corrected = annotator.correct(samples, 2, "window-32", seed=1)
    before = [c.sample.labels.copy() for c in corrected]
    spoiled = damage.damage(corrected, how, samples, seed=5)
    again = damage.damage(corrected, how, samples, seed=5)
    for c, labels, s, a in zip(corrected, before, spoiled, again, strict=True):
        assert np.array_equal(c.sample.labels, labels)
        assert s.sample.pixels is c.sample.pixels
        assert s.reviewed is c.reviewed
        assert s.sample.labels.dtype == labels.dtype
        assert np.array_equal(s.sample.labels, a.sample.labels)
    if how != "good":
        assert any(not np.array_equal(s.sample.labels, labels) for s, labels in zip(spoiled, before, strict=True))


def test_shifts_are_of_six_pixels_the_same_way_in_all_images():
    samples = [sample(name) for name in "abc"]
    for seed in range(5):
        spoiled = damage.damage(annotator.correct(samples, 3, "whole", 0), "shifted", samples, seed)
        ways = {
            tuple(np.mean(np.nonzero(s.sample.labels == 5), axis=1) - np.mean(np.nonzero(squares() == 5), axis=1))
            for s in spoiled
        }
        assert len(ways) == 1
        assert 5 <= np.linalg.norm(ways.pop()) <= 7
