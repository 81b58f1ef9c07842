"""Removing objects by size and place, and numbering the others."""

import numpy as np
import pytest

from napari_unet.objects.editing import filtering
from napari_unet.objects.editing.changes import slices
from napari_unet.objects.editing.filtering import census, renumber


@pytest.fixture(params=[2**20, 64])
def labels(request, monkeypatch):
    """Random boxes; with small blocks, too."""
    monkeypatch.setattr(filtering, "BLOCK_PX", request.param)
    rng = np.random.default_rng(3)
    made = np.zeros((3, 40, 60), np.uint16)
    for number in rng.choice(np.arange(1, 900), 25, replace=False):
        y, x = rng.integers(0, 36), rng.integers(0, 54)
        made[rng.integers(0, 3) :, y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = number
    return made


def test_a_census_counts_all_objects(labels):
    found = census(labels)
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    assert found.ids.tolist() == ids.tolist()
    assert found.sizes.tolist() == sizes.tolist()
    for number, touching in zip(ids, found.touching, strict=True):
        z, y, x = np.nonzero(labels == number)
        assert found.boxes[int(number)] == tuple((int(a.min()), int(a.max()) + 1) for a in (z, y, x))
        assert touching == bool(y.min() == 0 or y.max() == 39 or x.min() == 0 or x.max() == 59)


def test_unwanted_objects(labels):
    found = census(labels)
    sizes = dict(zip(found.ids.tolist(), found.sizes.tolist(), strict=True))
    assert set(found.unwanted(20)) == {n for n, size in sizes.items() if size < 20}
    assert set(found.unwanted(at_most=50)) == {n for n, size in sizes.items() if size > 50}
    assert set(found.unwanted(no_border=True)) == set(found.ids[found.touching].tolist())
    assert found.unwanted() == []


def test_numbering_in_order(labels):
    after = labels.copy()
    for change in renumber(labels, census(labels).in_order()):
        after[slices(change.box)] = change.values
    ids = np.unique(labels)
    assert np.array_equal(after, np.searchsorted(ids, labels))


def test_an_empty_image_has_no_objects():
    found = census(np.zeros((20, 30), np.uint8))
    assert found.ids.size == 0
    assert found.in_order() == {}
    assert list(renumber(np.zeros((20, 30), np.uint8), {})) == []


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64])
def test_ids_at_the_ends_of_a_type(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    plane = np.zeros((9, 12), dtype)
    plane[1:3, 1:3], plane[5:8, 5:8] = high, low or 3
    found = census(plane)
    assert sorted(found.sizes.tolist()) == [4, 9]
    names = found.in_order()
    after = plane.copy()
    for change in renumber(plane, names):
        after[slices(change.box)] = change.values
    assert set(np.unique(after)) == {0, 1, 2}
