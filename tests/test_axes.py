"""Axes and pixel sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.axes import CANONICAL, PixelSize, check_axes, default_axes, describe, sizes, without
from napari_unet.errors import AxesError

AXES = st.sets(st.sampled_from("TCZ")).flatmap(lambda others: st.permutations(sorted(others | {"Y", "X"}))).map("".join)


@given(AXES)
def test_every_order_of_known_letters_is_accepted_in_any_case(axes):
    assert check_axes(f" {axes.lower()} ", len(axes)) == axes


@given(st.text("TCZYXSIQ", max_size=6), st.integers(0, 6))
def test_axes_are_accepted_exactly_when_they_describe_the_array(axes, ndim):
    fits = len(axes) == ndim == len(set(axes)) and {"Y", "X"} <= set(axes) <= set(CANONICAL)
    if fits:
        assert check_axes(axes, ndim) == axes
    else:
        with pytest.raises(AxesError) as error:
            check_axes(axes, ndim)
        assert f'"{axes}"' in str(error.value)


@pytest.mark.parametrize(
    ("axes", "ndim", "words"),
    [("YXS", 3, "S"), ("YYX", 3, "twice"), ("ZY", 2, "lack Y or X"), ("YX", 3, "name 2 dimensions"), ("", 0, "lack")],
)
def test_what_is_wrong_is_named(axes, ndim, words):
    with pytest.raises(AxesError, match=words):
        check_axes(axes, ndim)


@pytest.mark.parametrize(("ndim", "axes"), [(2, "YX"), (3, "ZYX")])
def test_two_and_three_dimensions_explain_themselves(ndim, axes):
    assert default_axes(ndim) == check_axes(None, ndim) == axes


@pytest.mark.parametrize("ndim", [0, 1, 4, 5])
def test_other_dimensions_need_to_be_named(ndim):
    with pytest.raises(AxesError, match="Name the axes"):
        check_axes(None, ndim)


@given(AXES)
def test_sizes_are_one_along_missing_axes(axes):
    shape = tuple(range(2, 2 + len(axes)))
    size = sizes(shape, axes)
    assert list(size) == list(CANONICAL)
    assert all(size[axis] == (shape[axes.index(axis)] if axis in axes else 1) for axis in CANONICAL)


@given(AXES)
def test_without_keeps_the_order_of_the_others(axes):
    rest = without(axes, "CT")
    assert not set("CT") & set(rest)
    assert [axis for axis in axes if axis in rest] == list(rest)


@given(AXES)
def test_pixel_size_follows_the_axes(axes):
    along = PixelSize(3.0, 2.0, 1.0).along(axes)
    assert along == tuple({"Z": 3.0, "Y": 2.0, "X": 1.0}.get(axis) for axis in axes)


def test_pixel_size_is_known_with_the_plane():
    assert PixelSize(y_um=1, x_um=1).known
    assert not PixelSize(z_um=1, y_um=1).known
    assert not PixelSize().known


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "sentence"),
    [
        ((4, 5), "YX", None, "one plane, 4 × 5 pixels"),
        ((7, 4, 5), "ZYX", None, "7 slices, 4 × 5 pixels"),
        ((4, 5, 3), "YXC", None, "one plane, 3 channels, 4 × 5 pixels"),
        ((4, 5, 1), "YXC", None, "one plane, 1 channel, 4 × 5 pixels"),
        ((4, 5, 3), "YXC", [0, 2], "one plane, channels 1, 3 of 3, 4 × 5 pixels"),
        ((2, 7, 3, 4, 5), "TZCYX", [1], "2 time points × 7 slices, channel 2 of 3, 4 × 5 pixels"),
    ],
)
def test_sentence_about_an_image(shape, axes, channels, sentence):
    assert describe(shape, axes, channels) == sentence
