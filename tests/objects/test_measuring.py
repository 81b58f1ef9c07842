"""Measurements, against scikit-image and against shapes whose size is known."""

import numpy as np
import pytest
from skimage.measure import regionprops_table

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.imaging.image import open_image
from napari_unet.objects.measuring import measure

RNG = np.random.default_rng(0)


def some_labels(shape):
    labels = RNG.integers(0, 9, shape)
    labels[labels == 4] = 0
    return labels.astype(np.uint32) * 1000


@pytest.mark.parametrize("shape", [(1, 1, 20, 30), (1, 6, 20, 30), (3, 4, 11, 12), (2, 1, 9, 9)])
def test_agrees_with_scikit_image(shape):
    labels = some_labels(shape)
    pixels = RNG.random((shape[0], 2, *shape[1:]))
    table = measure(labels, image=open_image(pixels, "TCZYX"))
    start = 0
    for t in range(shape[0]):
        reference = regionprops_table(
            labels[t],
            np.moveaxis(pixels[t], 0, -1),
            properties=("label", "area", "centroid", "bbox", "mean_intensity"),
        )
        rows = slice(start, start + len(reference["label"]))
        start = rows.stop
        assert set(table["t"][rows]) == {t}
        np.testing.assert_array_equal(table["label"][rows], reference["label"])
        np.testing.assert_allclose(table["area_px" if shape[1] == 1 else "volume_px"][rows], reference["area"])
        for i, axis in enumerate("zyx"):
            np.testing.assert_allclose(table[f"centroid_{axis}"][rows], reference[f"centroid-{i}"])
            np.testing.assert_array_equal(table[f"{axis}_start"][rows], reference[f"bbox-{i}"])
            np.testing.assert_array_equal(table[f"{axis}_stop"][rows], reference[f"bbox-{i + 3}"])
        for c in range(2):
            np.testing.assert_allclose(table[f"mean_channel_{c}"][rows], reference[f"mean_intensity-{c}"])
    assert start == len(table["label"])


def ball(radius_um, size):
    steps = [np.arange(-15, 15.01, step) for step in size.along("ZYX")]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    return (z**2 + y**2 + x**2 <= radius_um**2)[None].astype(np.uint16)


@pytest.mark.parametrize("size", [PixelSize(0.5, 0.5, 0.5), PixelSize(1.0, 0.25, 0.25), PixelSize(1.5, 0.3, 0.4)])
def test_anisotropic_voxels_do_not_change_the_size_of_a_ball(size):
    table = measure(ball(10, size), size)
    assert table["volume_um3"][0] == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)
    assert table["equivalent_diameter_um"][0] == pytest.approx(20, rel=0.01)
    assert table["centroid_z_um"][0] == pytest.approx(15, abs=0.01)


def test_disc():
    y, x = np.ogrid[-50:51, -50:51]
    table = measure(((y**2 + x**2) <= 900)[None, None].astype(int), PixelSize(y_um=0.5, x_um=0.5))
    assert table["equivalent_diameter_px"][0] == pytest.approx(60, rel=0.01)
    assert table["equivalent_diameter_um"][0] == pytest.approx(30, rel=0.01)
    assert table["area_um2"][0] == pytest.approx(table["area_px"][0] / 4)


def test_microns_only_where_they_are_known():
    labels = some_labels((1, 3, 9, 9))
    assert not [name for name in measure(labels) if "_um" in name]
    in_plane = measure(labels, PixelSize(None, 0.5, 0.5))
    assert "centroid_y_um" in in_plane
    assert not {"volume_um3", "centroid_z_um", "equivalent_diameter_um"} & set(in_plane)


def test_no_objects_is_an_empty_table_with_the_same_columns():
    empty = measure(np.zeros((2, 3, 5, 5), np.uint8), PixelSize(1, 1, 1))
    full = measure(some_labels((2, 3, 5, 5)), PixelSize(1, 1, 1))
    assert list(empty) == list(full)
    assert {len(column) for column in empty.values()} == {0}


def test_large_ids_are_kept():
    labels = np.zeros((1, 1, 4, 4), np.uint32)
    labels[0, 0, 1, 1] = 2**32 - 1
    assert measure(labels)["label"].tolist() == [2**32 - 1]


def test_what_cannot_be_measured():
    with pytest.raises(LabelsError, match="dimensions"):
        measure(np.zeros((4, 4), int))
    with pytest.raises(LabelsError, match="float"):
        measure(np.zeros((1, 1, 4, 4)))
    with pytest.raises(LabelsError, match="Choose the labels"):
        measure(np.zeros((1, 1, 4, 4), int), image=open_image(np.zeros((4, 5))))
