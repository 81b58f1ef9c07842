"""``napari-unet edit`` and ``merge``."""

import numpy as np
import pytest
import tifffile

from napari_unet.axes import PixelSize
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.reading import read_image


@pytest.fixture
def labels(tmp_path):
    """A large object and a small one, in pixels of 0.5 µm."""
    values = np.zeros((20, 30), "uint16")
    values[3:9, 4:12], values[12:14, 20:22] = 7, 300
    return save_masks(tmp_path / "labels.tif", values, pixel_size=PixelSize(None, 0.5, 0.5))


def test_edit_changes_all_objects_and_keeps_the_pixel_size(run, labels, tmp_path):
    out = tmp_path / "tidy.tif"
    code, said, err = run("edit", labels, "--out", out, "--grow", 1, "--min-size", 20, "--renumber")
    assert code == 0, err
    assert "2 objects before and 1 after" in said
    found = read_image(out)
    assert np.unique(found.array).tolist() == [0, 1]
    assert (found.array[2:10, 4:12] == 1).all()
    assert found.pixel_size.x_um == pytest.approx(0.5)


def test_edit_never_replaces_its_input_nor_other_files_unasked(run, labels, tmp_path):
    before = labels.read_bytes()
    for out, words, sentence in (
        (labels, ["--overwrite"], "would replace"),
        (tmp_path / "there.tif", [], "already exists"),
        (tmp_path / "new.tif", ["--grow", "-1"], "grow_px"),
    ):
        (tmp_path / "there.tif").touch()
        code, said, err = run("edit", labels, "--out", out, *words)
        assert (code, said) == (1, "")
        assert sentence in err
    assert labels.read_bytes() == before
    assert not (tmp_path / "new.tif").exists()


def test_merge_keeps_what_was_reviewed(run, labels, tmp_path):
    predicted = np.zeros((20, 30), "uint16")
    predicted[3:9, 4:12], predicted[15:19, 2:8] = 1, 2
    reviewed = np.zeros((20, 30), "uint8")
    reviewed[10:, 18:] = 255
    save_masks(tmp_path / "predicted.tif", predicted)
    tifffile.imwrite(tmp_path / "reviewed.tif", reviewed)
    words = ["--corrected", labels, "--reviewed", tmp_path / "reviewed.tif", "--out", tmp_path / "merged.tif"]
    code, said, err = run("merge", tmp_path / "predicted.tif", *words)
    assert code == 0, err
    assert "1 reviewed objects kept and 2 new ones" in said
    merged = tifffile.imread(tmp_path / "merged.tif")
    assert (merged[12:14, 20:22] == 300).all()
    assert (merged[3:9, 4:12] == 7).all()
    assert merged[16, 4] not in {0, 7, 300}


def test_merge_refuses_labels_of_different_images(run, labels, tmp_path):
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((8, 8), "uint8"))
    words = ["--corrected", labels, "--reviewed", tmp_path / "small.tif", "--out", tmp_path / "merged.tif"]
    code, _, err = run("merge", labels, *words)
    assert code == 1
    assert '"small.tif" has the size (1, 1, 8, 8)' in err
