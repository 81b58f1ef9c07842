"""What the scripted annotator of ``benchmarks/repairing`` knows of napari's brush, and of errors."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from repairing.hand import Hand
from repairing.matching import Overlaps, errors_of
from repairing.strokes import reached, swept


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_strokes_cover_what_the_brush_of_napari_does(size):
    layers = pytest.importorskip("napari.layers")
    rng = np.random.default_rng(size)
    for _ in range(5):
        layer = layers.Labels(np.zeros((50, 60), np.int32))
        layer.mode, layer.brush_size = "paint", size
        points = [reached(at) for at in rng.random((4, 2)) * (48, 58)]
        layer._draw(3, points[0], points[0])
        for a, b in pairwise(points):
            layer._draw(3, a, b)
        assert np.array_equal(swept((50, 60), points, size), layer.data == 3)


def test_errors_are_told_apart():
    truth, found = np.zeros((2, 20, 80), np.int32)
    truth[2:8, 2:8], found[2:8, 2:8] = 1, 1  # right
    truth[2:8, 12:18] = 2  # missing
    found[2:8, 22:28] = 2  # false
    truth[2:8, 32:38], truth[2:8, 38:44], found[2:8, 32:44] = 3, 4, 3  # merged
    truth[2:8, 50:62], found[2:8, 50:56], found[2:8, 56:62] = 5, 4, 5  # in pieces
    truth[2:12, 66:76], found[2:8, 66:76] = 6, 6  # too small
    errors = errors_of(Overlaps.of(truth, found), 0.8)
    assert {error.kind: (set(error.true), set(error.found)) for error in errors} == {
        "missing": ({2}, set()),
        "false": (set(), {2}),
        "merged": ({3, 4}, {3}),
        "in pieces": ({5}, {4, 5}),
        "outline": ({6}, {6}),
    }


def test_a_hand_counts_what_it_does():
    hand = Hand((10.0, 10.0), next_id=5).take("fill").take("fill").choose(0, (10, 10), 4).click((10, 10), 4)
    assert (hand.cost.clicks, hand.cost.keys, hand.cost.travel_s) == (1, 2, 0)
    drawn = hand.draw([(10, 10), (10, 50)], 4)
    assert drawn.cost.travel_px == 40 * 3
    assert drawn.cost.travel_s == pytest.approx(120 / 400)
    assert drawn.resize(11).cost.keys == drawn.cost.keys + 1
    assert drawn.choose_new().label == 5
    assert drawn.actions[0] == ("tool", "fill")


def test_a_label_is_taken_by_a_key_a_click_or_from_before():
    hand = Hand((10.0, 10.0), next_id=5, label=2)
    picked = hand.choose(3, (10, 10), 4)
    assert (picked.cost.clicks, picked.cost.keys, picked.tool) == (1, 1, "pick")
    swapped = picked.choose(0, (10, 10), 4).choose(3, (10, 10), 4)
    assert (swapped.cost.clicks, swapped.cost.keys) == (1, 3)
    assert picked.choose_new().choose(3, (10, 10), 4).cost.clicks == 2  # X would bring back background
    quick = Hand((10.0, 10.0), next_id=5, label=2, quick=True).choose(3, (10, 10), 4).take("paint")
    assert (quick.cost.clicks, quick.cost.keys) == (0, 1)
