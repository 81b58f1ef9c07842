"""ROIs for ImageJ, as another reader of such files sees them."""

import os
import zipfile

import numpy as np
import pytest
import roifile

from napari_unet.errors import AxesError, ExportError, LabelsError
from napari_unet.export.rois import save_rois

PLANE = np.zeros((20, 30), np.uint32)
PLANE[5:8, 3:9] = 70_000
PLANE[10:15, 10:15] = 2
PLANE[12, 12] = 0
PLANE[0, 0] = PLANE[19, 29] = 3


def rois_of(path):
    return {roi.name: roi for roi in roifile.roiread(path)}


def test_a_roi_for_each_object(tmp_path):
    rois = rois_of(save_rois(tmp_path / "Umrisse α 1.zip", PLANE))
    assert set(rois) == {"2", "3", "70000"}
    simple = rois["70000"]
    assert simple.roitype == roifile.ROI_TYPE.TRACED
    assert sorted(simple.coordinates().tolist()) == [[3, 5], [3, 8], [9, 5], [9, 8]]
    assert (simple.left, simple.top, simple.right, simple.bottom) == (3, 5, 9, 8)
    assert (simple.position, simple.z_position, simple.t_position) == (0, 0, 0)


def test_holes_and_several_pieces_make_a_composite(tmp_path):
    rois = rois_of(save_rois(tmp_path / "a.zip", PLANE))
    hole, pieces = rois["2"], rois["3"]
    assert hole.composite
    assert pieces.composite
    assert [len(ring) for ring in hole.coordinates(multi=True)] == [5, 5]
    assert len(pieces.coordinates(multi=True)) == 2
    assert (pieces.left, pieces.top, pieces.right, pieces.bottom) == (0, 0, 30, 20)


@pytest.mark.parametrize(
    ("axes", "channels", "expected"),
    [
        ("ZYX", 1, ("7-z3", 3, 0, 0)),
        ("TYX", 1, ("7-t3", 3, 0, 0)),
        ("ZYX", 2, ("7-z3", 0, 3, 0)),
        ("TYX", 2, ("7-t3", 0, 0, 3)),
    ],
)
def test_slices_of_a_stack_are_counted_as_imagej_counts_them(tmp_path, axes, channels, expected):
    labels = np.zeros((4, 9, 9), int)
    labels[2, 1:3, 1:3] = 7
    ((name, roi),) = rois_of(save_rois(tmp_path / "a.zip", labels, axes, channels=channels)).items()
    assert (name, roi.position, roi.z_position, roi.t_position) == expected


def test_slices_and_frames_of_a_hyperstack(tmp_path):
    labels = np.zeros((2, 3, 9, 9), int)
    labels[1, 2, 1:3, 1:3] = 7
    ((name, roi),) = rois_of(save_rois(tmp_path / "a.zip", labels, "TZYX")).items()
    assert (name, roi.position, roi.c_position, roi.z_position, roi.t_position) == ("7-z3-t2", 0, 0, 3, 2)


def test_coordinates_beyond_two_bytes(tmp_path):
    labels = np.zeros((3, 70_000), np.uint8)
    labels[1, 69_990:69_995] = 1
    (roi,) = roifile.roiread(save_rois(tmp_path / "a.zip", labels))
    assert sorted(roi.coordinates().tolist()) == [[69_990, 1], [69_990, 2], [69_995, 1], [69_995, 2]]


def test_the_same_labels_give_the_same_file(tmp_path):
    one, other = save_rois(tmp_path / "a.zip", PLANE), save_rois(tmp_path / "b.zip", PLANE)
    assert one.read_bytes() == other.read_bytes()


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ExportError, match="\\.zip"):
        save_rois(tmp_path / "a.roi", PLANE)
    with pytest.raises(LabelsError, match="empty"):
        save_rois(tmp_path / "a.zip", np.zeros((4, 4), int))
    with pytest.raises(AxesError, match="channels"):
        save_rois(tmp_path / "a.zip", np.zeros((4, 4, 3), int), "YXC")
    assert not list(tmp_path.iterdir())


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = save_rois(tmp_path / "a.zip", PLANE)
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ExportError, match="full"):
        save_rois(path, PLANE * 2)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_disk_that_changes_what_is_written_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: "2.roi")
    with pytest.raises(ExportError, match="did not read back"):
        save_rois(tmp_path / "a.zip", PLANE)
    assert not list(tmp_path.iterdir())
