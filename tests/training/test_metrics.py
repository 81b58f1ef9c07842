"""Scores against hand-made cases."""

import numpy as np
import pytest

from napari_unet.training.gate import Replay, judge, score
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
    assert tally.objects.tolist() == [2, 3, 3]  # matched, predicted, true
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


def test_better_outlines_of_the_same_objects_score_higher():
    true = squares((0, 0), (20, 20), side=10)
    rough, close = squares((0, 3), (20, 23), side=10), squares((0, 2), (20, 22), side=10)
    tallies = [tally_instances(predicted, true, EVERYWHERE) for predicted in (rough, close, true)]
    assert [tally.f1 for tally in tallies] == [1, 1, 1]
    assert tallies[0].value < tallies[1].value < tallies[2].value == pytest.approx(1)


def test_predicted_objects_are_counted_with_the_true_one_that_is_nearest():
    true = squares((0, 0), (30, 30))
    tally = tally_instances(squares((0, 0), (22, 22), (30, 20)), true, EVERYWHERE)
    assert tally.units[:, 0].tolist() == [[1, 1, 1], [0, 2, 1]]


def grid_of(step=10, side=6, missing=0, shift=0):
    """Squares on a grid, of which the first ones are missing or shifted."""
    corners = [(y, x) for y in range(0, 200, step) for x in range(0, 40, step)]
    return squares(*[(y, x + shift) for y, x in corners[missing:]], side=side, shape=(200, 50))


def judged(old, new, objects=80, **more):
    true = grid_of()
    true[true > objects] = 0
    counts = np.ones(true.shape, bool)
    scores = [score(tally_instances(np.where(true > 0, x, 0), true, counts), "instances") for x in (old, new)]
    return judge(*scores, int(counts.sum()), **more)


def test_the_gate_takes_what_is_surely_better_and_names_what_it_was_judged_on():
    verdict = judged(grid_of(missing=20), grid_of(missing=2))
    assert verdict.accepted is True
    assert "80 objects" in verdict.sentence
    assert judged(grid_of(missing=2), grid_of(missing=20)).accepted is False


def test_a_difference_that_may_be_chance_is_no_reason_to_change():
    verdict = judged(grid_of(missing=2), grid_of(missing=1))
    assert verdict.accepted is False
    assert "Nobody can tell yet" in verdict.sentence
    assert judged(grid_of(), grid_of()).accepted is False


def test_without_enough_labels_the_user_decides():
    assert judge(None, None, 0).accepted is None
    assert "review more" in judge(None, None, 0).sentence
    assert "cancelled" in judge(None, None, 5000).sentence


def test_a_better_model_that_has_forgotten_is_taken_only_if_the_user_says_so():
    old, new = grid_of(missing=20), grid_of(missing=2)
    verdict = judged(old, new, replay=Replay(old=0.8, new=0.7))
    assert verdict.accepted is False
    assert "forgotten" in verdict.sentence
    assert "0.70, before 0.80" in verdict.sentence
    assert judged(old, new, replay=Replay(old=0.8, new=0.7, forgetting=True)).accepted is True
    assert judged(old, new, replay=Replay(old=0.8, new=0.78)).accepted is True


def test_a_better_model_of_which_nobody_knows_what_it_forgot_is_left_to_the_user():
    verdict = judged(grid_of(missing=20), grid_of(missing=2), recalled=False)
    assert verdict.accepted is None
    assert "better on 80 objects" in verdict.sentence
    assert "cancelled before anybody could tell whether it has forgotten" in verdict.sentence
    assert judged(grid_of(missing=2), grid_of(missing=20), recalled=False).accepted is False


def test_the_interval_of_a_score_narrows_with_what_it_is_judged_on():
    true = grid_of()
    half = np.where(true % 2, true, 0)
    widths = []
    for rows in (50, 200):
        counts = np.zeros(true.shape, bool)
        counts[:rows] = True
        found = score(tally_instances(half, true, counts), "instances")
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0]


def test_classes_are_judged_in_blocks_of_pixels():
    true = np.zeros((128, 128), int)
    true[:, 64:] = 1
    shifted = np.roll(true, 12, axis=1)
    counts = np.ones(true.shape, bool)
    old, new = (score(tally_classes(x, true, counts, 1), "semantic") for x in (shifted, true))
    assert judge(old, new, counts.size).accepted is True
    assert "16,384 pixels" in judge(old, new, counts.size).sentence
