"""Large images: looked at in few cells of whole chunks, in bounded memory, with the error told."""

import itertools
import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.events import Notice, finish
from napari_unet.imaging import gathering
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.distributions import Counted, Listed, Sampled
from napari_unet.imaging.image import open_image
from napari_unet.imaging.rescaling import Rescaled
from napari_unet.imaging.sampling import Cells, cut, thin
from napari_unet.imaging.statistics import statistics_events


class Lazy:
    """An array that is not in memory, as far as anybody knows; it remembers what was read."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, key):
        self.read.append(tuple((part.start, part.stop) for part in key))
        return self.array[key]


@pytest.fixture
def small_samples(monkeypatch):
    """Sample images of more than 10,000 pixels, by cells of 256."""
    monkeypatch.setattr(gathering, "WHOLE_PX", 10**4)
    monkeypatch.setattr(gathering, "CELL_PX", 2**8)
    monkeypatch.setattr(gathering, "READ_PX", 2**16)
    monkeypatch.setattr(gathering, "MOST_CELLS", 128)


def statistics(array, normalization=None, axes=None):
    return finish(statistics_events(open_image(array, axes), normalization or Normalization()))


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_cells_partition_the_image_and_are_spread_each_once(size, side):
    cells = Cells(size, side)
    seen = np.zeros(size, int)
    for _, region in cells.spread():
        seen[region] += 1
    assert (seen == 1).all()
    assert sorted(map(str, cells)) == sorted(str(region) for _, region in cells.spread())
    assert len(cells) == len(list(cells))


@pytest.mark.parametrize("size", [(1, 5000, 5000), (64, 700, 900), (3, 300, 20000)])
def test_the_first_cells_leave_no_part_of_the_image_out(size):
    cells = cut(dict(zip("ZYX", size, strict=True)), {"Z": 1, "Y": 1, "X": 1}, 4096)
    centres = np.array([[part.start for part in region] for _, region in itertools.islice(cells.spread(), 128)])
    for octant in itertools.product([0, 1], repeat=3):
        inside = [
            (at >= n / 2) == half if n > 3 else np.full(len(at), True)
            for at, n, half in zip(centres.T, size, octant, strict=True)
        ]
        assert 8 <= np.logical_and.reduce(inside).sum() <= 48


@pytest.mark.parametrize(
    ("chunks", "side"),
    [
        ((1, 1, 1), (1, 256, 256)),
        ((1, 64, 64), (1, 256, 256)),
        ((8, 100, 100), (8, 100, 100)),
        ((1, 4, 3000), (1, 32, 3000)),
        ((50, 2000, 3000), (50, 2000, 3000)),
        ((99, 9999, 9999), (50, 2000, 3000)),
    ],
)
def test_cells_are_made_of_whole_chunks(chunks, side):
    size = {"Z": 50, "Y": 2000, "X": 3000}
    assert cut(size, dict(zip("ZYX", chunks, strict=True)), 2**16).side == side


def test_chunks_of_every_kind_of_array_are_known(tmp_path):
    plain = open_image(np.zeros((4, 5, 6)), "ZYX")
    assert set(plain.chunks.values()) == {1}
    stored = zarr.create_array(tmp_path / "a.zarr", shape=(9, 3, 64, 64), chunks=(2, 3, 32, 16), dtype="u1")
    image = open_image(stored, "TCYX")
    assert image.chunks == {"T": 2, "C": 3, "Z": 1, "Y": 32, "X": 16}
    assert Rescaled(image, 0.5).chunks["Y"] == 16
    dask = pytest.importorskip("dask.array")
    assert open_image(dask.zeros((10, 64), chunks=((4, 6), 32)), "YX").chunks["Y"] == 6


def test_thinning_takes_every_odd_nth_line():
    block = np.arange(2 * 3 * 50 * 80).reshape(2, 3, 50, 80)
    few = thin(block, 200)
    assert few.shape[0] == 2
    assert 60 < few[0].size <= 200
    rows = np.unique(few[0] % 4000 // 80)
    assert len(np.unique(rows % 2)) == 2  # even and odd lines alike
    assert thin(block, 10**6).shape == block.shape


def test_no_chunk_is_read_in_part_or_twice(small_samples):
    array = Lazy(np.random.default_rng(0).normal(size=(4, 256, 320)), chunks=(2, 16, 64))
    statistics(array)
    pixels = np.zeros(array.shape, int)
    for z, y, x in array.read:
        pixels[slice(*z), slice(*y), slice(*x)] += 1
    chunks = pixels.reshape(2, 2, 16, 16, 5, 64)
    assert pixels.max() == 1
    assert (chunks.min(axis=(1, 3, 5)) == chunks.max(axis=(1, 3, 5))).all()
    assert pixels.mean() < 0.9


@pytest.mark.parametrize("percents", [(0, 100), (1, 99.8), (37.3, 50)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_counted_values_give_the_percentiles_of_all_of_them(percents, dtype):
    image = np.random.default_rng(0).gamma(2, 12, (301, 402)).astype(dtype) - dtype(3)
    policy = Normalization(low_percentile=percents[0], high_percentile=percents[1])
    found = statistics(image, policy)
    expected = np.percentile(image.astype(np.float32), percents).astype(np.float32)
    assert (found.low[0][0], found.high[0][0]) == tuple(expected)


def test_moments_and_extremes_are_those_of_the_values():
    values = np.random.default_rng(0).integers(-5, 90, 3000).astype(np.float32)
    distinct, counts = np.unique(values, return_counts=True)
    ways = Counted(distinct, counts), Listed(values.copy()), Sampled(np.array_split(values, 7), 20, 0.3)
    for way in ways:
        assert way.moments() == pytest.approx((values.mean(), values.std()), rel=1e-6)
        assert way.extremes() == (values.min(), values.max())
        assert way.size == 3000


def test_integers_in_memory_are_counted_whatever_their_number(small_samples):
    image = np.zeros((600, 700), np.uint16)
    image[17, 300:310] = 4000  # no sample would see them
    found = statistics(image, Normalization(low_percentile=0, high_percentile=100))
    assert (found.low[0], found.high[0], found.error) == (0, 4000, 0)
    assert statistics(Lazy(image), Normalization(low_percentile=0, high_percentile=100)).high[0] <= 4000


def scenes(seed, kind):
    """Images whose parts differ: an illumination ramp, clusters of bright objects, sparse ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:640, :640]
    image = rng.normal(100, 10, y.shape)
    if kind == "ramp":
        return (image * (0.5 + (x + y) / 1280)).astype(np.float32)
    count, spread = {"clusters": (500, 40), "sparse": (200, 400)}[kind]
    homes = rng.uniform(0, 640, (20, 2))
    centres = homes[rng.integers(0, 20, count)] + rng.normal(0, spread, (count, 2))
    for cy, cx in centres.astype(int) % 640:
        image[max(0, cy - 5) : cy + 5, max(0, cx - 5) : cx + 5] = rng.uniform(300, 600)
    return image.astype(np.float32)


