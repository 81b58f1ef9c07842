"""Objects from flows, of a whole image and block by block."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.events import finish
from napari_unet.objects.blocks import Grid, Part
from napari_unet.objects.blockwise import label_in_blocks, steps
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.following import SEEN_PX, ends_of, find_by_flows
from napari_unet.objects.labelling import decode, label_events
from napari_unet.objects.large import Large
from napari_unet.training.flows import flow_targets

FLOWS = SimpleNamespace(meaning="instances", activation="flows", dims=2)


def maps_of(flows, foreground):
    """What a network gives that is sure of the foreground: (5, Y, X) from 0 to 1."""
    flows = np.clip(flows, -1, 1)
    maps = [~foreground, foreground, np.zeros(foreground.shape), *(flows + 1) / 2]
    return np.stack(maps).astype(np.float32)


def found_in(flows, foreground, **options):
    return find_by_flows(maps_of(flows, foreground), ObjectOptions(**options))


def flows_to(middles, labels):
    """Unit vectors (2, Y, X) from each pixel of an object to the middle given for it; shorter right beside it."""
    grid = np.indices(labels.shape).astype(np.float32)
    flows = np.zeros((2, *labels.shape), np.float32)
    for number, middle in enumerate(middles, start=1):
        way = np.reshape(middle, (2, 1, 1)) - grid
        far = np.linalg.norm(way, axis=0)
        flows[:, labels == number] = (way / np.maximum(far, 1))[:, labels == number]
    return flows


@pytest.fixture
def halves():
    """Two objects that touch along a whole side."""
    labels = np.zeros((60, 80), int)
    labels[10:50, 10:40], labels[10:50, 40:70] = 1, 2
    return labels


def same_objects(found, labels):
    pairs = np.unique(np.stack([found.ravel(), labels.ravel()]), axis=1).T
    return len(pairs) == len(np.unique(found)) == len(np.unique(labels))


def test_what_touches_is_told_apart_to_the_pixel(halves):
    found = found_in(flows_to([(30, 25), (30, 54)], halves), halves > 0)
    assert same_objects(found, halves)


def test_flows_of_the_other_way_make_one_object(halves):
    found = found_in(flows_to([(30, 39), (30, 40)], halves), halves > 0)
    assert found.max() == 1
    np.testing.assert_array_equal(found > 0, halves > 0)


def test_noise_does_not_break_objects(halves):
    noise = np.random.default_rng(0).normal(0, 0.3, (2, *halves.shape)).astype(np.float32)
    found = found_in(flows_to([(30, 25), (30, 54)], halves) + noise, halves > 0)
    assert len(np.unique(found)) == 3
    assert ((found == 0) == (halves == 0)).mean() > 0.99
    assert all(np.bincount(found[halves == n]).max() > 0.97 * (halves == n).sum() for n in (1, 2))


def test_a_long_way_is_gone_to_its_end():
    foreground = np.ones((5, 140), bool)
    flows = np.zeros((2, 5, 140), np.float32)
    flows[1, :, :-1] = 1
    rows, columns = ends_of(flows, foreground)
    begin = np.nonzero(foreground)
    np.testing.assert_array_equal(rows, begin[0])
    np.testing.assert_array_equal(columns, np.minimum(begin[1] + 64, 139))


def test_each_step_by_itself_leads_to_the_same_objects(halves):
    flows = flows_to([(30, 25), (30, 54)], halves)
    at = np.stack(np.nonzero(halves)).astype(float)
    for _ in range(64):
        rows, columns = np.rint(at).astype(int)
        at += flows[:, rows, columns]
    ends = ends_of(flows, halves > 0)
    assert np.abs(np.stack(ends) - at).max() <= 1.5


def test_nothing_leaves_the_image():
    foreground = np.ones((12, 9), bool)
    rows, columns = ends_of(np.full((2, 12, 9), -1, np.float32), foreground)
    assert not rows.any()
    assert not columns.any()


def test_a_window_gives_what_the_whole_image_gives_to_the_last_bit():
    rng = np.random.default_rng(1)
    foreground, flows = rng.random((60, 700)) < 0.7, rng.uniform(-1, 1, (2, 60, 700)).astype(np.float32)
    whole = np.full((2, 60, 700), -1)
    whole[:, foreground] = ends_of(flows, foreground)
    part = np.full((2, 60, 360), -1)
    window = np.s_[:, 170:530]
    part[:, foreground[window]] = ends_of(np.ascontiguousarray(flows[:, *window]), foreground[window])
    part[1][foreground[window]] += 170
    inner = slice(SEEN_PX, -SEEN_PX)
    np.testing.assert_array_equal(part[:, :, inner], whole[:, :, 170:530][:, :, inner])


def test_nothing_comes_of_nothing():
    nothing = np.zeros((7, 7), bool)
    assert not found_in(np.ones((2, 7, 7), np.float32), nothing).any()
    assert not found_in(np.zeros((2, 7, 7), np.float32), ~nothing).any()


def test_pixels_of_which_nothing_is_known_are_in_no_object(halves):
    maps = maps_of(flows_to([(30, 25), (30, 54)], halves), halves > 0)
    maps[:, 10:13, 10:14] = np.nan
    found = find_by_flows(maps, ObjectOptions())
    assert not found[10:13, 10:14].any()
    assert len(np.unique(found)) == 3


def test_maps_of_8_bits_say_the_same(halves):
    maps = maps_of(flows_to([(30, 25), (30, 54)], halves), halves > 0)
    coarse = find_by_flows(np.rint(255 * maps).astype(np.uint8), ObjectOptions())
    assert same_objects(coarse, halves)


def test_a_higher_reach_joins_what_a_lower_one_parts():
    labels = np.zeros((40, 40), int)
    labels[5:35, 5:35] = 1
    both = flows_to([(20, 16)], labels)
    both[:, :, 20:] = flows_to([(20, 23)], labels)[:, :, 20:]
    assert found_in(both, labels > 0, reach_px=3).max() == 2
    assert found_in(both, labels > 0, reach_px=9).max() == 1


@pytest.mark.parametrize("side", [40, 160])
def test_objects_of_any_size_stay_whole_and_apart(side):
    """Pixels of the larger ones do not get as far as the middle."""
    labels = np.zeros((side + 40, 2 * side + 40), int)
    labels[20:-20, 20 : 20 + side], labels[20:-20, 20 + side : -20] = 1, 2
    middles = [(20 + side / 2, 20 + side / 2), (20 + side / 2, 20 + 1.5 * side)]
    assert same_objects(found_in(flows_to(middles, labels), labels > 0), labels)


def test_small_objects_stay_apart():
    labels = np.pad(np.kron(np.arange(1, 65).reshape(8, 8), np.ones((5, 5), int)), 3)
    middles = [(5 + 5 * (n // 8), 5 + 5 * (n % 8)) for n in range(64)]
    assert same_objects(found_in(flows_to(middles, labels), labels > 0), labels)


@st.composite
def crowds(draw):
    """Objects of many sizes that touch, and noisy flows to their middles."""
    shape = draw(st.integers(40, 260)), draw(st.integers(40, 260))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    points = rng.integers(0, shape, (draw(st.integers(1, 60)), 2))
    seeds = np.ones(shape, bool)
    seeds[tuple(points.T)] = False
    away, nearest = ndi.distance_transform_edt(seeds, return_indices=True)
    labels = np.ravel_multi_index(tuple(nearest), shape) + 1
    labels[away > draw(st.floats(3, 60))] = 0
    flows = flow_targets(labels[None])[0] + rng.normal(0, draw(st.floats(0, 1.0)), (2, *shape))
    maps = maps_of(flows, labels > 0)
    return np.rint(255 * maps).astype(np.uint8) if draw(st.booleans()) else maps


@st.composite
def choices(draw):
    return ObjectOptions(
        reach_px=draw(st.integers(1, 9)),
        min_size_px=draw(st.integers(0, 40)),
        fill_holes=draw(st.booleans()),
    )


@pytest.mark.parametrize("side", [48, 29])
@settings(max_examples=15, deadline=None)
@given(crowds(), choices())
def test_blocks_give_the_labels_of_the_whole_image(side, maps, options):
    expected, count = decode(maps, FLOWS, options)
    labels = np.full(maps.shape[1:], 77, np.uint32)
    large = Large(Part(maps, ()), Part(labels, ()), Grid(labels.shape, side), 8, 10**9)
    work = label_in_blocks(large, FLOWS, options)
    yielded = 0
    while True:
        try:
            next(work)
            yielded += 1
        except StopIteration as end:
            found = end.value
            break
    np.testing.assert_array_equal(labels, expected)
    assert found == count
    assert yielded == steps(large.grid, FLOWS)


def test_large_planes_are_labelled_in_blocks_by_themselves():
    """Objects of two slices of 4.3 million pixels each, joined across Z."""
    tile = np.zeros((40, 40), int)
    tile[6:35, 6:35] = 1
    flows, labels = (
        np.tile(flows_to([(20, 20)], tile), (1, 52, 52)),
        np.kron(np.arange(1, 52**2 + 1).reshape(52, 52), tile),
    )
    maps = maps_of(flows + np.random.default_rng(3).normal(0, 0.1, flows.shape), labels > 0)
    found, count = finish(label_events(np.stack([maps, maps], axis=1)[:, None], FLOWS, ObjectOptions()))
    assert count == 52**2
    np.testing.assert_array_equal(found[0, 0], found[0, 1])
    np.testing.assert_array_equal(np.unique(found[0, 0][labels > 0] - labels[labels > 0]), [0])
