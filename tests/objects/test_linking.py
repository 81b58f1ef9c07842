"""Overlaps and their pairing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_unet.objects.linking import find_overlaps, join_slices, match

planes = arrays(np.uint32, (8, 9), elements=st.integers(0, 4))


@given(planes, planes)
def test_overlaps_are_intersections_over_unions(a, b):
    found = find_overlaps(a, b)
    for i, j, iou, covered in zip(found.a, found.b, found.iou, found.covered, strict=True):
        shared = ((a == i) & (b == j)).sum()
        assert iou == shared / ((a == i) | (b == j)).sum()
        assert covered == shared / min((a == i).sum(), (b == j).sum())


@given(planes, planes, st.sampled_from([0.1, 0.5]))
def test_matching_is_one_to_one(a, b, least):
    found = find_overlaps(a, b)
    pairs = match(found, found.iou >= least)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum() >= least for i, j in pairs)


def test_a_division_goes_on_with_the_better_half():
    stack = np.zeros((2, 10, 30), np.uint32)
    stack[0, 2:8, 5:25] = 1
    stack[1, 2:8, 5:18], stack[1, 2:8, 19:25] = 2, 3
    assert join_slices(stack, 0.75) == 2
    assert stack[0, 4, 10] == stack[1, 4, 10] != stack[1, 4, 20] > 0


def test_an_empty_stack_stays_empty():
    stack = np.zeros((3, 4, 5), np.uint32)
    assert join_slices(stack, 0.75) == 0
    assert not stack.any()
