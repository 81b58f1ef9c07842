"""Masks and tables from the panel."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.gui import layers
from napari_unet.imaging.reading import read_image


@pytest.fixture
def segmented(viewer, controller, idle, blobs):
    viewer.add_image(blobs, scale=(0.5, 0.25), units=("um", "um"))
    controller.segmenting.segment()
    idle()
    return next(layers.with_role(viewer, "prediction"))


def test_masks_keep_values_axes_and_pixel_size(controller, idle, segmented, tmp_path):
    path = tmp_path / "masks.tif"
    controller.exporting.save_masks(str(path))
    idle()
    assert controller.state.message.text == f"Saved the masks as {path}."
    found = read_image(path)
    assert np.array_equal(np.asarray(found.array).squeeze(), segmented.data)
    assert tifffile.imread(path).dtype == np.uint16
    assert found.pixel_size.y_um == pytest.approx(0.5)
    assert found.pixel_size.x_um == pytest.approx(0.25)


def test_the_pixel_size_can_be_given(controller, idle, segmented, tmp_path):
    assert controller.state.pixel_size_um == (None, 0.5, 0.25)
    controller.state.pixel_size_um = (None, 2.0, 2.0)
    controller.exporting.save_masks(str(tmp_path / "masks"))
    idle()
    assert read_image(tmp_path / "masks.tif").pixel_size.y_um == pytest.approx(2)


def test_a_pixel_size_that_the_layer_gets_later_is_what_is_written(viewer, controller, idle, segmented, tmp_path):
    segmented.scale = (3, 2)
    assert controller.state.pixel_size_um == (None, 3, 2)
    segmented.units = ("nm", "nm")
    assert controller.state.pixel_size_um == pytest.approx((None, 0.003, 0.002))
    other = viewer.add_labels(np.ones((8, 8), np.uint8), scale=(5, 5), units=("um", "um"))
    controller.state.export_layer = layers.layer_id(other)
    controller.state.pixel_size_um = (None, 7.0, 7.0)
    segmented.scale = (9, 9)  # no longer chosen
    controller.exporting.save_masks(str(tmp_path / "masks.tif"))
    idle()
    assert read_image(tmp_path / "masks.tif").pixel_size.along("YX") == pytest.approx((7, 7))


def test_the_table_has_one_row_an_object(controller, idle, segmented, tmp_path):
    controller.exporting.save_table(str(tmp_path / "objects.csv"))
    idle()
    with (tmp_path / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert rows[0]["area_px"] == "400"
    assert float(rows[0]["area_um2"]) == pytest.approx(50)
    assert float(rows[0]["mean_channel_0"]) == 200


def test_a_stretched_channel_axis_is_left_out(viewer, controller, idle, blobs, tmp_path):
    viewer.add_image(np.stack([np.stack([blobs, blobs])] * 4), axis_labels=("z", "c", "y", "x"))
    controller.state.channels = (0,)
    controller.segmenting.segment()
    idle()
    controller.exporting.save_masks(str(tmp_path / "masks.tif"))
    idle()
    assert read_image(tmp_path / "masks.tif").sizes == {"T": 1, "C": 1, "Z": 4, "Y": 96, "X": 128}


def test_a_new_correction_is_what_gets_saved(controller, segmented):
    controller.correcting.start()
    correction, _ = controller._desk.correction()
    assert controller.state.export_layer == layers.layer_id(correction)


def test_a_folder_that_is_none_loses_nothing(controller, idle, segmented, tmp_path):
    target = tmp_path / "missing" / "masks.tif"
    controller.exporting.save_masks(str(target))
    idle()
    assert controller.state.message.level == "error"
    assert "missing" in controller.state.message.text
    assert segmented.data.any()


def test_a_read_only_folder_is_one_sentence(controller, idle, segmented, tmp_path):
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        folder = Path("/sys")  # root may write everywhere else
    else:
        folder = tmp_path
        folder.chmod(0o500)
    before = segmented.data.copy()
    controller.exporting.save_masks(str(folder / "masks.tif"))
    idle()
    tmp_path.chmod(0o700)
    assert controller.state.message.level == "error"
    assert "masks.tif" in controller.state.message.text
    assert not (folder / "masks.tif").exists()
    assert np.array_equal(segmented.data, before)


def test_empty_labels_make_no_table(viewer, controller, tmp_path, idle):
    viewer.add_labels(np.zeros((8, 8), np.uint8))
    controller.exporting.save_table(str(tmp_path / "objects.csv"))
    idle()
    assert "labels are empty" in controller.state.message.text
    assert not list(tmp_path.iterdir())


def test_no_labels_is_one_sentence(controller, tmp_path):
    controller.exporting.save_masks(str(tmp_path / "masks.tif"))
    assert "no labels to save" in controller.state.message.text
