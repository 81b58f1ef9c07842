"""Membranes with gaps still keep cells apart."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.events import finish
from napari_unet.objects import labelling
from napari_unet.objects.closing import are_walls, close_gaps
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode, label_events

OPEN, CLOSED = (ObjectOptions(fill_holes=False, min_size_px=0, close_gaps=close) for close in (False, True))
SOFTMAX = SimpleNamespace(meaning="semantic", activation="softmax", dims=2)


def cells(shape=(90, 120), side=30, gap=0.3, dims=2):
    """Return probabilities (2, ...) of square cells, whose walls are faint, `gap`, in the middle of each side."""
    at = np.stack(np.indices(shape))
    wall = np.zeros(shape, np.float32)
    for axis in range(dims):
        others = [at[other] % side for other in range(dims) if other != axis]
        middle = np.all([abs(other - side // 2) < 3 for other in others], axis=0)
        here = (at[axis] % side < 3) & (at[axis] >= side)
        wall = np.maximum(wall, np.where(here, np.where(middle, gap, 0.95), 0))
    return np.stack([1 - wall, wall]).astype(np.float32)


def count(labels):
    return ndi.label(labels == 0)[1]


def test_a_gap_in_a_membrane_joins_cells_until_it_is_closed():
    maps = cells()
    assert count(decode(maps, SOFTMAX, OPEN)[0]) == 1
    assert count(decode(maps, SOFTMAX, CLOSED)[0]) == 12


def test_closing_only_adds_thin_lines():
    maps = cells()
    without, closed = (decode(maps, SOFTMAX, options)[0] for options in (OPEN, CLOSED))
    assert np.all(closed[without > 0] == 1)
    added = (closed > 0) & (without == 0)
    assert 17 * 3 <= added.sum() <= 17 * 12  # 17 sides with a gap of 5 pixels each


def test_nothing_is_drawn_where_there_is_no_crest():
    maps = cells(gap=0)
    cut = np.where(np.arange(120) > 60, 0, maps[1])  # all walls end in the middle
    labels = decode(np.stack([1 - cut, cut]).astype(np.float32), SOFTMAX, CLOSED)[0]
    assert not labels[:, 70:].any()


def test_shallow_noise_inside_of_cells_draws_no_walls():
    maps = cells(gap=0.95)
    rng = np.random.default_rng(0)
    wall = np.clip(maps[1] + rng.uniform(0, 0.1, maps[1].shape), 0, 1)
    assert count(decode(np.stack([1 - wall, wall]).astype(np.float32), SOFTMAX, CLOSED)[0]) == 12


def test_bytes_say_the_same():
    maps = cells()
    bytes_ = np.rint(maps * 255).astype(np.uint8)
    assert np.array_equal(decode(bytes_, SOFTMAX, CLOSED)[0], decode(maps, SOFTMAX, CLOSED)[0])


def test_the_likeliest_class_closes_the_gap():
    wall = cells()[1]
    maps = np.stack([1 - wall, 0.1 * wall, 0.9 * wall]).astype(np.float32)
    assert set(np.unique(decode(maps, SOFTMAX, CLOSED)[0])) == {0, 2}


def test_one_class_without_background():
    spec = SimpleNamespace(meaning="semantic", activation="sigmoid", dims=2)
    assert count(decode(cells()[1:], spec, CLOSED)[0]) == 12


def test_volumes_have_walls_too():
    maps = cells((40, 40, 40), side=20, dims=3)
    spec = SimpleNamespace(meaning="semantic", activation="softmax", dims=3)
    assert count(decode(maps, spec, OPEN)[0]) == 1
    assert count(decode(maps, spec, CLOSED)[0]) == 8


def test_large_planes_are_closed_alike_block_by_block(monkeypatch):
    maps = cells((300, 300), side=40)
    rng = np.random.default_rng(1)
    wall = np.clip(ndi.gaussian_filter(maps[1] + rng.normal(0, 0.05, maps[1].shape), 0.7), 0, 1)
    maps = np.stack([1 - wall, wall]).astype(np.float32)[:, None, None]
    whole, pieces = finish(label_events(maps, SOFTMAX, CLOSED))
    monkeypatch.setattr(labelling, "LARGE_PX", {2: 1, 3: 1})
    monkeypatch.setattr(labelling, "SIDE_PX", {2: 128, 3: 32})
    monkeypatch.setattr("napari_unet.objects.large.SIDE_PX", {2: 128, 3: 32})
    found, again = finish(label_events(maps, SOFTMAX, CLOSED))
    assert np.array_equal(found, whole)
    assert again == pieces


def grid(side=30, width=3):
    at = np.indices((120, 120))
    return ((at % side < width) & (at >= side)).any(axis=0).astype(np.uint32)


def with_blobs(labels):
    """Walls that are thick in a few places, as where an organelle is drawn with them."""
    labels[60:80, 60:85] = 1
    return labels


def discs(radius):
    places = ((np.indices((120, 120)) % 30) - 15) ** 2
    return (places.sum(axis=0) < radius**2).astype(np.uint32)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (grid(), True),
        (with_blobs(grid()), True),
        (grid(width=20), False),
        (discs(6), False),
        (discs(12), False),
        (np.zeros((120, 120), int), False),
    ],
)
def test_walls_are_told_from_other_classes(labels, expected):
    assert are_walls(labels, np.ones(labels.shape, bool)) is expected


def test_cells_that_only_strokes_keep_apart_are_no_reason():
    known = np.zeros((120, 120), bool)
    known[:, ::20] = known[:, 1::20] = True  # pieces of what is known, between which nobody knows
    assert not are_walls(discs(6), known)
    assert are_walls(grid(), np.ones((120, 120), bool))


def test_closing_keeps_the_labels_it_is_given():
    maps = cells()
    labels = np.where(maps[1] > 0.5, 1, 0)
    before = labels.copy()
    closed = close_gaps(labels, maps, SOFTMAX)
    assert np.array_equal(labels, before)
    assert closed.shape == labels.shape
