"""The review queue: what is looked at first, that it is spread, and what correcting took."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.objects.reviewing import (
    Effort,
    divide,
    effort_of,
    gain_of,
    gains_of,
    next_field,
    pays,
    recent,
    widened,
)


@given(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 900), st.integers(1, 900)))
def test_fields_partition_the_image(shape):
    seen = np.zeros(shape, np.uint8)
    fields = divide(shape)
    for field in fields:
        seen[tuple(slice(*part) for part in field)] += 1
        assert all(stop - start <= 384 for start, stop in field)
    assert (seen == 1).all()


def maps(doubt):
    """Probabilities of three classes, with some doubtful pixels."""
    p = np.full((3, 64, 64), 0.005, np.float32)
    p[0] = 0.99
    p[:, :doubt] = 1 / 3
    return p


def test_doubt_counts_and_bytes_say_the_same():
    gains = [gain_of(maps(doubt)).uncertainty for doubt in (0, 2, 7)]
    assert gains[0] < 0.1 < gains[1] < gains[2] <= 1
    assert gain_of(np.rint(maps(4) * 255).astype(np.uint8)).uncertainty == pytest.approx(
        gain_of(maps(4)).uncertainty, abs=0.02
    )
    assert gain_of(np.full((1, 8, 8), 0.5, np.float32)).uncertainty == pytest.approx(1)


def test_the_most_uncertain_field_comes_first():
    image = np.concatenate([maps(0), maps(6), maps(1)], axis=-1)[:, None, None]
    fields = divide((1, 1, 64, 192), side=64)
    gains = dict(enumerate(gains_of(image, fields)))
    assert next_field(fields, gains, []) == 1
    assert next_field(fields, gains, [1]) == 2
    assert next_field(fields, gains, [0, 1, 2]) is None


def test_what_is_looked_at_is_spread_over_the_image():
    fields = divide((1, 1, 1024, 1024))
    rng = np.random.default_rng(0)
    gains = {index: gain_of(maps(int(rng.integers(4, 7)))) for index, _ in enumerate(fields)}
    seen = []
    for _ in range(4):
        seen.append(next_field(fields, gains, seen))
    rows = {index // 4 for index in seen}
    assert len(rows) >= 3
    neighbours = sum(abs(a // 4 - b // 4) + abs(a % 4 - b % 4) == 1 for a in seen for b in seen)
    assert neighbours == 0


def test_unknown_fields_wait_and_random_ones_do_not():
    fields = divide((1, 1, 512, 512))
    gains = {0: gain_of(maps(3))}
    assert next_field(fields, gains, []) == 0
    assert next_field(fields, gains, [0]) == 1  # nothing is known of the others
    orders = [[], []]
    for seed, order in enumerate(orders):
        while (index := next_field(fields, {}, order, "random", seed)) is not None:
            order.append(index)
    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3]
    assert next_field(fields, {}, [], "random", 7) == next_field(fields, {}, [], "random", 7)
    assert next_field(fields, gains, [0, 2], "in turn") == 1


def test_effort_counts_pixels_and_objects():
    before = np.zeros((10, 10), np.uint16)
    before[:2, :2], before[5:7, 5:7], before[8:, 8:] = 1, 2, 3
    after = before.copy()
    after[0, 0] = 0
    after[8:, 8:] = 4
    effort = effort_of(before, after)
    assert effort.pixels == pytest.approx(0.05)
    assert effort.objects == pytest.approx(3 / 4)
    assert effort_of(before, before).objects == 0
    assert effort_of(np.zeros((3, 3)), np.zeros((3, 3))).pixels == 0


def test_correcting_stops_paying_when_the_last_fields_changed_little():
    much, little = Effort(0.05, 0.4), Effort(0.001, 0.01)
    assert recent([much] * 4) is None
    assert pays(recent([little] * 5 + [much] * 5))
    assert not pays(recent([much] * 5 + [little] * 3 + [much] * 2))
    assert pays(recent([Effort(0.001, 0.1)] * 5))  # small objects are few pixels


@given(st.integers(0, 20), st.integers(0, 1000))
def test_widening_reaches_as_far_as_the_margin(margin, seed):
    mask = np.random.default_rng(seed).random((3, 24, 31)) > 0.99
    expected = ndi.maximum_filter(mask, size=(1, 2 * margin + 1, 2 * margin + 1), mode="constant")
    assert np.array_equal(widened(mask, margin, (1, 2)), expected)
