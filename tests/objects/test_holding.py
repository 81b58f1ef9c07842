"""Labels for Zarr are written once, and what they come from may be of 8 bits and on disk."""

import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.errors import LabelsError
from napari_unet.events import Progress, finish
from napari_unet.objects import holding, labelling, large
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.holding import Held
from napari_unet.objects.labelling import decode, label_events
from napari_unet.objects.linking import join_slices


def spec_of(dims, meaning="instances", activation="softmax"):
    return SimpleNamespace(meaning=meaning, activation=activation, dims=dims)


def blobs(*shape, seed=0, classes=3):
    """Probabilities (K, ...) of smooth noise."""
    rng = np.random.default_rng(seed)
    sigma = [0, *[1.0] * (len(shape) - 2), 4, 4]
    logits = 12 * np.stack([ndi.gaussian_filter(rng.normal(size=(1, *shape)), sigma)[0] for _ in range(classes)])
    powers = np.exp(logits / logits.std())
    return (powers / powers.sum(axis=0)).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    """Label everything in blocks of 48 (24 in 3D), held in a file."""
    monkeypatch.setattr(labelling, "LARGE_PX", {2: 0, 3: 0})
    for module in (labelling, large):
        monkeypatch.setattr(module, "SIDE_PX", {2: 48, 3: 24})
    monkeypatch.setattr(holding, "IN_MEMORY_PX", 0)
    monkeypatch.setattr(holding, "WRITTEN_PX", 3000)


class Stored:
    """A chunked array that counts how often each of its chunks or shards is written, and in which parts."""

    def __init__(self, shape, chunks, shards=None):
        self.shape, self.chunks, self.dtype = shape, chunks, np.dtype(np.uint32)
        if shards is not None:
            self.shards = shards
        self.array = np.full(shape, 99, np.uint32)
        self.written = np.zeros(shape, int)

    def __getitem__(self, key):
        raise AssertionError("nothing that was written is read again")

    def __setitem__(self, key, values):
        for part, size, unit in zip(key, self.shape, getattr(self, "shards", self.chunks), strict=True):
            assert part.start % unit == 0
            assert part.stop % unit == 0 or part.stop == size
        self.array[key] = values
        self.written[key] += 1


CHUNKS = [(1, 1, 32, 32), (1, 2, 70, 90), (2, 3, 16, 16), (1, 4, 64, 200)]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize(("dims", "join_z"), [(2, True), (2, False), (3, True)])
@pytest.mark.parametrize("large", [True, False])
def test_each_chunk_is_written_once_by_whole_chunks(small_blocks, monkeypatch, chunks, dims, join_z, large):
    probabilities, options = blobs(3, 4, 50, 60), ObjectOptions(join_z=join_z)
    monkeypatch.setattr(labelling, "LARGE_PX", {2: 10**9, 3: 10**9})
    expected, count = finish(label_events(probabilities, spec_of(dims), options))
    monkeypatch.setattr(labelling, "LARGE_PX", dict.fromkeys((2, 3), 0 if large else 10**9))
    target = Stored(expected.shape, chunks)
    labels, found = finish(label_events(probabilities, spec_of(dims), options, target))
    assert labels is target
    assert (target.written == 1).all()
    assert np.array_equal(target.array, expected)
    assert found == count > 0


def test_each_shard_is_written_once(small_blocks):
    probabilities = blobs(1, 2, 100, 130)
    target = Stored((1, 2, 100, 130), (1, 1, 16, 16), (1, 1, 48, 64))
    finish(label_events(probabilities, spec_of(2), ObjectOptions(), target))
    assert (target.written == 1).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_classes_are_written_once_too(small_blocks, activation):
    probabilities = blobs(2, 3, 70, 90, classes=4)
    spec, target = spec_of(2, "semantic", activation), Stored((2, 3, 70, 90), (1, 1, 40, 40))
    expected, count = finish(label_events(probabilities, spec, ObjectOptions()))
    _, found = finish(label_events(probabilities, spec, ObjectOptions(), target))
    assert (target.written == 1).all()
    assert np.array_equal(target.array, expected)
    assert found == count > 0


