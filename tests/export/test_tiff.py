"""Export: what is saved reads back the same everywhere, or nothing changes on the disk."""

import os
import subprocess
import sys
import tracemalloc

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from saved_labels import RNG, SIZE, labels_of, leftovers

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, Cancelled, ExportError, ImageError, LabelsError
from napari_unet.events import Progress
from napari_unet.export import layouts, rasters, verifying, writing
from napari_unet.export.rasters import About
from napari_unet.export.tiff import (
    save_binary,
    save_classes,
    save_masks,
    save_masks_events,
    save_probabilities,
    save_probabilities_events,
)
from napari_unet.imaging import chunk_cache
from napari_unet.imaging.reading import read_image

LONG = "n" * (251 if os.name == "posix" else 90) + ".tif"  # 255 bytes, the most that Linux allows


# --- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TZYX", "ZTYX", "XY", "YXZ"])
@pytest.mark.parametrize("largest", [1, 65535, 65536, 2**32 - 1])
def test_masks_come_back(tmp_path, axes, largest):
    labels = labels_of(axes, largest)
    path = save_masks(tmp_path / "m.tif", labels, axes, SIZE)
    image = read_image(path)
    wanted = "".join(axis for axis in "TZYX" if axis in axes)
    assert image.axes == wanted
    np.testing.assert_array_equal(image.array, np.transpose(labels, [axes.index(axis) for axis in wanted]))
    assert image.array.dtype == (np.uint16 if largest <= 65535 else np.uint32)
    assert image.pixel_size.along("ZYX") == pytest.approx(SIZE.along("ZYX"), rel=1e-6)
    assert leftovers(tmp_path) == []


@given(
    labels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32, np.uint32]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements=st.integers(0, 200),
    )
)
@example(np.ones((2, 1), np.uint8))
@example(np.ones((3, 2, 1), np.uint32))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_small_mask_comes_back(tmp_path, labels):
    image = read_image(save_masks(tmp_path / "m.tif", labels))
    np.testing.assert_array_equal(np.asarray(image.array).reshape(labels.shape), labels)


def test_layout_that_imagej_opens(tmp_path):
    with tifffile.TiffFile(save_masks(tmp_path / "m.tif", labels_of("TZYX"), "TZYX", SIZE)) as file:
        page = file.pages[0]
        assert file.is_imagej
        assert not file.is_bigtiff
        assert not page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.predictor == 1
        assert file.byteorder == "<"
        metadata = file.imagej_metadata
        assert (metadata["frames"], metadata["slices"], metadata["unit"]) == (2, 3, "um")
        assert metadata["spacing"] == 1.5


def test_many_objects_make_an_ome_tiff(tmp_path):
    with tifffile.TiffFile(save_masks(tmp_path / "m.tif", labels_of("ZYX", 70_000), pixel_size=SIZE)) as file:
        assert file.is_ome
        assert 'PhysicalSizeZ="1.5"' in file.ome_metadata
        assert file.series[0].dtype == np.uint32


def test_large_stacks_make_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "IMAGEJ_BYTES", 1000)
    monkeypatch.setattr(layouts, "BIGTIFF_BYTES", 4000)
    labels = labels_of("TZYX", 500)
    path = save_masks(tmp_path / "m.tif", labels, "TZYX")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert file.is_ome
    np.testing.assert_array_equal(read_image(path).array, labels)


def test_other_programs_read_the_same_ids(tmp_path):
    flat = labels_of("YX")
    with Pillow.open(save_masks(tmp_path / "flat.tif", flat)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), flat)
    stack = labels_of("ZYX")
    with Pillow.open(save_masks(tmp_path / "stack.tif", stack)) as picture:
        assert picture.n_frames == 3
        for z in range(3):
            picture.seek(z)
            np.testing.assert_array_equal(np.asarray(picture), stack[z])


def test_unknown_pixel_size_stays_unknown(tmp_path):
    for largest in (3, 70_000):
        path = save_masks(tmp_path / "m.tif", labels_of("ZYX", largest))
        assert read_image(path).pixel_size == PixelSize()
        path = save_masks(tmp_path / "m.tif", labels_of("ZYX", largest), pixel_size=PixelSize(z_um=2.0))
        assert read_image(path).pixel_size == PixelSize()
        path = save_masks(tmp_path / "m.tif", labels_of("ZYX", largest), pixel_size=PixelSize(None, 0.5, 0.5))
        assert read_image(path).pixel_size == PixelSize(None, 0.5, 0.5)


def test_lazy_labels_are_read_plane_by_plane(tmp_path):
    labels = labels_of("ZYX").astype(np.uint16)
    stored = zarr.create_array(tmp_path / "a.zarr", data=labels, chunks=(1, 17, 23))
    np.testing.assert_array_equal(read_image(save_masks(tmp_path / "m.tif", stored)).array, labels)