@pytest.mark.parametrize("method", ["percentile", "z-score"])
@pytest.mark.parametrize("kind", ["ramp", "clusters", "sparse"])
def test_the_truth_lies_within_the_error_that_is_told(small_samples, monkeypatch, kind, method):
    monkeypatch.setattr(gathering, "DOUBLINGS", 0)
    policy = Normalization(method=method, high_percentile=99)
    told, true = [], []
    for seed in range(20):
        image = scenes(seed, kind)
        found = statistics(Lazy(image), policy)
        low, high = (
            np.percentile(image, (1, 99)) if method == "percentile" else image.mean() + image.std() * np.arange(2)
        )
        span = found.high[0][0] - found.low[0][0]
        told.append(found.error)
        true.append(max(abs(found.low[0][0] - low), abs(found.high[0][0] - high)) / span)
    assert np.mean(np.array(true) <= told) >= 0.85
    assert 0 < np.median(told) < 8 * np.median(true)


def test_a_sample_grows_until_it_is_good_enough(small_samples):
    noise, sparse = Lazy(np.random.default_rng(0).normal(size=(640, 640)).astype(np.float32)), Lazy(scenes(0, "sparse"))
    few, many = statistics(noise, Normalization(method="z-score")), statistics(sparse)
    assert len(noise.read) == 128
    assert few.error < 0.02
    assert len(sparse.read) > 256
    assert many.error < 1


def test_a_doubtful_estimate_is_told_in_one_sentence(small_samples, monkeypatch):
    monkeypatch.setattr(gathering, "DOUBLINGS", 0)
    image = open_image(Lazy(scenes(0, "clusters")), name="cells")
    work = statistics_events(image, Normalization())
    notices = [event.text for event in work if isinstance(event, Notice)]
    error = finish(statistics_events(image, Normalization())).error
    assert notices == [
        f'The brightness of "cells" was estimated from 8 % of its pixels, to within {100 * error:.0f} % of its range.'
    ]
    assert error > 0.02
    whole = statistics_events(open_image(scenes(0, "clusters")[:90, :90]), Normalization())
    assert not any(isinstance(event, Notice) for event in whole)


def test_lost_pixels_and_lost_cells_spoil_no_estimate(small_samples):
    array = np.random.default_rng(0).normal(100, 10, (640, 640)).astype(np.float32)
    array[:100] = np.nan
    array[300, 300] = np.inf
    work = statistics_events(open_image(Lazy(array)), Normalization())
    assert any("at least" in event.text for event in work if isinstance(event, Notice))
    assert statistics(Lazy(array)).low[0][0] == pytest.approx(76.7, abs=2)


@pytest.mark.parametrize(
    ("shape", "dtype", "most_mb"),
    [((4096, 4096), np.uint16, 12), ((2048, 4096), np.float32, 60), ((3000, 3000, 3), np.uint8, 40)],
)
def test_memory_stays_small(shape, dtype, most_mb):
    image = open_image(np.ones(shape, dtype), "YXC" if len(shape) == 3 else "YX")
    policy = Normalization(channels="grey", polarity="bright-objects") if len(shape) == 3 else Normalization()
    tracemalloc.start()
    finish(statistics_events(image, policy))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most_mb * 1e6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float64])
def test_normalizing_makes_no_copies(dtype):
    block = np.random.default_rng(0).integers(0, 200, (2, 1, 700, 900)).astype(dtype)
    found = statistics(block[:, 0], axes="CYX")
    tracemalloc.start()
    values = found.normalize(block, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.dtype == np.float32
    low, high = (bound[0][:, None, None, None] for bound in (found.low, found.high))
    assert np.allclose(values, (block.astype(np.float32) - low) / (high - low), rtol=1e-6)
    assert peak < 1.5 * values.nbytes
