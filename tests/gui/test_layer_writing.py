"""File > Save Selected Layers with the plugin's file types."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from npe2 import PluginManager
from PIL import Image as Pillow

from napari_unet.errors import ExportError, LabelsError
from napari_unet.gui import layers
from napari_unet.imaging.reading import read_image

PLUGIN = "napari-unet"


@pytest.fixture
def plugins(npe2pm):
    """napari with its own plugin and this one."""
    with npe2pm.tmp_plugin(package="napari"), npe2pm.tmp_plugin(package=PLUGIN):
        yield


@pytest.fixture
def saved(plugins, viewer, tmp_path):
    """Save one layer, and return the file."""

    def save(layer, name="saved.tif", plugin=PLUGIN):
        viewer.layers.selection = {layer}
        (path,) = viewer.layers.save(str(tmp_path / name), selected=True, plugin=plugin)
        return Path(path)

    return save


PLACED = {"scale": (2, 0.5, 0.25), "units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}


def test_labels_are_an_imagej_stack_of_16_bits(saved, viewer):
    ids = np.random.default_rng(0).integers(0, 9, (4, 20, 30)).astype(np.uint32)
    path = saved(viewer.add_labels(ids, **PLACED))
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
        assert tif.series[0].dtype == np.uint16
    found = read_image(path)
    assert found.axes == "ZYX"
    assert np.array_equal(found.array, ids)
    assert found.pixel_size.along("ZYX") == pytest.approx((2, 0.5, 0.25))


def test_naparis_own_writer_would_have_lost_that(saved, viewer):
    path = saved(viewer.add_labels(np.ones((5, 20, 30), np.uint16), **PLACED), plugin="napari")
    assert tifffile.imread(path).dtype == np.uint32
    assert not read_image(path).pixel_size.known


def test_a_correction_layer_can_be_saved_and_opened_again(saved, viewer, controller, blobs):
    viewer.add_image(blobs, name="cells", scale=(0.5, 0.5), units=("um", "um"))
    controller.correcting.start()
    correction, _ = controller._desk.correction()
    correction.data_setitem(np.nonzero(blobs), 70_000)
    path = saved(correction, "corrected.tif")
    (opened,) = viewer.open(str(path), plugin=PLUGIN)
    assert type(opened).__name__ == "Labels"
    assert opened.data[15, 15] == 70_000
    assert list(opened.scale) == [0.5, 0.5]


def test_probabilities_stay_floats(saved, viewer, controller, idle, blobs):
    viewer.add_image(blobs, scale=(0.5, 0.25), units=("um", "um"))
    controller.segmenting.segment()
    idle()
    layer = next(layers.with_role(viewer, "probability"))
    path = saved(layer)
    found = read_image(path)
    assert found.dtype == np.float32
    assert np.array_equal(found.array, layer.data)
    assert found.pixel_size.along("YX") == pytest.approx((0.5, 0.25))


def test_an_image_keeps_its_channels(saved, viewer):
    pixels = np.random.default_rng(0).integers(0, 2**16, (3, 2, 20, 30)).astype(np.uint16)
    layer = viewer.add_image(pixels, axis_labels=("z", "c", "y", "x"))
    found = read_image(saved(layer))
    assert found.axes == "ZCYX"
    assert np.array_equal(found.array, pixels)


def test_what_cannot_be_saved_is_one_sentence_and_leaves_no_file(saved, viewer, tmp_path):
    cases = [
        (viewer.add_labels(np.full((8, 8), -3, np.int32)), LabelsError, "go down to -3"),
        (
            viewer.add_image(np.zeros((8, 8), np.float64), name="wide"),
            ExportError,
            '"wide" holds values of type float64',
        ),
        (viewer.add_image(np.zeros((40, 40, 3), np.uint8), name="stain"), ExportError, '"stain" is a colour image'),
    ]
    for layer, error, sentence in cases:
        with pytest.raises(error, match=sentence):
            saved(layer)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_former_file(saved, viewer, tmp_path):
    target = tmp_path / "saved.tif"
    Pillow.fromarray(np.full((8, 8), 7, np.uint8)).save(target)
    before = target.read_bytes()
    with pytest.raises(LabelsError):
        saved(viewer.add_labels(np.full((8, 8), -1, np.int8)))
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_the_save_dialog_offers_the_file_types(plugins):
    offered = {
        kind: [w.display_name for w in PluginManager.instance().iter_compatible_writers([kind]) if PLUGIN in w.command]
        for kind in ("labels", "image")
    }
    assert offered == {"labels": ["masks", "OME-Zarr"], "image": ["image with axes and pixel size", "OME-Zarr"]}


def test_an_image_and_its_labels_are_one_ome_zarr(plugins, viewer, tmp_path):
    image = viewer.add_image(np.arange(4 * 40 * 50, dtype=np.uint16).reshape(4, 40, 50), name="cells", **PLACED)
    labels = viewer.add_labels(np.ones((4, 40, 50), np.uint16), name="nuclei", **PLACED)
    (path,) = viewer.layers.save(str(tmp_path / "cells.ome.zarr"), plugin=PLUGIN)
    opened = viewer.open(path, plugin=PLUGIN)
    assert [layer.name for layer in opened] == ["cells [1]", "cells nuclei"]
    for before, after in zip((image, labels), opened, strict=True):
        assert np.array_equal(layers.full_resolution(after), before.data)
        assert list(after.scale) == list(before.scale)
