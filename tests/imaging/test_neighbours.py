"""Slices with their neighbours as channels."""

import numpy as np
import pytest
import torch

from napari_unet.imaging.neighbours import Neighbours

# channel 0 holds the number of the slice, channel 1 a hundred more
STACK = np.stack([np.arange(5), 100 + np.arange(5)])[:, :, None, None] * np.ones((2, 5, 3, 4))


def shown(z, count, depth=5):
    near = Neighbours.of(z, depth, count)
    return near, near.stacked(STACK[:, :depth][:, near.read])[:, :, 0, 0].T.tolist()


def test_channels_follow_each_other_slice_by_slice():
    near, found = shown(slice(2, 3), 3)
    assert near.read == slice(1, 4)
    assert found == [[1, 101, 2, 102, 3, 103]]
    assert near.own == slice(1, 2)


def test_the_nearest_slice_takes_the_place_of_a_missing_one():
    assert shown(slice(0, 5), 3)[1] == [
        [0, 100, 0, 100, 1, 101],
        [0, 100, 1, 101, 2, 102],
        [1, 101, 2, 102, 3, 103],
        [2, 102, 3, 103, 4, 104],
        [3, 103, 4, 104, 4, 104],
    ]
    near, found = shown(slice(0, 1), 5, depth=1)
    assert near.read == slice(0, 1)
    assert found == [[0, 100] * 5]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_no_more_is_read_than_is_shown(count):
    for start in range(50):
        near = Neighbours.of(slice(start, min(50, start + 2)), 50, count)
        assert near.read.start == max(0, start - count // 2)
        assert near.read.stop == min(50, start + 2 + count // 2)
        assert list(range(*near.read.indices(50))[near.own]) == list(range(start, min(50, start + 2)))


def test_slices_alone_are_not_copied():
    block = np.zeros((2, 3, 4, 5))
    assert Neighbours.of(slice(0, 3), 3, 1).stacked(block) is block


def test_tensors_are_stacked_like_arrays():
    near = Neighbours.of(slice(0, 3), 5, 3)
    block = STACK[:, near.read]
    assert np.array_equal(near.stacked(torch.from_numpy(block)).numpy(), near.stacked(block))
