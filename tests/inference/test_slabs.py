"""The order in which an image is done: nothing twice, nothing forgotten, what is seen first."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_unet as nu
from napari_unet.events import TileDone, finish
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.exact.intervals import Interval, size_of, whole
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.inference.regions import overlap, subtract
from napari_unet.inference.slabs import Order, plan_slabs

SIZE = (3, 5, 16, 20)


def interval(n):
    ends = st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda pair: pair[0] < pair[1])
    return ends.map(lambda pair: Interval(*pair))


windows = st.tuples(*map(interval, SIZE))
orders = st.builds(Order, st.integers(1, 4), st.none() | windows, st.lists(windows, max_size=4))


def counted(slabs):
    counts = np.zeros(SIZE, int)
    for slab in slabs:
        counts[tuple(slice(*part) for part in slab)] += 1
    return counts


@given(windows, orders, st.none() | st.integers(1, 200))
def test_planes_are_done_once_but_for_what_is_done(window, order, most_px):
    slabs = plan_slabs(window, 2, order, most_px)
    assert (counted(slabs) == (counted([window]) > 0) * (counted(order.done) == 0)).all()
    assert all(slab[0].length == 1 and slab[1].length <= order.planes for slab in slabs)


@given(windows, orders, st.none() | st.integers(1, 200))
def test_volumes_are_done_and_what_is_seen_perhaps_twice(window, order, most_px):
    slabs = plan_slabs(window, 3, order, most_px)
    counts, left = counted(slabs), (counted([window]) > 0) * (counted(order.done) == 0)
    assert ((counts > 0) == left).all()
    seen = counted([order.visible] if order.visible else []) > 0
    assert (counts <= 1 + seen).all()
    assert all(slab[0].length == 1 for slab in slabs)


@given(windows, orders, st.sampled_from([2, 3]), st.integers(1, 200))
def test_slabs_are_as_small_as_wanted(window, order, dims, most_px):
    for slab in plan_slabs(window, dims, order, most_px):
        assert prod(size_of(slab)) <= most_px or slab[2].length == slab[3].length == 1


@given(windows, orders, st.sampled_from([2, 3]))
def test_the_visible_part_comes_first(window, order, dims):
    seen = None if order.visible is None else overlap(window, order.visible)
    slabs = plan_slabs(window, dims, order)
    if seen is not None and subtract(seen, order.done):
        assert overlap(slabs[0], seen) is not None


@given(windows, st.integers(1, 3))
def test_from_what_is_seen_it_goes_outwards(visible, planes):
    slabs = plan_slabs(whole(SIZE), 2, Order(planes, visible))
    far = [slab for slab in slabs if overlap(slab, visible) is None and slab[2:] == whole(SIZE)[2:]]

    def distance(slab):
        return [max(0, a.start - b.stop + 1, b.start - a.stop + 1) for a, b in zip(slab[:2], visible[:2], strict=True)]

    assert [distance(slab) for slab in far] == sorted(map(distance, far))


def test_all_that_is_seen_of_several_planes_comes_before_the_rest_of_them():
    visible = (Interval(0, 1), Interval(1, 3), Interval(4, 8), Interval(4, 8))
    slabs = plan_slabs(whole((1, 4, 16, 16)), 2, Order(1, visible))
    assert {slab[1].start for slab in slabs[:2]} == {1, 2}
    assert all(slab[2:] == visible[2:] for slab in slabs[:2])


STACK, VOLUME, RESCALED = "planes of a stack", "a volume", "a rescaled stack"


@pytest.fixture(scope="module", params=[STACK, VOLUME, RESCALED])
def case(request):
    """A model, an image with time points, and the settings with which it is predicted."""
    variant = "unet-3d" if request.param == VOLUME else "unet"
    model = nu.new_model(variant, width=4, depth=1).with_spec(diameter_px=20.0)
    pixels = np.random.default_rng(0).normal(size=(2, 10, 60, 50)).astype(np.float32)
    image = open_image(pixels, "TZYX")
    config = InferenceConfig(diameter_px=15.0 if request.param == RESCALED else None, tile=32)
    return model, image, config, finish(predict_events(model, image, config)).probabilities


def run(case, wish):
    model, image, config, plain = case
    out = np.full_like(plain, -1)
    events = list(predict_events(model, image, config, out, wish))
    return out, [event for event in events if isinstance(event, TileDone)]


def test_what_is_seen_is_predicted_first_and_the_same(case):
    visible = ((1, 2), (4, 5), (20, 40), (10, 30))
    out, tiles = run(case, Wish(visible=visible))
    assert np.abs(out - case[-1]).max() < 1e-5
    first = next(tile.written for tile in tiles if tile.written)
    for region in first:
        assert all(a >= v and b <= w for (a, b), (v, w) in zip(region, visible, strict=True))
    assert [tile.done for tile in tiles] == sorted(tile.done for tile in tiles)
    assert tiles[-1].done == tiles[-1].total
    assert all(tile.done <= tile.total for tile in tiles)


def test_each_pixel_is_told_of_once(case):
    out, tiles = run(case, Wish(visible=((0, 1), (4, 6), (10, 20), (10, 20))))
    told = np.zeros(out.shape[1:], int)
    for region in (region for tile in tiles for region in tile.written):
        told[tuple(slice(*part) for part in region)] += 1
    assert (told == 1).all()


def test_what_is_done_is_not_touched(case):
    done = (((0, 1), (0, 10), (0, 60), (0, 50)), ((1, 2), (2, 7), (0, 33), (0, 50)))
    out, tiles = run(case, Wish(done=done))
    known = np.zeros(out.shape[1:], bool)
    for region in done:
        known[tuple(slice(*part) for part in region)] = True
    assert (out[:, known] == -1).all()
    assert np.abs(out - case[-1])[:, ~known].max() < 1e-5
    written = [tuple(Interval(*part) for part in region) for tile in tiles for region in tile.written]
    assert all(overlap(region, tuple(Interval(*p) for p in d)) is None for region in written for d in done)


def test_nothing_is_left_to_do(case):
    out, tiles = run(case, Wish(done=[((0, 2), (0, 10), (0, 60), (0, 50))]))
    assert (out == -1).all()
    assert not tiles