def test_probabilities_have_their_classes_as_channels(tmp_path):
    probabilities = RNG.random((3, 4, 17, 23)).astype(np.float32)
    probabilities[0, 0, 0, 0] = np.nan
    path = save_probabilities(tmp_path / "p.tif", probabilities, "ZYX", SIZE)
    image = read_image(path)
    assert image.axes == "ZCYX"
    np.testing.assert_array_equal(image.array, probabilities.transpose(1, 0, 2, 3))
    assert image.array.dtype == np.float32
    assert image.pixel_size.along("ZYX") == pytest.approx(SIZE.along("ZYX"), rel=1e-6)


@pytest.mark.parametrize("name", ["Maske 3 (α).tif", "細胞 #1 & 50%.TIFF", LONG])
def test_any_file_name(tmp_path, name):
    path = save_masks(str(tmp_path / name), labels_of("YX"))
    assert path == tmp_path / name
    assert read_image(path).array.shape == (17, 23)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such rights")
def test_new_file_has_usual_rights_and_old_one_keeps_its_own(tmp_path):
    (tmp_path / "usual").touch()
    path = save_masks(tmp_path / "m.tif", labels_of("YX"))
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    path.chmod(0o640)
    save_masks(path, labels_of("YX"))
    assert path.stat().st_mode & 0o777 == 0o640


def test_probabilities_in_bytes_are_rounded(tmp_path):
    probabilities = np.array([[[0, 0.25, 0.5, 1, np.nan, 1.2, -0.1]]], np.float32)
    path = save_probabilities(tmp_path / "p.tif", probabilities, kind="uint8")
    np.testing.assert_array_equal(read_image(path).array, [[0, 64, 128, 255, 0, 255, 0]])
    back = save_probabilities(tmp_path / "f.tif", read_image(path).array[None])
    np.testing.assert_allclose(read_image(back).array, [[0, 0.25, 0.5, 1, 0, 1, 0]], atol=0.002)


@pytest.mark.parametrize("labels", [np.array([[0, 3], [70_000, 0]]), np.array([[False, True], [True, False]])])
def test_binary_masks_are_white_in_objects(tmp_path, labels):
    image = read_image(save_binary(tmp_path / "b.tif", labels))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.array, [[0, 255], [255, 0]])


def test_each_class_has_a_channel(tmp_path):
    labels = np.array([[0, 1, 2], [2, 2, 0]])
    image = read_image(save_classes(tmp_path / "c.tif", labels, ("tumour", "stroma", "absent")))
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.array[0], [[0, 255, 0], [0, 0, 0]])
    np.testing.assert_array_equal(image.array[1], [[0, 0, 255], [255, 255, 0]])
    assert not image.array[2].any()


@pytest.mark.parametrize("pillow", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_planes_larger_than_a_band(tmp_path, monkeypatch, pillow, large):
    """Written and read back in several pieces, each of several strips."""
    monkeypatch.setattr(layouts, "STRIP_BYTES", 1000)
    monkeypatch.setattr(rasters, "BAND_BYTES", 3000)
    monkeypatch.setattr(verifying, "PILLOW_PIXELS", 2**24 if pillow else 0)
    if large:
        monkeypatch.setattr(layouts, "IMAGEJ_BYTES", 1)
        monkeypatch.setattr(layouts, "BIGTIFF_BYTES", 1)
    labels = RNG.integers(0, 65535, (2, 53, 31))
    path = save_masks(tmp_path / "m.tif", zarr.array(labels, chunks=(1, 10, 31)))
    np.testing.assert_array_equal(read_image(path).array, labels)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages[0].dataoffsets) == 4
        assert file.is_bigtiff == large


def test_places_beyond_4_gib(tmp_path, monkeypatch):
    """A file with a hole of 5 GiB, which takes no space on the disk, before its first plane."""

    class Sparse(tifffile.TiffWriter):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self._fh.seek(5 * 2**30)

    monkeypatch.setattr(layouts, "IMAGEJ_BYTES", 1)
    monkeypatch.setattr(layouts, "BIGTIFF_BYTES", 1)
    monkeypatch.setattr(writing.tifffile, "TiffWriter", Sparse)
    labels = labels_of("TZYX")
    path = save_masks(tmp_path / "m.tif", labels, "TZYX", SIZE)
    assert path.stat().st_size > 5 * 2**30
    with tifffile.TiffFile(path) as file:
        assert min(min(page.dataoffsets) for page in file.pages) > 2**32
    image = read_image(path)
    np.testing.assert_array_equal(image.array, labels)
    assert image.pixel_size.along("ZYX") == pytest.approx(SIZE.along("ZYX"))


