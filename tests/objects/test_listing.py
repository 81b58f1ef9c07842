"""The list of objects, and that edits keep it what a new list would be."""

import numpy as np
import pytest

from napari_unet.imaging.image import Image
from napari_unet.objects import listing as listings
from napari_unet.objects.listing import Listing, Rows, Sources, erased
from napari_unet.objects.measuring import measure


def run(work):
    for _ in work:
        pass


def sources(seed=0, shape=(2, 3, 40, 50), dtype=np.uint32):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype)
    for number in range(1, 30):
        t, z, y, x = (int(rng.integers(0, n)) for n in shape)
        labels[t, z : z + 2, y : y + 7, x : x + 9] = number
    image = Image(rng.integers(0, 999, (shape[0], 2, *shape[1:])).astype(np.uint16), "TCZYX")
    return Sources(labels, (rng.random(shape) < 0.5).astype(np.uint8), image, 1)


def assert_same(a, b):
    for name in Rows.__dataclass_fields__:
        if name not in {"start", "stop"}:
            assert np.allclose(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize("block", [64, 1000, 2**19])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_a_list_says_what_measuring_says(monkeypatch, block, dtype):
    monkeypatch.setattr(listings, "BLOCK_PX", block)
    known = sources(dtype=dtype)
    listing = Listing(known)
    run(listing.build())
    table, rows = measure(known.labels, None, known.image), listing.rows
    assert np.array_equal(rows.label, table["label"])
    assert np.array_equal(rows.t, table["t"])
    assert np.array_equal(rows.count, table["volume_px"])
    assert np.allclose(rows.total / rows.count, table["mean_channel_1"])
    for i, axis in enumerate("zyx"):
        assert np.array_equal(rows.start[:, i], table[f"{axis}_start"])
        assert np.array_equal(rows.stop[:, i], table[f"{axis}_stop"])
    reviewed = [
        ((known.labels[t] == n) & (known.reviewed[t] > 0)).sum() for t, n in zip(rows.t, rows.label, strict=True)
    ]
    assert rows.reviewed.tolist() == reviewed


def test_ids_may_be_far_apart():
    labels = np.zeros((1, 1, 4, 4), np.uint64)
    labels[0, 0, 0, 0], labels[0, 0, 3, 3] = 3, 2**60
    listing = Listing(Sources(labels))
    run(listing.build())
    assert listing.rows.label.tolist() == [3, 2**60]


@pytest.mark.parametrize("seed", range(6))
def test_edits_keep_it_what_a_new_list_would_be(seed):
    known, rng = sources(seed), np.random.default_rng(seed)
    listing = Listing(known)
    run(listing.build())
    for _ in range(12):
        t, z, y, x = (int(rng.integers(0, n)) for n in known.labels.shape)
        box = ((t, t + 1), (z, min(3, z + 2)), (y, min(40, y + 8)), (x, min(50, x + 8)))
        part = tuple(slice(*ends) for ends in box)
        if rng.random() < 0.3:
            known.reviewed[part] = 1
        else:
            known.labels[part] = rng.choice([0, 5, 100 + seed])
        run(listing.update([box]))
        fresh = Listing(known)
        run(fresh.build())
        assert_same(listing.rows, fresh.rows)
    run(listing.update([tuple((0, n) for n in known.labels.shape)]))
    assert_same(listing.rows, fresh.rows)


def test_only_what_was_edited_is_looked_at_again(monkeypatch):
    labels = np.zeros((1, 1, 400, 400), np.uint32)
    labels[0, 0, :10, :10], labels[0, 0, 300:310, 300:310] = 1, 2
    listing = Listing(Sources(labels))
    run(listing.build())
    seen = []
    real = listings.gather
    monkeypatch.setattr(listings, "gather", lambda s, block, only=None: seen.append(block) or real(s, block, only))
    labels[0, 0, 5:15, 5:15] = 3
    run(listing.update([((0, 1), (0, 1), (5, 15), (5, 15))]))
    assert listing.rows.count.tolist() == [75, 100, 100]
    assert all(block[2][1] <= 15 and block[3][1] <= 15 for block in seen)


def test_objects_are_erased_and_no_others():
    labels = np.array([[1, 1, 2, 3], [1, 2, 2, 3]], np.uint16)
    for change in erased(labels, [((0, 2), (0, 2)), ((0, 2), (3, 4))], [1, 3]):
        labels[tuple(slice(*part) for part in change.box)] = change.values
    assert labels.tolist() == [[0, 0, 2, 0], [0, 2, 2, 0]]
