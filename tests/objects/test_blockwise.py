"""Labels block by block are those of the whole image, number for number."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from napari_unet.events import Progress, finish
from napari_unet.objects import labelling
from napari_unet.objects.blocks import Grid, Part
from napari_unet.objects.blockwise import label_in_blocks, steps
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode, label_events
from napari_unet.objects.large import Large

ANY_SIZE = 10**9


def spec_of(probabilities, meaning="instances", activation="softmax"):
    return SimpleNamespace(meaning=meaning, activation=activation, dims=probabilities.ndim - 1)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)


def touching_cells(shape, points, radius, noise, rng):
    """Return probabilities (3, ...) of cells around points, ever less sure towards their borders."""
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    nearest, second = np.moveaxis(cKDTree(points).query(grid, k=2)[0], -1, 0)
    inside = np.minimum((second - nearest) / 2, radius - nearest) - 1.5
    logits = np.stack([nearest - radius, inside, np.zeros(shape)])
    return softmax(logits + rng.normal(0, noise, logits.shape))


def in_blocks(probabilities, spec, options, side, halo, limit=ANY_SIZE, out=None):
    shape = probabilities.shape[1:]
    labels = np.full(shape, 77, np.uint32) if out is None else out
    large = Large(Part(probabilities, ()), Part(labels, ()), Grid(shape, side), halo, limit)
    return labels, finish(label_in_blocks(large, spec, options))


@st.composite
def images(draw):
    dims = draw(st.sampled_from([2, 2, 3]))
    sides = st.integers(30, 150) if dims == 2 else st.integers(8, 40)
    shape = tuple(draw(sides) for _ in range(dims))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    spacing = draw(st.floats(6, 30))
    points = rng.uniform(0, shape, (max(2, int(np.prod(shape) / spacing**dims)), dims))
    return touching_cells(shape, points, draw(st.floats(3, 20)), draw(st.floats(0.01, 1.5)), rng)


@st.composite
def choices(draw):
    return ObjectOptions(
        threshold=draw(st.floats(0.2, 0.8)),
        seed_threshold=draw(st.floats(0.2, 0.8)),
        min_size_px=draw(st.integers(0, 40)),
        fill_holes=draw(st.booleans()),
    )


@pytest.mark.parametrize("meaning", ["instances", "semantic"])
@pytest.mark.parametrize(("side", "halo"), [(48, 24), (48, 2), (13, 3)])
@settings(max_examples=15, deadline=None)
@given(images(), choices())
def test_blocks_give_the_labels_of_the_whole_image(meaning, side, halo, probabilities, options):
    spec = spec_of(probabilities, meaning)
    expected, count = decode(probabilities, spec, options)
    labels, found = in_blocks(probabilities, spec, options, side, halo)
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, expected)
    assert found == count


def test_no_cell_of_a_dense_tissue_is_merged_or_split():
    rng = np.random.default_rng(1)
    shape, radius = (490, 490), 9
    # Centres on a shaken grid, so that each of them is a cell of its own.
    centres = np.stack(np.meshgrid(np.arange(49), np.arange(49), indexing="ij"), axis=-1).reshape(-1, 2) * 10 + 5
    probabilities = touching_cells(shape, centres + rng.uniform(-1.5, 1.5, centres.shape), radius, 0.05, rng)
    options = ObjectOptions(min_size_px=15, seed_threshold=0.55)
    labels, count = in_blocks(probabilities, spec_of(probabilities), options, 164, 24)
    assert count == 2401
    assert len(np.unique(labels[centres[:, 0], centres[:, 1]])) == 2401
    assert np.array_equal(labels, decode(probabilities, spec_of(probabilities), options)[0])


@pytest.mark.parametrize("value", [0.9, 1.0])
def test_of_exactly_equal_probabilities_only_the_border_is_open(value):
    """Where pixels tie, a watershed gives them to whoever asks first, which depends on the window."""
    y, x = np.mgrid[:150, :150]
    offset = np.hypot(y % 15 - 7, x % 15 - 7)
    truth = np.where(offset > 7.5, 0, np.where(offset > 5.5, 2, 1))
    truth[:, 145:] = truth[145:] = 0
    rest = (1 - value) / 2
    probabilities = np.where(np.arange(3)[:, None, None] == truth, value, rest).astype(np.float32)
    expected, count = decode(probabilities, spec_of(probabilities), ObjectOptions())
    labels, found = in_blocks(probabilities, spec_of(probabilities), ObjectOptions(), 48, 24)
    assert found == count == 100
    assert np.array_equal(labels[truth != 2], expected[truth != 2])
    assert np.array_equal(labels > 0, expected > 0)


def long_object():
    """One bar over many blocks, whose only seed is at its end, beside another one that is a seed all along."""
    logits = np.zeros((3, 60, 400))
    logits[0] = 6
    logits[0, 10:22, 5:395] = logits[0, 22:40, 5:395] = -6
    logits[1] = np.linspace(0.3, -4, 400)
    logits[1, 10:22, :30] = 5
    logits[1, 22] = -5
    logits[1, 23:40] = 5
    return softmax(logits + np.random.default_rng(0).normal(0, 0.01, logits.shape))


@pytest.mark.parametrize("halo", [4, 24])
def test_an_object_much_larger_than_block_and_halo_stays_one(halo):
    probabilities = long_object()
    options = ObjectOptions(min_size_px=0)
    expected, count = decode(probabilities, spec_of(probabilities), options)
    labels, found = in_blocks(probabilities, spec_of(probabilities), options, 48, halo)
    assert np.array_equal(labels, expected)
    assert found == count == 2


def test_what_the_largest_window_cannot_reach_is_one_object_of_its_own():
    probabilities = long_object()[:, :22]
    labels, count = in_blocks(
        probabilities, spec_of(probabilities), ObjectOptions(min_size_px=0), 48, 8, limit=22 * 100
    )
    assert count == 2
    assert labels[15, 20] == 1
    assert labels[15, 390] == 2
    assert np.array_equal(labels > 0, decode(probabilities, spec_of(probabilities), ObjectOptions())[0] > 0)


def test_a_hole_that_spans_many_blocks_is_filled():
    logits = np.zeros((3, 200, 200))
    logits[0] = 6
    logits[0, 10:190, 10:190] = -6
    logits[1] = 5
    logits[0, 20:180, 20:180] = 6
    logits[0, 60:140, 60:140] = -6  # an island inside
    probabilities = softmax(logits)
    filled, count = in_blocks(probabilities, spec_of(probabilities), ObjectOptions(), 32, 8)
    assert count == 2
    assert filled[30, 30] == 0  # between two objects
    probabilities[:, 60:140, 60:140] = np.array([1, 0, 0])[:, None, None]
    filled, count = in_blocks(probabilities, spec_of(probabilities), ObjectOptions(), 32, 8)
    assert count == 1
    assert (filled[10:190, 10:190] == 1).all()
    assert not filled[:10].any()


@pytest.mark.parametrize(("activation", "classes"), [("softmax", 3), ("sigmoid", 2), ("sigmoid", 1), ("none", 4)])
def test_classes_of_every_activation(activation, classes):
    rng = np.random.default_rng(3)
    coarse = rng.normal(0, 2, (classes, 20, 17)).repeat(7, axis=1).repeat(7, axis=2)
    outputs = (coarse + rng.normal(0, 0.5, coarse.shape)).astype(np.float32)
    if activation == "softmax":
        outputs = softmax(outputs)
    elif activation == "sigmoid":
        outputs = 1 / (1 + np.exp(-outputs))
    spec = spec_of(outputs, "semantic", activation)
    expected, count = decode(outputs, spec, ObjectOptions(min_size_px=10))
    labels, found = in_blocks(outputs, spec, ObjectOptions(min_size_px=10), 48, 4)
    assert np.array_equal(labels, expected)
    assert found == count > 0


class Watched:
    """An array of which no large part may be read."""

    def __init__(self, array, most):
        self._array, self._most, self.shape = array, most, array.shape

    def __getitem__(self, key):
        part = self._array[key]
        assert part.size <= self._most * (len(part) if isinstance(key[0], slice) else 1)
        return part


def test_memory_does_not_grow_with_the_image():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 256, (200, 2))
    tile = touching_cells((256, 256), points, 12, 0.2, rng)
    peaks = []
    for repeats in (2, 4):
        probabilities = np.tile(tile, (1, repeats, repeats))
        labels = np.empty(probabilities.shape[1:], np.uint32)
        tracemalloc.start()
        in_blocks(Watched(probabilities, 60000), spec_of(probabilities), ObjectOptions(), 128, 16, 60000, labels)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # What grows are a few numbers for each object, and the faces of one row of blocks. A whole image takes 43 bytes a
    # pixel.
    assert peaks[1] - peaks[0] < 0.5 * (1024**2 - 512**2)
    assert peaks[1] < 0.15 * probabilities.nbytes


@pytest.fixture
def small_blocks(monkeypatch):
    """Label everything in blocks of 48."""
    monkeypatch.setattr(labelling, "LARGE_PX", {2: 0, 3: 0})
    monkeypatch.setattr("napari_unet.objects.large.SIDE_PX", {2: 48, 3: 24})
    monkeypatch.setattr(labelling, "SIDE_PX", {2: 48, 3: 24})


def movie(depth, times=2):
    rng = np.random.default_rng(5)
    volumes = [
        touching_cells((depth, 70, 90), rng.uniform(0, (depth, 70, 90), (30, 3)), 12, 0.1, rng) for _ in range(times)
    ]
    return np.stack(volumes, axis=1)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("join_z", [True, False])
def test_large_movies_get_the_labels_of_small_ones(small_blocks, monkeypatch, dims, join_z):
    probabilities = movie(6)
    spec = SimpleNamespace(meaning="instances", activation="softmax", dims=dims)
    options = ObjectOptions(join_z=join_z)
    events = list(label_events(probabilities, spec, options))
    labels, count = finish(label_events(probabilities, spec, options))
    monkeypatch.setattr(labelling, "LARGE_PX", {2: ANY_SIZE, 3: ANY_SIZE})
    expected, number = finish(label_events(probabilities, spec, options))
    assert np.array_equal(labels, expected)
    assert count == number == labels.max()
    found = [event for event in events if event.stage == "Finding objects"]
    assert found == [Progress("Finding objects", k + 1, len(found)) for k in range(len(found))]
    assert ("Joining slices" in {event.stage for event in events}) == (join_z and dims == 2)


@pytest.mark.parametrize("large", [True, False])
def test_from_zarr_to_zarr(small_blocks, monkeypatch, tmp_path, large):
    probabilities = movie(3, times=1)
    spec = SimpleNamespace(meaning="instances", activation="softmax", dims=2)
    expected, number = finish(label_events(probabilities, spec, ObjectOptions()))
    monkeypatch.setattr(labelling, "LARGE_PX", {2: 0 if large else ANY_SIZE})
    source = zarr.create_array(tmp_path / "p.zarr", shape=probabilities.shape, chunks=(1, 1, 1, 32, 32), dtype="f4")
    source[:] = probabilities
    target = zarr.create_array(tmp_path / "l.zarr", shape=probabilities.shape[1:], chunks=(1, 1, 48, 48), dtype="u4")
    labels, count = finish(label_events(source, spec, ObjectOptions(), target))
    assert labels is target
    assert count == number
    assert np.array_equal(target[:], expected)


def test_it_says_beforehand_how_many_steps_there_are():
    probabilities = movie(1, times=1)[:, 0, 0]
    for meaning in ("instances", "semantic"):
        spec = spec_of(probabilities, meaning)
        grid = Grid(probabilities.shape[1:], 48)
        large = Large(Part(probabilities, ()), Part(np.zeros(grid.shape, np.uint32), ()), grid, 8, ANY_SIZE)
        assert len(list(label_in_blocks(large, spec, ObjectOptions()))) == steps(grid, spec)