LARGE = """
import resource, sys
import numpy as np
from napari_unet.export.tiff import save_masks
labels = np.broadcast_to(np.uint16(7), (1, 50_000, 47_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_masks(sys.argv[1], labels)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
def test_plane_of_more_than_4_gib_takes_little_memory(tmp_path):
    command = [sys.executable, "-c", LARGE, str(tmp_path / "m.tif")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True)
    assert int(done.stdout) < 256 * 2**10
    image = read_image(tmp_path / "m.tif")
    assert image.array.shape == (50_000, 47_000)
    assert (image.array[-2:, -2:] == 7).all()


def test_lazy_labels_are_not_loaded(tmp_path, monkeypatch):
    """40 MiB of pixels are never in memory at once."""
    monkeypatch.setattr("napari_unet.imaging.tiff.IN_MEMORY_BYTES", 2**22)
    monkeypatch.setattr(chunk_cache, "CACHE_BYTES", 2**22)
    labels = dask.array.zeros((20, 1024, 1024), chunks=(1, 1024, 1024), dtype=np.uint16)
    tracemalloc.start()
    try:
        path = save_masks(tmp_path / "m.tif", labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20
    assert read_image(path).array.shape == (20, 1024, 1024)


def test_image_is_named(tmp_path):
    about = About("Zelle (α).tif", 12.5)
    for largest in (9, 70_000):
        path = save_masks(tmp_path / "m.tif", labels_of("TYX", largest), "TYX", SIZE, about)
        with tifffile.TiffFile(path) as file:
            assert "Zelle (α).tif" in (file.ome_metadata or file.imagej_metadata["Info"])
            assert "12.5" in (file.ome_metadata or str(file.imagej_metadata["finterval"]))


def test_it_tells_how_far_it_is(tmp_path):
    events = list(save_masks_events(tmp_path / "m.tif", labels_of("TZYX"), "TZYX"))
    assert all(isinstance(event, Progress) for event in events)
    for stage in ("Looking at the labels", "Writing", "Reading back", "Reading again"):
        told = [(event.done, event.total) for event in events if event.stage == stage]
        assert told == [(number, 6) for number in range(1, 7)]


@pytest.mark.parametrize("after", [1, 8, 15, 21])
def test_cancelling_leaves_the_old_file(tmp_path, after):
    (tmp_path / "m.tif").write_bytes(b"old")
    work = save_masks_events(tmp_path / "m.tif", labels_of("TZYX"), "TZYX")
    for _ in range(after):
        next(work)
    with pytest.raises(Cancelled):
        work.throw(Cancelled())
    assert [path.name for path in tmp_path.iterdir()] == ["m.tif"]
    assert (tmp_path / "m.tif").read_bytes() == b"old"


# --- what is refused ----------------------------------------------------------------------------


def test_whole_floats_are_ids(tmp_path):
    labels = np.array([[0.0, 1.0], [2.0, 65536.0]])
    np.testing.assert_array_equal(read_image(save_masks(tmp_path / "m.tif", labels)).array, labels)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([[True, False]]), "True and False"),
        (np.array([[0, -1]]), "go down to -1"),
        (np.array([[0.5, 1]]), "fractions"),
        (np.array([[np.nan, 1]]), "NaN"),
        (np.array([[0, 2**32]]), "4294967296"),
        (np.array([["a", "b"]]), "<U1"),
        (np.zeros((0, 4), int), "no pixels"),
    ],
)
def test_labels_that_are_none(tmp_path, labels, words):
    (tmp_path / "m.tif").write_bytes(b"old")
    with pytest.raises(LabelsError, match=words) as error:
        save_masks(tmp_path / "m.tif", labels)
    assert str(error.value).endswith(".")
    assert (tmp_path / "m.tif").read_bytes() == b"old"


def test_wrong_axes_and_wrong_suffix(tmp_path):
    with pytest.raises(AxesError):
        save_masks(tmp_path / "m.tif", labels_of("TZYX"))
    with pytest.raises(AxesError, match="no channels"):
        save_masks(tmp_path / "m.tif", labels_of("ZYX"), "CYX")
    with pytest.raises(ExportError, match=r"\.tif"):
        save_masks(tmp_path / "m.png", labels_of("YX"))
    assert list(tmp_path.iterdir()) == []


def test_names_that_do_not_fit(tmp_path):
    with pytest.raises(LabelsError, match="class 3"):
        save_classes(tmp_path / "c.tif", np.array([[0, 3]]), ("a", "b"))
    with pytest.raises(ExportError, match="2 names"):
        save_probabilities(tmp_path / "p.tif", np.zeros((3, 4, 4)), classes=("a", "b"))
    assert list(tmp_path.iterdir()) == []


class Broken:
    """An array whose file has gone."""

    shape, dtype = (3, 20, 20), np.dtype(np.uint8)

    def __getitem__(self, key):
        if key[0].start == 2:
            raise OSError("the drive is not there")
        return np.zeros((3, 20, 20), np.uint8)[key]


def test_pixels_that_cannot_be_read_are_no_fault_of_the_disk(tmp_path):
    (tmp_path / "m.tif").write_bytes(b"old")
    with pytest.raises(ImageError, match="the drive is not there"):
        list(save_probabilities_events(tmp_path / "m.tif", Broken(), "YX", kind="uint8"))
    assert (tmp_path / "m.tif").read_bytes() == b"old"
    assert leftovers(tmp_path) == []
