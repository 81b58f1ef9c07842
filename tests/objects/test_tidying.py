"""All objects of a label image put in order at once."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.objects.editing.tidying import TidyOptions, tidy


@pytest.fixture
def labels():
    """A ring with a crumb, a neighbour, and an object at the border."""
    plane = np.zeros((20, 30), "uint16")
    plane[4:11, 4:11] = 7
    plane[6:9, 6:9] = 0
    plane[14, 4] = 7
    plane[4:11, 12:16] = 300
    plane[12:16, 26:] = 9
    return plane[None, None]


def test_nothing_changes_by_default(labels):
    before = labels.copy()
    after = tidy(labels, TidyOptions())
    np.testing.assert_array_equal(after, before)
    assert after.dtype == before.dtype
    assert after is not labels


def test_outlines_are_changed_in_order_and_never_over_others(labels):
    after = tidy(labels, TidyOptions(fill_holes=True, keep_largest=True, grow_px=2))[0, 0]
    assert (after[4:11, 4:11] == 7).all()
    assert after[14, 4] == 0
    assert after[7, 2] == 7
    assert (after[4:11, 12:16] == 300).all()
    assert after[7, 11:18].tolist() == [7, 300, 300, 300, 300, 300, 300]
    assert not labels[0, 0, 6:9, 6:9].any()  # those that were given stay


def test_objects_are_removed_by_size_and_place(labels):
    def left(**options):
        return np.unique(tidy(labels, TidyOptions(**options))).tolist()

    assert left(min_size_px=20) == [0, 7, 300]
    assert left(max_size_px=30) == [0, 9, 300]
    assert left(no_border=True) == [0, 7, 300]
    assert left(no_border=True, renumber=True) == [0, 1, 2]


def test_each_time_point_is_for_itself_and_numbers_stay_those_of_a_track(labels):
    movie = np.concatenate([labels, labels])
    movie[1][movie[1] == 300] = 0
    movie[1, 0, 6, 13:15] = 300
    after = tidy(movie, TidyOptions(min_size_px=5, renumber=True))
    assert [np.unique(one).tolist() for one in after] == [[0, 1, 2, 3], [0, 1, 2]]
    np.testing.assert_array_equal(after[0] == 1, after[1] == 1)


def test_voxels_may_be_longer_than_wide():
    volume = np.zeros((1, 7, 11, 11), "uint8")
    volume[0, 3, 5, 5] = 1
    after = tidy(volume, TidyOptions(grow_px=2), (2.0, 1.0, 1.0))
    assert np.flatnonzero(after[0, :, 5, 5]).tolist() == [2, 3, 4]
    assert np.flatnonzero(after[0, 3, :, 5]).tolist() == [3, 4, 5, 6, 7]


def test_other_arrays_are_refused(labels):
    with pytest.raises(nu.NapariUnetError, match=r"\(T, Z, Y, X\) of integers"):
        tidy(labels[0], TidyOptions())