def test_real_shards_hold_what_was_found(small_blocks, tmp_path):
    probabilities = blobs(1, 3, 70, 90)
    expected, _ = finish(label_events(probabilities, spec_of(2), ObjectOptions()))
    source = zarr.create_array(tmp_path / "p.zarr", shape=probabilities.shape, chunks=(3, 1, 1, 32, 32), dtype="f4")
    source[:] = probabilities
    target = zarr.create_array(
        tmp_path / "l.zarr", shape=expected.shape, chunks=(1, 1, 16, 16), shards=(1, 1, 32, 48), dtype="u4"
    )
    events = list(label_events(source, spec_of(2), ObjectOptions(), target))
    assert np.array_equal(target[:], expected)
    writing = [event for event in events if event.stage == "Writing the labels"]
    assert writing == [Progress("Writing the labels", k + 1, len(writing)) for k in range(len(writing))]


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Files that were opened in the temporary folder."""
    opened = []
    whole = tempfile.TemporaryFile

    def note(*args, **kwargs):
        opened.append(whole(*args, dir=tmp_path, **kwargs))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", note)
    return opened


def test_a_cancel_leaves_no_file(small_blocks, files, tmp_path):
    work = label_events(blobs(1, 2, 70, 90), spec_of(2), ObjectOptions(), Stored((1, 2, 70, 90), (1, 1, 32, 32)))
    next(work)
    assert not files[0].closed
    work.close()
    assert files[0].closed
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_no_file(small_blocks, files, tmp_path):
    class Full(Stored):
        def __setitem__(self, key, values):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        finish(label_events(blobs(1, 1, 70, 90), spec_of(2), ObjectOptions(), Full((1, 1, 70, 90), (1, 1, 32, 32))))
    assert all(file.closed for file in files)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_beforehand(small_blocks, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_unet.atomic.reserve", full)
    with pytest.raises(LabelsError, match=r"could not be had in .* \(No space left on device\).*TMPDIR"):
        finish(label_events(blobs(1, 1, 70, 90), spec_of(2), ObjectOptions(), Stored((1, 1, 70, 90), (1, 1, 32, 32))))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 25), st.data())
def test_what_is_held_comes_back(width, column, choose):
    held, truth = Held((2, 3, 9, width), column), np.zeros((2, 3, 9, width), np.uint32)
    for value in range(1, 6):
        x = slice(*sorted(choose.draw(st.tuples(st.integers(0, width - 1), st.integers(1, width)))))
        if x.start == x.stop:
            continue
        key = (value % 2, value % 3, slice(1, 7), x)
        held[key] = np.full((6, x.stop - x.start), value, np.uint32)
        truth[key] = value
        assert np.array_equal(held[0, slice(0, 3), slice(0, 9), x], truth[0, :, :, x])
    assert np.array_equal(held[1, slice(0, 3), slice(0, 9), slice(0, width)], truth[1])


@pytest.mark.parametrize("meaning", ["instances", "semantic"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7, 0.77])
def test_eight_bits_mean_the_same_as_shares_of_255(meaning, activation, threshold):
    eight = np.round(255 * blobs(1, 150, 170)[:, 0]).astype(np.uint8)
    options = ObjectOptions(threshold=threshold, seed_threshold=threshold, min_size_px=4)
    exact = eight.astype(np.float64) / 255
    if meaning == "instances":  # so that there is no rounding where one is compared with the other
        exact[0] = 1 - (255 - eight[0].astype(np.float64)) / 255
    spec = spec_of(2, meaning, activation)
    expected, count = decode(exact.astype(np.float32), spec, options)
    labels, found = decode(eight, spec, options)
    assert np.array_equal(labels > 0, expected > 0)
    assert np.mean(labels == expected) > 0.99
    assert found == count > 0


def test_a_threshold_that_a_value_of_8_bits_meets_is_not_exceeded():
    values = np.arange(256, dtype=np.uint8)
    block = np.stack([255 - values, values])[:, None]
    for step in range(1, 255):
        options = ObjectOptions(threshold=step / 255, seed_threshold=0.5, min_size_px=0)
        labels, _ = decode(block, spec_of(2), options)
        assert np.array_equal(np.flatnonzero(labels[0]), np.arange(step + 1, 256))


@pytest.mark.parametrize("meaning", ["instances", "semantic"])
def test_eight_bits_on_disk_are_read_block_by_block(small_blocks, tmp_path, meaning):
    eight = np.round(255 * blobs(2, 3, 70, 90)).astype(np.uint8)
    whole, _ = finish(label_events(eight, spec_of(3, meaning), ObjectOptions()))
    mapped = np.memmap(tmp_path / "p.raw", np.uint8, "w+", shape=eight.shape)
    mapped[:] = eight
    target = zarr.create_array(tmp_path / "l.zarr", shape=whole.shape, chunks=(1, 3, 32, 32), dtype="u4")
    finish(label_events(mapped, spec_of(3, meaning), ObjectOptions(), target))
    assert np.array_equal(target[:], whole)


def test_joining_reads_one_slice_after_the_other():
    """No copy of the stack is made, and ids may have gaps."""
    stack = np.zeros((40, 64, 64), np.uint32)
    for z in range(40):
        stack[z, 10:20, z : z + 12] = 5 * z + 9
        stack[z, 40:50, 10:20] = 5 * z + 11 if z % 2 else 0
    assert join_slices(stack, 0.75, first_id=8) == 21
    assert set(np.unique(stack)) == {0, *range(9, 30)}
    assert (stack[0, 15, 5], stack[39, 15, 45]) == (9, 9)
