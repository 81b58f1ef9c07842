"""Reading: each chunk of a file once, before its turn comes; errors as if there were no thread, and no thread left."""

import threading
import time

import numpy as np
import pytest
import zarr

import napari_unet as nu
from napari_unet.errors import ImageError
from napari_unet.events import TileDone, finish
from napari_unet.imaging import chunk_cache
from napari_unet.imaging.chunk_cache import ChunkCache, cached
from napari_unet.imaging.chunks import Chunks
from napari_unet.imaging.image import open_image
from napari_unet.inference import pipeline
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import predict_events
from napari_unet.inference.slabs import plan_slabs

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small():
    return nu.new_model("unet", width=4, depth=2)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    """Small images behave as large ones do: chunks are not read together, and few are kept."""
    monkeypatch.setattr("napari_unet.imaging.chunks.FEWEST_BYTES", 1)
    monkeypatch.setattr(chunk_cache, "CACHE_BYTES", 80_000)
    monkeypatch.setattr(chunk_cache, "LEAST_BYTES", 40_000)
    monkeypatch.setattr(chunk_cache, "MOST_BYTES", 160_000)


class Counted:
    """A chunked array that notes which chunks are read, and by which thread."""

    def __init__(self, values, chunks, fails_from=None):
        self.values, self.chunks = values, chunks
        self.shape, self.dtype = values.shape, values.dtype
        self.reads, self.threads, self.fails_from = {}, [], fails_from

    def __getitem__(self, box):
        if self.fails_from is not None and box[-2].start >= self.fails_from:
            raise OSError(5, "Input/output error")
        for index in Chunks.regular(self.shape, self.chunks).touched(box):
            self.reads[index] = self.reads.get(index, 0) + 1
        self.threads.append(threading.current_thread().name)
        return self.values[box]


