"""Measurements, against scikit-image and against shapes whose size is known."""

import numpy as np
import pytest
from skimage.measure import regionprops_table

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.imaging.image import open_image
from napari_unet.objects import measuring
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


def ellipses():
    """Ellipses of many sizes, shapes and directions."""
    labels = np.zeros((300, 300), np.int64)
    y, x = np.mgrid[:300, :300]
    for number in range(25):
        cy, cx = 30 + 60 * (number // 5), 30 + 60 * (number % 5)
        angle, long, short = RNG.random() * np.pi, RNG.integers(8, 28), RNG.integers(3, 8)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        labels[(u / long) ** 2 + (v / short) ** 2 <= 1] = (number + 1) * 7
    return labels


def test_shapes_agree_with_scikit_image():
    labels = ellipses()
    table = measure(labels[None, None], PixelSize(y_um=0.5, x_um=0.5))
    names = "perimeter_crofton axis_major_length axis_minor_length eccentricity extent orientation solidity"
    reference = regionprops_table(labels, properties=(*names.split(), "feret_diameter_max"))
    for name, theirs in (
        ("perimeter_um", "perimeter_crofton"),
        ("major_axis_um", "axis_major_length"),
        ("minor_axis_um", "axis_minor_length"),
    ):
        np.testing.assert_allclose(table[name], reference[theirs] / 2, rtol=1e-9)
    for name in ("eccentricity", "extent"):
        np.testing.assert_allclose(table[name], reference[name], rtol=1e-9)
    turned = (table["orientation_deg"] - 90 - np.degrees(reference["orientation"]) + 90) % 180 - 90
    np.testing.assert_allclose(turned, 0, atol=1e-6)
    # scikit-image fills the hull with pixels again; ours is the polygon around the corners, as in ImageJ
    np.testing.assert_allclose(table["solidity"], reference["solidity"], atol=0.1)
    np.testing.assert_allclose(table["feret_um"], reference["feret_diameter_max"] / 2, atol=0.5)


@pytest.mark.parametrize(("along", "degrees"), [((1, 1), 135), ((1, -1), 45), ((0, 1), 0), ((1, 0), 90)])
def test_orientation_is_seen_on_the_screen(along, degrees):
    labels = np.zeros((1, 1, 21, 21), int)
    for i in range(-9, 10):
        labels[0, 0, 10 + i * along[0], 10 + i * along[1]] = 1
    assert measure(labels)["orientation_deg"][0] == pytest.approx(degrees)


def test_a_disc_is_round_and_a_bar_is_not():
    y, x = np.ogrid[-60:61, -60:61]
    labels = np.zeros((1, 1, 121, 121), int)
    labels[0, 0][y**2 + x**2 <= 40**2] = 1
    labels[0, 0, 2:4, 10:110] = 2
    table = measure(labels)
    assert table["circularity"][0] > 0.97
    assert table["circularity"][1] < 0.15
    assert table["perimeter_px"][0] == pytest.approx(80 * np.pi, rel=0.02)
    assert table["feret_px"][1] == pytest.approx(np.hypot(100, 2))
    assert table["solidity"][1] == table["extent"][1] == 1


def test_one_pixel_has_a_size_and_no_direction():
    labels = np.zeros((1, 1, 3, 3), int)
    labels[0, 0, 1, 1] = 1
    row = {name: column[0] for name, column in measure(labels).items()}
    assert row["solidity"] == row["extent"] == row["circularity"] == 1
    assert row["major_axis_px"] == row["eccentricity"] == 0
    assert row["feret_px"] == pytest.approx(np.sqrt(2))
    assert all(np.isfinite(value) for value in row.values())


def test_pixels_that_are_no_squares():
    """An ellipse in pixels that is a circle in µm."""
    y, x = np.ogrid[-40:41, -100:101]
    table = measure(((2.5 * y) ** 2 + x**2 <= 80**2)[None, None].astype(int), PixelSize(y_um=1.0, x_um=0.4))
    assert table["perimeter_um"][0] == pytest.approx(64 * np.pi, rel=0.02)
    assert table["circularity"][0] > 0.96
    assert table["major_axis_um"][0] == pytest.approx(64, rel=0.02)
    assert table["minor_axis_um"][0] == pytest.approx(64, rel=0.02)
    assert table["feret_um"][0] == pytest.approx(64, rel=0.03)


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
    assert table["surface_um2"][0] == pytest.approx(4 * np.pi * 100, rel=0.04)
    assert table["sphericity"][0] > 0.95
    for name in ("major", "middle", "minor"):
        assert table[f"{name}_axis_um"][0] == pytest.approx(20, rel=0.02)


def test_axes_of_a_volume_agree_with_scikit_image():
    z, y, x = np.ogrid[-10:11, -20:21, -20:21]
    labels = ((z / 6) ** 2 + ((y + x) / 24) ** 2 + ((y - x) / 12) ** 2 <= 1).astype(int)
    size = PixelSize(2.0, 0.5, 0.5)
    table = measure(labels[None], size)
    reference = regionprops_table(
        labels, spacing=(2.0, 0.5, 0.5), properties=("axis_major_length", "axis_minor_length")
    )
    np.testing.assert_allclose(table["major_axis_um"], reference["axis_major_length"])
    np.testing.assert_allclose(table["minor_axis_um"], reference["axis_minor_length"])
    hull = measure(labels[None], size, hulls=True)
    assert list(table) == [name for name in hull if name not in {"feret_um", "solidity"}]
    assert 0.8 < hull["solidity"][0] < 1
    assert hull["feret_um"][0] == pytest.approx(table["major_axis_um"][0], rel=0.1)


def test_brightness_of_each_channel():
    labels = some_labels((2, 3, 20, 30))
    pixels = RNG.normal(1e7, 1, (2, 2, 3, 20, 30))
    table = measure(labels, image=open_image(pixels, "TCZYX"))
    for row, (t, label) in enumerate(zip(table["t"], table["label"], strict=True)):
        for c in range(2):
            inside = pixels[t, c][labels[t] == label]
            for name in ("mean", "std", "min", "max", "sum"):
                assert table[f"{name}_channel_{c}"][row] == pytest.approx(getattr(inside, name)(), rel=1e-9), name


def test_values_that_are_no_numbers_stay_in_their_object():
    labels = np.zeros((1, 1, 4, 6), int)
    labels[..., :2], labels[..., 2:4], labels[..., 4:] = 1, 2, 3
    pixels = np.ones((4, 6))
    pixels[1, 1], pixels[1, 3] = np.nan, np.inf
    table = measure(labels, image=open_image(pixels))
    assert np.isnan(table["mean_channel_0"][0])
    assert table["max_channel_0"][1] == np.inf
    assert table["mean_channel_0"][2] == table["sum_channel_0"][2] / 8 == 1
    assert table["std_channel_0"][2] == 0


def test_the_hull_of_scattered_pixels():
    labels = np.zeros((1, 1, 40, 50), int)
    labels[0, 0, [3, 3, 3, 30], [5, 20, 45, 20]] = 1
    table = measure(labels)
    assert table["feret_px"][0] == pytest.approx(np.hypot(41, 1))
    from scipy.spatial import ConvexHull

    corners = [(y + i, x + j) for y, x in np.argwhere(labels[0, 0]) for i in (0, 1) for j in (0, 1)]
    assert table["solidity"][0] == pytest.approx(4 / ConvexHull(corners).volume)


@pytest.mark.parametrize("shape", [(1, 1, 50, 40), (2, 5, 20, 30)])
def test_how_many_rows_are_looked_at_together_does_not_matter(monkeypatch, shape):
    labels, size = some_labels(shape), PixelSize(2.0, 0.5, 0.5)
    image = open_image(RNG.random(shape), "TZYX")
    whole = measure(labels, size, image, hulls=True)
    monkeypatch.setattr(measuring, "BAND_PX", 70)
    monkeypatch.setattr(measuring, "_DENSE", 5)
    banded = measure(labels, size, image, hulls=True)
    assert list(whole) == list(banded)
    for name, column in whole.items():
        np.testing.assert_allclose(banded[name], column, err_msg=name)


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


def test_lengths_in_pixels_only_where_pixels_may_be_squares():
    assert [name for name in measure(some_labels((1, 1, 9, 9))) if name.endswith("axis_px")]
    assert not [name for name in measure(some_labels((1, 3, 9, 9))) if "axis" in name or "surface" in name]


@pytest.mark.parametrize(("dtype", "high"), [(np.uint32, 2**32 - 1), (np.uint64, 2**64 - 1), (np.int64, 2**63 - 1)])
def test_large_ids_are_kept(dtype, high):
    labels = np.zeros((1, 1, 4, 4), dtype)
    labels[0, 0, 1, 1], labels[0, 0, 2, 3] = high, high - 1
    assert measure(labels)["label"].tolist() == [high - 1, high]
    assert measure(labels)["x_start"].tolist() == [3, 1]


def test_below_zero_is_background():
    labels = np.full((1, 1, 4, 4), -1)
    labels[0, 0, 1, 1] = 3
    assert measure(labels)["area_px"].tolist() == [1]


def test_what_cannot_be_measured():
    with pytest.raises(LabelsError, match="dimensions"):
        measure(np.zeros((4, 4), int))
    with pytest.raises(LabelsError, match="float"):
        measure(np.zeros((1, 1, 4, 4)))
    with pytest.raises(LabelsError, match="Choose the labels"):
        measure(np.zeros((1, 1, 4, 4), int), image=open_image(np.zeros((4, 5))))
