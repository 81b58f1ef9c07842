"""``napari-unet export``: labels of any program for other programs."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from napari_unet.axes import PixelSize
from napari_unet.export.provenance import ModelOrigin, provenance_now, read_sidecar, write_sidecar
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.reading import read_image, read_labels


@pytest.fixture
def labels(tmp_path):
    """Two objects in 20 x 30 pixels of 0.5 µm."""
    values = np.zeros((20, 30), "uint16")
    values[3:9, 4:12], values[12:18, 20:29] = 7, 300
    return save_masks(tmp_path / "labels.tif", values, pixel_size=PixelSize(None, 0.5, 0.5))


@pytest.fixture
def image(tmp_path):
    """The image that they belong to."""
    values = np.random.default_rng(0).integers(0, 200, (20, 30), dtype="uint8")
    tifffile.imwrite(tmp_path / "cells.tif", values, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    return tmp_path / "cells.tif"


def test_export_writes_masks_and_table(run, tmp_path):
    labels = np.zeros((3, 20, 30), "int64")
    labels[1, 5:9, 5:9] = 300
    np.save(tmp_path / "labels.npy", labels)
    words = ["--out", tmp_path / "masks.tif", "--table", tmp_path / "masks.csv", "--pixel-size", "2,0.5,0.5"]
    code, out, err = run("export", tmp_path / "labels.npy", *words)
    assert code == 0, err
    assert str(tmp_path / "masks.tif") in out
    with tifffile.TiffFile(tmp_path / "masks.tif") as tiff:
        np.testing.assert_array_equal(tiff.asarray(), labels)
        assert tiff.imagej_metadata["spacing"] == 2
    with (tmp_path / "masks.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 1


@pytest.mark.parametrize("name", ["a.tif", "a.csv", "a.zip", "a.geojson", "a.ome.zarr"])
def test_the_suffix_says_what_is_written(run, labels, tmp_path, name):
    code, _, err = run("export", labels, "--out", tmp_path / "new" / name)
    assert code == 0, err
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    if name != "a.csv":
        again = read_labels(tmp_path / "new" / name, shape=(20, 30))
        np.testing.assert_array_equal(np.asarray(again.array[...]).squeeze(), tifffile.imread(labels))
        code, _, err = run("export", labels, "--out", tmp_path / "new" / name)
        assert code == 1
        assert "already exists; use --overwrite" in err
        assert run("export", labels, "--out", tmp_path / "new" / name, "--overwrite")[0] == 0


def test_several_formats_go_into_a_folder(run, labels, image, tmp_path):
    words = ["--format", "binary,table,geojson", "-f", "overlay", "--image", image]
    code, _, err = run("export", labels, "--out", tmp_path / "new", *words)
    assert code == 0, err
    names = ["labels_binary.tif", "labels_objects.csv", "labels_objects.geojson", "labels_overlay.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    with (tmp_path / "new" / "labels_objects.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["7", "300"]
    assert float(rows[0]["area_um2"]) == 48 * 0.25
    with Pillow.open(tmp_path / "new" / "labels_overlay.png") as picture:
        assert picture.mode == "RGB"


def test_outlines_of_other_programs_become_masks_of_the_size_of_the_image(run, labels, image, tmp_path):
    rois = tmp_path / "rois.zip"
    assert run("export", labels, "--out", rois)[0] == 0
    code, _, err = run("export", rois, "--out", tmp_path / "masks.tif")
    assert code == 1
    assert "rois.zip" in err
    code, _, err = run("export", rois, "--out", tmp_path / "masks.tif", "--image", image)
    assert code == 0, err
    masks = read_image(tmp_path / "masks.tif")
    np.testing.assert_array_equal(masks.array, tifffile.imread(labels))
    assert masks.pixel_size.x_um == pytest.approx(0.25)


def test_classes_get_their_names(run, tmp_path):
    values = np.zeros((20, 30), "uint8")
    values[3:9], values[12:18] = 1, 2
    tifffile.imwrite(tmp_path / "labels.tif", values)
    words = ["--format", "classes", "--classes", "cell,debris"]
    code, _, err = run("export", tmp_path / "labels.tif", "--out", tmp_path / "classes.tif", *words)
    assert code == 0, err
    written = tifffile.imread(tmp_path / "classes.tif")
    np.testing.assert_array_equal(written, np.stack([values == 1, values == 2]) * 255)


def test_what_is_known_of_the_labels_goes_along(run, labels, tmp_path):
    known = provenance_now(model=ModelOrigin(name="nuclei", sha256="abc"))
    write_sidecar(labels, known)
    code, _, err = run("export", labels, "--out", tmp_path / "other.tif")
    assert code == 0, err
    assert read_sidecar(tmp_path / "other.tif").model == known.model
    assert json.loads((tmp_path / "other.tif.json").read_text())["file"] == "other.tif"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--format", "overlay"], "A picture needs the image"),
        (["--format", "classes"], "a mask for each class needs labels that are classes"),
        (["--format", "probabilities"], "are not there"),
        (["--format", "nonsense"], '"nonsense" cannot be written'),
        (["--image", "small.tif"], "Choose the labels of this image"),
    ],
)
def test_export_says_what_is_wrong(run, labels, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("small.tif", np.zeros((8, 8), "uint8"))
    code, out, err = run("export", labels, "--out", "new", *words)
    assert (code, out) == (1, "")
    assert sentence in err
    assert not (tmp_path / "new").exists()


def test_several_formats_do_not_go_into_one_file(run, labels, tmp_path):
    code, _, err = run("export", labels, "--out", tmp_path / "a.tif", "-f", "masks,table")
    assert code == 1
    assert "is the name of one file" in err


def test_export_of_something_else_is_a_sentence(run, tmp_path):
    (tmp_path / "labels.txt").write_text("no image")
    code, _, err = run("export", tmp_path / "labels.txt", "--out", tmp_path / "masks.tif")
    assert code == 1
    assert "labels.txt" in err
