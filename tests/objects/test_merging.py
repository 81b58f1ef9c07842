"""Predicting again never touches what was reviewed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_unet.objects.merging import merge_prediction

SHAPE = (1, 2, 12, 12)
labels = arrays(np.uint32, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 3, 9, 40]))


@given(labels, labels, arrays(bool, SHAPE))
def test_reviewed_pixels_and_objects_that_touch_them_stay(correction, predicted, reviewed):
    merged = merge_prediction(correction, predicted, reviewed).labels
    assert (merged[reviewed] == correction[reviewed]).all()
    for number in np.unique(correction[reviewed]):
        if number:
            assert ((merged == number) == (correction == number)).all()


@given(labels, labels, arrays(bool, SHAPE))
def test_new_ids_do_not_collide_and_the_rest_is_replaced(correction, predicted, reviewed):
    result = merge_prediction(correction, predicted, reviewed)
    kept = set(np.unique(correction[reviewed])) - {0}
    fixed = reviewed | np.isin(correction, sorted(kept))
    new = set(np.unique(result.labels[~fixed])) - {0}
    assert not new & kept
    assert (result.kept, len(new)) == (len(kept), result.new) or result.new >= len(new)
    for number in new:  # each comes from one predicted object
        assert len(np.unique(predicted[(result.labels == number) & ~fixed])) == 1


def test_an_object_that_is_found_again_keeps_its_id():
    correction = np.zeros((1, 1, 30, 30), np.uint32)
    correction[0, 0, 2:10, 2:10], correction[0, 0, 20:28, 20:28] = 17, 5
    predicted = np.zeros_like(correction)
    predicted[0, 0, 20:28, 19:28], predicted[0, 0, 2:10, 2:10], predicted[0, 0, 2:10, 20:28] = 1, 2, 3
    merged = merge_prediction(correction, predicted, np.zeros(correction.shape, bool)).labels
    assert (merged[0, 0, 2:10, 2:10] == 17).all()
    assert (merged[0, 0, 20:28, 19:28] == 5).all()
    assert merged[0, 0, 5, 25] not in (0, 5, 17)


def test_nothing_reviewed_takes_the_prediction():
    predicted = np.zeros(SHAPE, np.uint32)
    predicted[0, 0, 2:5, 2:5], predicted[0, 1, 6:9, 6:9] = 7, 300
    correction = np.full(SHAPE, 4, np.uint32)
    result = merge_prediction(correction, predicted, np.zeros(SHAPE, bool))
    assert ((result.labels > 0) == (predicted > 0)).all()
    assert (result.kept, result.new) == (0, 2)


def test_an_object_found_again_is_not_doubled_by_its_rim():
    correction = np.zeros((1, 1, 30, 30), np.uint32)
    correction[0, 0, 10:20, 10:20] = 5
    predicted = np.zeros_like(correction)
    predicted[0, 0, 9:21, 9:21] = 1  # the same, one pixel larger
    predicted[0, 0, 2:6, 2:6] = 2
    reviewed = np.zeros(correction.shape, bool)
    reviewed[0, 0, 12, 12] = True
    merged = merge_prediction(correction, predicted, reviewed).labels
    assert sorted(np.unique(merged)) == [0, 1, 5]
    assert (merged[0, 0, 2:6, 2:6] == 1).all()
    assert (merged == 5).sum() == 100


def test_huge_ids_need_no_huge_memory():
    correction = np.zeros((1, 1, 20, 20), np.uint32)
    correction[0, 0, :5, :5], correction[0, 0, 10:, 10:] = 4_000_000_000, 4_000_000_001
    reviewed = correction == 4_000_000_000
    merged = merge_prediction(correction, np.zeros_like(correction), reviewed).labels
    assert np.array_equal(merged > 0, reviewed)


def test_reviewed_background_stays_background():
    predicted = np.zeros((1, 1, 20, 20), np.uint32)
    predicted[0, 0, 5:15, 5:15] = 1
    reviewed = np.zeros(predicted.shape, np.uint8)
    reviewed[0, 0, :, :8] = 1
    merged = merge_prediction(np.zeros_like(predicted), predicted, reviewed).labels
    assert (merged[0, 0, :, :8] == 0).all()
    assert (merged[0, 0, 5:15, 8:15] > 0).all()


def test_classes_are_replaced_outside_the_reviewed_region_only():
    correction, predicted = np.full(SHAPE, 2, np.uint32), np.full(SHAPE, 1, np.uint32)
    reviewed = np.zeros(SHAPE, bool)
    reviewed[0, 0, :3] = True
    merged = merge_prediction(correction, predicted, reviewed, "semantic").labels
    assert ((merged == 2) == reviewed).all()
