"""Writing: each chunk once, while the network computes; what was computed is never lost, and errors are told."""

import itertools
import threading
import time

import dask.array as da
import numpy as np
import pytest
import zarr

import napari_unet as nu
from napari_unet.errors import ExportError, ImageError, ModelError
from napari_unet.events import TileDone, finish
from napari_unet.imaging.image import open_image
from napari_unet.inference import outputs, writing
from napari_unet.inference.canvas import Reordered
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.exact.intervals import Interval, whole
from napari_unet.inference.pipeline import Wish, predict_events
from napari_unet.inference.writing import ChunkWriter, choose_writer

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small():
    return nu.new_model("unet", width=4, depth=2)


class Counted:
    """A chunked array that notes what is written."""

    def __init__(self, shape, chunks, dtype="f4", fails_at=None):
        self.values = np.full(shape, 77, dtype)
        self.shape, self.chunks, self.dtype = shape, chunks, np.dtype(dtype)
        self.boxes, self.threads, self.fails_at = [], set(), fails_at

    def __setitem__(self, key, values):
        if len(self.boxes) == self.fails_at:
            raise OSError(28, "No space left on device")
        self.boxes.append(tuple((part.start or 0, part.stop) for part in key))
        self.threads.add(threading.current_thread())
        self.values[key] = values

    def writes_per_chunk(self):
        """How often each chunk was touched."""
        count = {}
        for box in self.boxes:
            ranges = [
                range(start // side, -(-(size if stop is None else stop) // side))
                for (start, stop), side, size in zip(box, self.chunks, self.shape, strict=True)
            ]
            for index in itertools.product(*ranges):
                count[index] = count.get(index, 0) + 1
        return count


def chunks_of(shape, chunks):
    return int(np.prod([-(-n // side) for n, side in zip(shape, chunks, strict=True)]))


@pytest.mark.parametrize(
    ("axes", "shape", "chunks"),
    [
        ("YX", (3, 300, 210), (3, 64, 100)),
        ("ZYX", (3, 3, 90, 70), (1, 2, 32, 32)),
        ("XTYZ", (3, 70, 2, 60, 3), (2, 32, 1, 33, 2)),
    ],
)
@pytest.mark.parametrize("scale", [None, 1.5])
def test_each_chunk_is_written_once(small, axes, shape, chunks, scale):
    model = small.with_spec(diameter_px=15.0)
    image = RNG.normal(size=shape[1:])
    expected = nu.predict(model, image, axes=axes, diameter=scale and 15 / scale)
    out = Counted(shape, chunks)
    nu.predict(model, image, axes=axes, diameter=scale and 15 / scale, out=out)
    assert np.array_equal(out.values, expected)
    assert set(out.writes_per_chunk().values()) == {1}
    assert len(out.writes_per_chunk()) == chunks_of(shape, chunks)


def test_each_shard_is_written_once(small, tmp_path, monkeypatch):
    image = RNG.normal(size=(2, 200, 150))
    out = zarr.create_array(
        tmp_path / "out.zarr", shape=(3, 2, 200, 150), chunks=(1, 1, 32, 32), shards=(3, 1, 64, 160), dtype="f4"
    )
    stored = []
    monkeypatch.setattr(
        zarr.Array,
        "__setitem__",
        lambda self, key, values, old=zarr.Array.__setitem__: (stored.append(key), old(self, key, values))[1],
    )
    nu.predict(small, image, out=out)
    assert len(stored) == len(set(map(str, stored))) == 8
    assert np.array_equal(out[:], nu.predict(small, image))


def test_chunks_are_written_by_one_other_thread_that_ends(small):
    out = Counted((3, 120, 100), (3, 40, 40))
    nu.predict(small, RNG.normal(size=(120, 100)), out=out)
    assert len(out.threads) == 1
    assert threading.main_thread() not in out.threads
    assert not any(thread.is_alive() for thread in out.threads)


def test_what_is_reported_has_been_written(small):
    out = Counted((3, 1, 1, 260, 100), (3, 1, 1, 50, 50))
    seen = np.zeros((260, 100), int)
    for event in predict_events(small, open_image(RNG.normal(size=(260, 100))), InferenceConfig(tile=32), out):
        for _, _, (y, y1), (x, x1) in getattr(event, "written", ()):
            assert not (out.values[:, 0, 0, y:y1, x:x1] == 77).any()
            seen[y:y1, x:x1] += 1
    assert (seen == 1).all()


def test_what_was_computed_remains_after_a_cancel(small):
    image = open_image(RNG.normal(size=(260, 90)))
    out = Counted((3, 1, 1, 260, 90), (3, 1, 1, 100, 100))
    work = predict_events(small, image, InferenceConfig(tile=30), out)
    for event in work:
        if isinstance(event, TileDone) and event.done == 5:
            break
    work.close()
    expected = finish(predict_events(small, image)).probabilities
    assert np.allclose(out.values[..., :150, :30], expected[..., :150, :30], atol=1e-6)
    assert (out.values[..., 160:, :] == 77).all()


def test_a_window_is_written_to_an_array_of_its_size(small):
    image = open_image(RNG.normal(size=(2, 120, 90)))
    out = Counted((3, 1, 1, 61, 50), (3, 1, 1, 16, 16))
    window = ((0, 1), (1, 2), (20, 81), (30, 80))
    written = []
    for event in predict_events(small, image, out=out, wish=Wish(window)):
        written += getattr(event, "written", ())
    whole_image = finish(predict_events(small, image)).probabilities
    assert np.allclose(out.values, whole_image[:, :, 1:, 20:81, 30:80], atol=1e-5)
    assert set(out.writes_per_chunk().values()) == {1}
    assert min(y for _, _, (y, _), _ in written) == 20


def test_what_is_done_already_is_left_as_it_is():
    out = Counted((2, 1, 1, 40, 40), (2, 1, 1, 20, 20))
    window = whole((1, 1, 40, 40))
    writer = choose_writer(out, window, [(Interval(0, 1), Interval(0, 1), Interval(0, 30), Interval(0, 40))])
    writer.write((window, np.ones((2, 1, 40, 40), np.float32)))
    writer.close()
    assert (out.values[..., :30, :] == 77).all()
    assert (out.values[..., 30:, :] == 1).all()


def test_memory_is_bounded_where_chunks_hold_many_planes(monkeypatch):
    monkeypatch.setattr(writing, "GATHERED_BYTES", 20_000)
    monkeypatch.setattr(writing, "FREE_SHARE", 0)
    shape = (1, 1, 6, 60, 50)
    out = Counted(shape, (1, 1, 3, 10, 50))
    window = whole(shape[1:])
    writer = choose_writer(out, window)
    values = RNG.random((1, 6, 60, 50)).astype(np.float32)
    for z in range(6):
        writer.write(((window[0], Interval(z, z + 1), *window[2:]), values[:, z : z + 1]))
        assert writer._held <= 20_000
    writer.close()
    assert np.array_equal(out.values[:, 0], values)
    written = out.writes_per_chunk()
    assert min(written.values()) == 1
    assert list(written.values()).count(1) >= 4


def test_a_chunk_that_is_too_large_is_written_once_nevertheless(monkeypatch):
    monkeypatch.setattr(writing, "GATHERED_BYTES", 1000)
    monkeypatch.setattr(writing, "FREE_SHARE", 0)
    out = Counted((2, 1, 1, 90, 50), (2, 1, 1, 90, 50))
    window = whole((1, 1, 90, 50))
    writer = choose_writer(out, window)
    for y in range(0, 90, 10):
        writer.write(((*window[:2], Interval(y, y + 10), window[3]), np.full((2, 1, 10, 50), y, np.float32)))
    writer.close()
    assert out.writes_per_chunk() == {(0, 0, 0, 0, 0): 1}
    assert (out.values[0, 0, 0, ::10, 0] == np.arange(0, 90, 10)).all()


def test_a_disk_that_fails_is_said_in_one_sentence_and_does_not_hang(small):
    out = Counted((3, 400, 60), (3, 20, 60), fails_at=3)
    with pytest.raises(ExportError, match=r"could not be written \(No space left on device\)"):
        nu.predict(small, RNG.normal(size=(400, 60)), tile=20, out=out)
    assert len(out.boxes) == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "napari-unet-writer"]


def test_a_slow_disk_holds_up_the_network_and_not_memory():
    class Slow(Counted):
        def __setitem__(self, key, values):
            time.sleep(0.01)
            super().__setitem__(key, values)

    out = Slow((1, 1, 1, 640, 64), (1, 1, 1, 64, 64))
    window = whole((1, 1, 640, 64))
    writer = ChunkWriter(Reordered(out, "TZYX"), window, Reordered(out, "TZYX").chunks)
    for y in range(0, 640, 64):
        writer.write(((*window[:2], Interval(y, y + 64), window[3]), np.full((1, 1, 64, 64), y, np.float32)))
        assert y // 64 + 1 - len(out.boxes) <= 5
    writer.close()
    assert (out.values[0, 0, 0, ::64, 0] == np.arange(0, 640, 64)).all()


# ---- bytes


@pytest.mark.parametrize("scale", [None, 1.5])
def test_bytes_are_probabilities_of_255(small, scale):
    model = small.with_spec(diameter_px=15.0)
    image = RNG.normal(size=(2, 90, 70))
    expected = nu.predict(model, image, diameter=scale and 15 / scale)
    found = nu.predict(model, image, diameter=scale and 15 / scale, dtype="uint8")
    assert found.dtype == np.uint8
    assert np.abs(found - 255 * expected).max() <= 0.5 + 1e-3
    out = Counted((3, 2, 90, 70), (3, 1, 32, 32), "u1")
    nu.predict(model, image, diameter=scale and 15 / scale, out=out)
    assert np.array_equal(out.values, found)


def test_types_that_make_no_sense_are_refused(small):
    image = np.eye(16)
    with pytest.raises(ImageError, match="int16 was asked for"):
        nu.predict(small, image, dtype="int16")
    with pytest.raises(ImageError, match="'nonsense' is no type"):
        nu.predict(small, image, dtype="nonsense")
    for call in (nu.predict, nu.segment):
        with pytest.raises(ImageError, match="`out` is a list"):
            call(small, image, out=[0])
    with pytest.raises(ImageError, match="Leave one of them out"):
        nu.predict(small, image, out=np.zeros((3, 16, 16), np.uint8), dtype="float32")
    raw = small.with_spec(activation="none")
    with pytest.raises(ModelError, match="raw values"):
        nu.predict(raw, image, dtype="uint8")
    assert nu.predict(raw, image).dtype == np.float32


def test_a_result_that_finds_no_room_is_refused_before_the_work(small, monkeypatch):
    monkeypatch.setattr(outputs, "free_bytes", lambda: 2**30)
    image = da.zeros((8, 4096, 4096), chunks=(1, 4096, 4096), dtype="u1")
    with pytest.raises(ImageError, match=r"takes 1\.5 GiB, and 1\.0 GiB of memory are free.*\(3, 8, 4096, 4096\)"):
        nu.predict(small, image)


def test_free_memory_is_known_here():
    assert outputs.free_bytes() > 2**20
