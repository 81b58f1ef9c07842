"""Outlines: filling them again gives the same labels, whatever their shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage as ndi

from napari_unet.errors import AxesError, LabelsError
from napari_unet.export.outlines import label_stack, outlines, trace
from napari_unet.imaging.foreign_labels.filling import area, fill

NOISE = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 3))


@st.composite
def blobs(draw):
    """Objects as they come: discs that touch and cut each other, with holes, and cut by the border."""
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    plane = np.zeros((height, width), np.int32)
    y, x = np.ogrid[:height, :width]
    for number in range(1, draw(st.integers(1, 6)) + 1):
        cy, cx = draw(st.integers(-3, height + 3)), draw(st.integers(-3, width + 3))
        radius, hole = draw(st.integers(0, 12)), draw(st.integers(-1, 5))
        distance = (y - cy) ** 2 + (x - cx) ** 2
        plane[(distance <= radius**2) & (distance > hole * abs(hole))] = number
    return plane


def filled(plane):
    """Fill the outlines of a plane; every piece is filled alone, and none may claim the pixels of another."""
    again = np.zeros_like(plane)
    for label, polygons in trace(plane):
        for polygon in polygons:
            box, inside = fill(polygon.rings, plane.shape)
            assert not again[box][inside].any()
            again[box][inside] = label
    return again


def rings_of(plane):
    return [ring for _, polygons in trace(plane) for polygon in polygons for ring in polygon.rings]


@given(NOISE)
def test_noise_comes_back(plane):
    np.testing.assert_array_equal(filled(plane), plane)


@given(blobs())
def test_blobs_come_back(plane):
    np.testing.assert_array_equal(filled(plane), plane)


@given(NOISE)
def test_no_ring_touches_itself_or_has_a_corner_that_is_none(plane):
    for ring in rings_of(plane):
        assert len(np.unique(ring, axis=0)) == len(ring)
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((steps != 0).argmax(axis=1) != np.roll((steps != 0).argmax(axis=1), 1)).all()


@given(NOISE)
def test_there_is_a_piece_for_each_group_of_pixels_that_share_sides(plane):
    for label, polygons in trace(plane):
        groups, count = ndi.label(plane == label)
        assert len(polygons) == count
        for polygon in polygons:
            box, inside = fill(polygon.rings, plane.shape)
            assert len(np.unique(groups[box][inside])) == 1
            assert inside.sum() == area(polygon.rings)


def test_a_pixel_is_a_square_between_corners():
    plane = np.zeros((8, 8), np.uint16)
    plane[5, 3] = 9
    ((label, (polygon,)),) = trace(plane)
    assert label == 9
    assert sorted(polygon.shell.tolist()) == [[3, 5], [3, 6], [4, 5], [4, 6]]


def test_shells_and_holes_turn_in_opposite_directions():
    plane = np.ones((5, 5), int)
    plane[2, 2] = 0
    ((_, (polygon,)),) = trace(plane)
    assert polygon.shell.tolist() == [[0, 0], [5, 0], [5, 5], [0, 5]]
    assert polygon.holes[0].tolist() == [[2, 2], [2, 3], [3, 3], [3, 2]]


def test_a_hole_belongs_to_the_piece_around_it():
    plane = np.zeros((9, 9), int)
    plane[:, :] = 1
    plane[1:8, 1:8] = 0
    plane[2:7, 2:7] = 1  # a ring within the hole of a ring
    plane[3:6, 3:6] = 0
    ((_, polygons),) = trace(plane)
    assert {area([polygon.shell]): [area([hole]) for hole in polygon.holes] for polygon in polygons} == {
        81: [49],
        25: [9],
    }


def test_planes_come_in_order_with_their_place():
    labels = np.zeros((2, 3, 4, 4), np.uint64)
    labels[0, 2, 1, 1] = 5
    labels[1, 0, 2, 2] = 2**63 + 1
    labels[1, 0, 0, 0] = 3
    assert [(o.t, o.z, o.label) for o in outlines(labels)] == [(0, 2, 5), (1, 0, 3), (1, 0, 2**63 + 1)]


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [((4, 5), None, (1, 1, 4, 5)), ((3, 4, 5), "TYX", (3, 1, 4, 5)), ((4, 5, 3), "YXZ", (1, 3, 4, 5))],
)
def test_any_axes_become_a_stack(shape, axes, expected):
    assert label_stack(np.ones(shape, int), axes).shape == expected


def test_what_has_no_outlines():
    with pytest.raises(LabelsError, match="whole numbers"):
        label_stack(np.zeros((4, 4)))
    with pytest.raises(AxesError, match="no channels"):
        label_stack(np.zeros((4, 4, 3), int), "YXC")
    with pytest.raises(LabelsError, match="empty"):
        label_stack(np.zeros((4, 4), int))
    with pytest.raises(LabelsError, match="dimensions"):
        list(outlines(np.zeros((4, 4), int)))
    assert list(trace(np.zeros((4, 4), int))) == []


def test_a_polygon_between_corners_holds_the_pixels_whose_centre_it_holds():
    triangle = np.array([[0.2, 0.2], [6.2, 0.2], [0.2, 6.2]])
    box, inside = fill([triangle], (5, 5))
    expected = np.add.outer(np.arange(5), np.arange(5)) + 1 <= 6.4
    np.testing.assert_array_equal(inside, expected[box])


def test_a_polygon_outside_of_the_image_holds_nothing():
    assert not fill([np.array([[90.0, 90], [99, 90], [99, 99]])], (5, 5))[1].any()
    assert fill([np.array([[-9.0, -9], [99, -9], [99, 99], [-9, 99]])], (5, 5))[1].all()


def test_corners_must_be_numbers():
    with pytest.raises(LabelsError, match="no numbers"):
        fill([np.array([[np.nan, 0.0], [1, 0], [1, 1]])], (5, 5))
