"""Scores against hand-made cases."""

import numpy as np
import pytest

from napari_unet.training.gate import Score, judge, score
from napari_unet.training.metrics import tally_classes, tally_instances


def squares(*corners, side=6, shape=(40, 40)):
    labels = np.zeros(shape, np.uint32)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


EVERYWHERE = np.ones((40, 40), bool)


def test_instances_are_counted_once_each():
    true = squares((0, 0), (10, 10), (20, 20))
    predicted = squares((0, 0), (10, 12), (30, 30))  # the second shifted: IoU 24 / 48 = 0.5
    tally = tally_instances(predicted, true, EVERYWHERE)
    assert (tally.hits, tally.false_alarms, tally.misses) == (2, 1, 1)
    assert tally.f1 == pytest.approx(2 / 3)
    assert tally.dice == pytest.approx(2 * 60 / 216)


def test_only_what_counts_is_compared():
    true, predicted = squares((0, 0), (20, 20)), squares((0, 0))
    counts = EVERYWHERE.copy()
    counts[15:] = False
    assert tally_instances(predicted, true, counts).f1 == 1


def test_huge_ids_are_compared_too():
    true = squares((0, 0), (10, 10)) * np.uint32(2_000_000_000)
    assert tally_instances(squares((0, 0), (10, 10)), true, EVERYWHERE).f1 == 1


def test_nothing_found_where_nothing_is_is_perfect():
    tally = tally_instances(squares(), squares(), EVERYWHERE)
    assert (tally.dice, tally.f1) == (1, 1)


def test_classes_average_over_those_that_occur():
    true = np.zeros((40, 40), int)
    true[:10], true[10:20] = 1, 2
    predicted = true.copy()
    predicted[10:15] = 0
    tally = tally_classes(predicted, true, EVERYWHERE, 3)
    assert tally.dice == pytest.approx((1 + 2 * 200 / 600) / 2)
    assert (tally + tally).dice == tally.dice
    assert score(tally, "semantic").f1 is None


def test_the_gate_accepts_only_what_is_better():
    low, high = Score(0.7, 0.7, None, 5000), Score(0.72, 0.72, None, 5000)
    assert judge(low, high, 5000).accepted is True
    assert "5,000" in judge(low, high, 5000).sentence
    assert judge(high, low, 5000).accepted is False
    assert judge(high, high, 5000).accepted is False
    assert judge(None, None, 0).accepted is None
    assert "review more" in judge(None, None, 0).sentence
    assert "cancelled" in judge(low, None, 5000).sentence