@pytest.fixture
def predicted(monkeypatch):
    """Predict, and count what is read after the statistics."""

    def predict(model, array, config=None):
        def plan(*args):
            array.reads, array.threads = {}, []
            return plan_slabs(*args)

        monkeypatch.setattr(pipeline, "plan_slabs", plan)
        image = open_image(array, "TZYX"[-array.values.ndim :])
        return finish(predict_events(model, image, config)).probabilities

    return predict


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((900, 100), (90, 50)),  # strips along Y
        ((100, 900), (50, 90)),  # strips along X
        ((6, 160, 70), (1, 60, 40)),  # planes
        ((12, 80, 60), (4, 40, 30)),  # chunks of several planes
    ],
)
def test_each_chunk_is_read_once(small, predicted, shape, chunks):
    values = RNG.integers(0, 4000, shape, dtype=np.uint16)
    array = Counted(values, chunks)
    found = predicted(small, array)
    assert set(array.reads.values()) == {1}
    assert len(array.reads) == np.prod([-(-n // side) for n, side in zip(shape, chunks, strict=True)])
    assert np.allclose(found, finish(predict_events(small, open_image(values))).probabilities, atol=1e-5)


@pytest.mark.parametrize(("shape", "chunks"), [((9, 160, 70), (1, 60, 40)), ((12, 80, 60), (4, 40, 30))])
def test_each_chunk_is_read_once_for_all_neighbours(predicted, shape, chunks):
    model = nu.new_model("unet", slices=3, width=4, depth=2)
    array = Counted(RNG.integers(0, 4000, shape, dtype=np.uint16), chunks)
    predicted(model, array)
    assert set(array.reads.values()) == {1}
    assert array.threads.count("napari-unet-reader") > 0.5 * len(array.threads)


def test_what_comes_next_is_read_by_another_thread(small, predicted):
    array = Counted(RNG.integers(0, 4000, (12, 160, 70), dtype=np.uint16), (1, 60, 40))
    predicted(small, array)
    assert array.threads.count("napari-unet-reader") > 0.8 * len(array.threads)


def test_small_images_are_read_once_for_statistics_and_network(small):
    array = Counted(RNG.integers(0, 4000, (120, 100), dtype=np.uint16), (50, 50))
    nu.predict(small, array, axes="YX")
    assert set(array.reads.values()) == {1}


def test_a_rescaled_image_is_read_once(small, predicted):
    model = small.with_spec(diameter_px=10.0)
    array = Counted(RNG.integers(0, 4000, (900, 100), dtype=np.uint16), (90, 50))
    predicted(model, array, InferenceConfig(diameter_px=14))
    assert set(array.reads.values()) == {1}


def test_nothing_is_kept_of_arrays_in_memory(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype="u2", shape=(50, 50))
    for array in (np.zeros((50, 50)), stored):
        image = open_image(array)
        with cached(image) as same:
            assert same is image


def test_memory_is_bounded():
    values = RNG.integers(0, 4000, (100, 400), dtype=np.uint16)
    cache = ChunkCache(Counted(values, (10, 40)), Chunks.regular((100, 400), (10, 40)), "image", limit_bytes=20_000)
    try:
        for y in range(0, 100, 5):
            box = (slice(y, y + 5), slice(0, 400))
            assert np.array_equal(cache[box], values[box])
            cache.ahead([(slice(y + 5, 100), slice(0, 400))])
            assert cache._bytes <= 20_000
    finally:
        cache.close()
    assert set(cache.array.reads.values()) == {1}


def test_what_is_given_cannot_be_changed_by_mistake():
    cache = ChunkCache(Counted(np.ones((10, 10)), (10, 10)), Chunks.regular((10, 10), (10, 10)), "image")
    with pytest.raises(ValueError, match="read-only"):
        cache[slice(0, 5), slice(0, 5)][0] = 7


@pytest.mark.parametrize("scale", [None, 14])
def test_a_file_that_breaks_off_is_said_in_one_sentence(small, scale):
    model = small.with_spec(diameter_px=10.0)
    array = Counted(RNG.integers(0, 4000, (900, 100), dtype=np.uint16), (90, 50))
    work = predict_events(model, open_image(array, "YX", name="cells.zarr"), InferenceConfig(diameter_px=scale))
    while not isinstance(next(work), TileDone):
        pass
    array.fails_from = 500
    with pytest.raises(ImageError, match=r'"cells.zarr" cannot be read \(Input/output error\)'):
        finish(work)
    assert not readers()


def test_a_cancel_leaves_no_thread(small):
    array = Counted(RNG.integers(0, 4000, (900, 100), dtype=np.uint16), (90, 50))
    work = predict_events(small, open_image(array, "YX"), InferenceConfig(tile=32))
    while not isinstance(next(work), TileDone):
        pass
    assert readers()
    work.close()
    assert not readers()


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "napari-unet-reader"]


def test_who_needs_what_is_just_being_read_waits_for_it():
    class Slow(Counted):
        def __getitem__(self, box):
            time.sleep(0.05)
            return super().__getitem__(box)

    array = Slow(RNG.random((20, 10)), (10, 10))
    cache = ChunkCache(array, Chunks.regular((20, 10), (10, 10)), "image")
    cache.ahead([(slice(10, 20), slice(0, 10))])
    time.sleep(0.02)
    assert np.array_equal(cache[slice(12, 14), slice(0, 10)], array.values[12:14])
    cache.close()
    assert array.reads == {(1, 0): 1}


def test_shards_are_read_whole_unless_they_are_large(tmp_path, monkeypatch):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(200, 200), chunks=(10, 10), shards=(100, 100), dtype="u1")
    with cached(open_image(array)) as kept:
        assert kept.array._boxes.largest == 100 * 100
    monkeypatch.setattr(chunk_cache, "CACHE_BYTES", 30_000)
    with cached(open_image(array)) as kept:
        assert kept.array._boxes.largest == 10 * 10


def test_small_chunks_are_read_several_at_a_time(monkeypatch):
    monkeypatch.setattr("napari_unet.imaging.chunks.FEWEST_BYTES", 2**16)
    array = Counted(np.zeros((3, 1000, 1000), np.uint16), (1, 16, 16))
    with cached(open_image(array)) as kept:
        assert kept.array._boxes.largest * 2 == 2**16
        assert kept.read(0, slice(1, 2), slice(3, 900), slice(0, 1000)).shape == (1, 1, 897, 1000)
    assert array.reads
    assert set(array.reads.values()) == {1}
