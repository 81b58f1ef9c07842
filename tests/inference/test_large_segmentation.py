"""Segmentation of large images: probabilities on disk for a while, labels straight to where they belong."""

import numpy as np
import pytest
import zarr

import napari_unet as nu
from napari_unet.errors import Cancelled, ExportError, LabelsError
from napari_unet.events import TileDone, finish
from napari_unet.imaging.image import open_image
from napari_unet.inference import temporary
from napari_unet.inference.segmentation import segment_events
from napari_unet.inference.temporary import TemporaryArray


@pytest.fixture(scope="module")
def nuclei():
    return nu.load_model("nuclei")


@pytest.fixture(scope="module")
def image():
    """Two planes of touching blobs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :150]
    planes = np.zeros((2, 160, 150))
    for z in (0, 1):
        for cy, cx in rng.uniform(10, 140, (25, 2)):
            planes[z] += np.exp(-(((y - cy) / 9) ** 4) - ((x - cx) / 9) ** 4)
    return (1000 * planes + rng.normal(200, 20, planes.shape)).astype(np.uint16)


@pytest.fixture
def large(monkeypatch):
    """Let small images be large ones."""
    monkeypatch.setattr(temporary, "LARGE_BYTES", 1000)


def test_labels_are_those_of_small_images(nuclei, image, monkeypatch):
    expected = nu.segment(nuclei, image)
    monkeypatch.setattr(temporary, "LARGE_BYTES", 1000)
    found = nu.segment(nuclei, image)
    assert found.max() == expected.max() > 10
    assert (found != expected).mean() < 1e-3


def test_large_probabilities_are_not_held(nuclei, image, large):
    found = finish(segment_events(nuclei, open_image(image)))
    assert found.prediction.probabilities is None
    assert found.count == found.labels.max() > 10


@pytest.mark.parametrize("how", ["cancelled", "closed", "done"])
def test_nothing_is_left_of_probabilities(nuclei, image, large, monkeypatch, tmp_path, how):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = []
    monkeypatch.setattr(temporary, "TemporaryArray", lambda shape: made.append(TemporaryArray(shape)) or made[-1])
    work = segment_events(nuclei, open_image(image))
    while not isinstance(next(work), TileDone):
        pass
    if how == "cancelled":
        with pytest.raises(Cancelled):
            work.throw(Cancelled())
    elif how == "closed":
        work.close()
    else:
        finish(work)
    assert [array._file.closed for array in made] == [True]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_the_work(nuclei, image, large, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(temporary, "unnamed_file", full)
    with pytest.raises(ExportError, match=r"temporary space, which could not be had in .* \(No space left on device\)"):
        nu.segment(nuclei, image)


def test_a_temporary_array_is_an_array():
    array = TemporaryArray((3, 4, 5))
    array[1, 2:, :3] = np.arange(6).reshape(2, 3)
    assert array[:, 2:, 1:3].tolist() == [[[0, 0], [0, 0]], [[1, 2], [4, 5]], [[0, 0], [0, 0]]]
    array.close()


@pytest.mark.parametrize("axes", ["TYX", "XYZ", "YZTX"])
@pytest.mark.parametrize("dtype", ["uint32", "uint16", "int64"])
def test_labels_go_straight_to_any_array(nuclei, image, axes, dtype, tmp_path):
    order = {"TYX": (0, 1, 2), "XYZ": (2, 1, 0), "YZTX": (1, 3, 0, 2)}[axes]
    turned = np.transpose(image if len(axes) == 3 else image[..., None], order if len(axes) == 3 else (1, 0, 3, 2))
    expected = nu.segment(nuclei, turned, axes=axes)
    stored = zarr.create_array(tmp_path / "labels.zarr", shape=turned.shape, chunks=(37,) * turned.ndim, dtype=dtype)
    assert nu.segment(nuclei, turned, axes=axes, out=stored) is stored
    assert np.array_equal(stored[:], expected)
    in_memory = np.zeros(turned.shape, dtype)
    assert nu.segment(nuclei, turned, axes=axes, out=in_memory) is in_memory
    assert np.array_equal(in_memory, expected)


def test_labels_are_not_held_beside_an_array_for_them(nuclei, image, monkeypatch):
    """They are made in it."""
    seen = []

    def watch(probabilities, spec, options, out):
        seen.append(out)
        return (yield from label_events(probabilities, spec, options, out))

    from napari_unet.inference import segmentation
    from napari_unet.objects.labelling import label_events

    monkeypatch.setattr(segmentation, "label_events", watch)
    out = np.zeros(image.shape, np.uint32)
    nu.segment(nuclei, image, out=out)
    assert np.shares_memory(seen[0], out)


def test_more_objects_than_a_type_can_number_are_refused(nuclei):
    rng = np.random.default_rng(0)
    image = np.zeros((384, 384))
    y, x = np.mgrid[:22, :22] - 10.5
    for top in range(0, 384, 22)[:-1]:
        for left in range(0, 384, 22)[:-1]:
            image[top : top + 22, left : left + 22] = np.exp(-(((y**2 + x**2) / 60) ** 2))
    image = 1000 * image + rng.normal(100, 10, image.shape)
    assert nu.segment(nuclei, image).max() > 255
    with pytest.raises(LabelsError, match="more objects than uint8"):
        nu.segment(nuclei, image, out=np.zeros(image.shape, np.uint8))
