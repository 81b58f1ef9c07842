"""Objects from flows."""

import numpy as np
import pytest

following = pytest.importorskip("benchmarks.heads.following")
ends_of, find_by_flows = following.ends_of, following.find_by_flows


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
    found = find_by_flows(flows_to([(30, 25), (30, 54)], halves), halves > 0)
    assert same_objects(found, halves)


def test_flows_of_the_other_way_make_one_object(halves):
    found = find_by_flows(flows_to([(30, 39), (30, 40)], halves), halves > 0)
    assert found.max() == 1
    np.testing.assert_array_equal(found > 0, halves > 0)


def test_noise_does_not_break_objects(halves):
    noise = np.random.default_rng(0).normal(0, 0.3, (2, *halves.shape)).astype(np.float32)
    found = find_by_flows(flows_to([(30, 25), (30, 54)], halves) + noise, halves > 0)
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
    np.testing.assert_array_equal(columns, np.minimum(begin[1] + 128, 139))


def test_each_step_by_itself_leads_to_the_same_objects(halves):
    flows = flows_to([(30, 25), (30, 54)], halves)
    at = np.stack(np.nonzero(halves)).astype(float)
    for _ in range(128):
        rows, columns = np.rint(at).astype(int)
        at += flows[:, rows, columns]
    ends = ends_of(flows, halves > 0)
    assert np.abs(np.stack(ends) - at).max() <= 1.5


def test_nothing_leaves_the_image():
    foreground = np.ones((12, 9), bool)
    rows, columns = ends_of(np.full((2, 12, 9), -1, np.float32), foreground)
    assert not rows.any()
    assert not columns.any()


def test_a_window_gives_what_the_whole_image_gives():
    rng = np.random.default_rng(1)
    foreground, flows = rng.random((60, 700)) < 0.7, rng.uniform(-1, 1, (2, 60, 700)).astype(np.float32)
    whole = np.full((2, 60, 700), -1)
    whole[:, foreground] = ends_of(flows, foreground)
    part = np.full((2, 60, 360), -1)
    window = np.s_[:, 170:530]
    part[:, foreground[window]] = ends_of(np.ascontiguousarray(flows[:, *window]), foreground[window])
    part[1][foreground[window]] += 170
    np.testing.assert_array_equal(part[:, :, 130:-130], whole[:, :, 300:400])


def test_nothing_comes_of_nothing():
    nothing = np.zeros((7, 7), bool)
    assert not find_by_flows(np.ones((2, 7, 7), np.float32), nothing).any()
    assert not find_by_flows(np.zeros((2, 7, 7), np.float32), ~nothing).any()
