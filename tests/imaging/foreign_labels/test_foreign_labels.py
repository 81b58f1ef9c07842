"""Labels of other programs, and our own outlines read again."""

import contextlib
import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import roifile
import tifffile

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError, LabelsError
from napari_unet.export.geojson import save_geojson
from napari_unet.export.rois import save_rois
from napari_unet.export.tiff import save_masks
from napari_unet.imaging.foreign_labels import roi_files
from napari_unet.imaging.foreign_labels.reading import read_foreign_labels
from napari_unet.imaging.reading import read_labels

HERE = Path(__file__).parent
SHAPES = {"YX": (30, 40), "ZYX": (4, 30, 40), "TYX": (3, 30, 40), "TZYX": (2, 3, 30, 40), "YXZ": (30, 40, 3)}


def some_labels(shape, dtype=np.uint32):
    """Objects with holes, of several pieces, touching each other and the border, of one pixel."""
    rng = np.random.default_rng(len(shape))
    small = rng.integers(0, 6, [-(-side // 3) for side in shape])
    grown = np.kron(small, np.ones([3] * len(shape), int))
    labels = grown[tuple(slice(0, side) for side in shape)].astype(dtype)
    labels[labels == 5] = min(70_000, np.iinfo(dtype).max)
    labels[(0,) * len(shape)] = 9
    return labels


def square(x, y, side, name="", **where):
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]])
    return roifile.ImagejRoi.frompoints(corners, name=name, **where)


def save_zip(path, rois):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, roi in enumerate(rois):
            archive.writestr(f"{number}-{roi.name}.roi", roi.tobytes())
    return path


def feature(x, y, side, **properties):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", **properties},
    }


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_rois_come_back(tmp_path, axes, channels):
    labels = some_labels(SHAPES[axes])
    path = save_rois(tmp_path / "Umrisse α.zip", labels, axes, channels=channels)
    found = read_foreign_labels(path, labels.shape, axes)
    assert found.axes == axes
    np.testing.assert_array_equal(found.array, labels)
    assert found.notes == ()


@pytest.mark.parametrize("axes", SHAPES)
def test_geojson_comes_back(tmp_path, axes):
    labels = some_labels(SHAPES[axes])
    found = read_labels(save_geojson(tmp_path / "o.geojson", labels, axes), axes, labels.shape)
    assert found.axes == axes
    np.testing.assert_array_equal(found.array, labels)


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX"])
def test_masks_come_back(tmp_path, axes):
    labels = some_labels(SHAPES[axes])
    size = PixelSize(2.0, 0.5, 0.5) if "Z" in axes else PixelSize(None, 0.5, 0.5)
    found = read_labels(save_masks(tmp_path / "m.tif", labels, axes, size), axes, labels.shape)
    assert found.axes == axes
    assert found.pixel_size.x_um == pytest.approx(0.5)
    np.testing.assert_array_equal(found.array, labels)


def test_ids_of_64_bits_come_back(tmp_path):
    labels = np.zeros((9, 9), np.uint64)
    labels[2:5, 2:5], labels[6, 6] = 2**53 + 1, 2**62 + 3
    for path in (save_rois(tmp_path / "a.zip", labels), save_geojson(tmp_path / "a.json", labels)):
        np.testing.assert_array_equal(read_labels(path, shape=(9, 9)).array, labels)


def test_the_shape_may_be_that_of_an_image_with_channels(tmp_path):
    labels = some_labels((30, 40))
    found = read_labels(save_rois(tmp_path / "a.zip", labels), "CYX", (2, 30, 40))
    assert found.axes == "YX"
    np.testing.assert_array_equal(found.array, labels)


# --- ImageJ -------------------------------------------------------------------------------------


def test_a_single_roi(tmp_path):
    path = tmp_path / "cell.roi"
    path.write_bytes(square(3, 5, 4).tobytes())
    found = read_labels(path, shape=(20, 20)).array
    assert found.sum() == 16
    assert found[5:9, 3:7].all()


def test_every_kind_of_area_is_read_and_lines_are_left_out(tmp_path):
    rectangle = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=2, top=3, right=6, bottom=5)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, left=20, top=20, right=40, bottom=30)
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=1, y1=1, x2=30, y2=30)
    found = read_foreign_labels(save_zip(tmp_path / "a.zip", [rectangle, oval, line]), (50, 50))
    assert found.array[3:5, 2:6].all()
    assert (found.array == 1).sum() == 8
    assert (found.array == 2).sum() == pytest.approx(np.pi * 50, rel=0.03)
    assert "1 lines" in found.notes[0]


def test_areas_that_imagej_has_saved_hold_the_pixels_that_imagej_fills(tmp_path):
    """Written by ImageJ 1.54u, which also filled the masks: ovals, boxes, polygons, freehand, composites, ellipses."""
    stored = np.load(HERE / "imagej_masks.npz")
    shape = tuple(stored["shape"].tolist())
    masks = np.unpackbits(stored["masks"])[: np.prod(shape)].reshape(shape)
    with zipfile.ZipFile(HERE / "imagej_rois.zip") as archive:
        for number, mask in enumerate(masks, 1):
            (tmp_path / "a.roi").write_bytes(archive.read(f"{number}.roi"))
            found = read_labels(tmp_path / "a.roi", shape=shape[1:])
            np.testing.assert_array_equal(np.asarray(found.array) > 0, mask > 0, err_msg=str(number))


def test_curves_of_composite_rois(tmp_path):
    k = 0.5522847498  # a circle of four cubic curves
    arcs = [(1, k, k, 1, 0, 1), (-k, 1, -1, k, -1, 0), (-1, -k, -k, -1, 0, -1), (k, -1, 1, -k, 1, 0)]
    path = [0.0, 25, 15]
    for arc in arcs:
        path += [3.0, *(15 + 10 * value for value in arc)]
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, left=5, top=5, right=25, bottom=25, shape_roi_size=33)
    roi.multi_coordinates = np.array([*path, 4.0, 0, 0], np.float32)[:33]
    found = read_labels(save_zip(tmp_path / "a.zip", [roi]), shape=(30, 30)).array
    y, x = np.mgrid[:30, :30] + 0.5
    assert (found != ((y - 15) ** 2 + (x - 15) ** 2 <= 100)).sum() <= 8


@pytest.mark.parametrize(
    ("roi", "shape", "axes", "plane"),
    [
        (square(2, 2, 3, z=2), (4, 9, 9), "ZYX", (2,)),
        (square(2, 2, 3, t=1), (4, 9, 9), "TYX", (1,)),
        (square(2, 2, 3, position=3), (4, 9, 9), "ZYX", (3,)),
        (square(2, 2, 3, position=3), (4, 9, 9), "TYX", (3,)),
        (square(2, 2, 3, position=4), (2, 3, 9, 9), "TZYX", (1, 1)),
        (square(2, 2, 3, t=3), (4, 9, 9), "ZYX", (3,)),
        (square(2, 2, 3, "0002-0003-0003"), (4, 9, 9), "ZYX", (1,)),
    ],
    ids=["z", "t", "position", "position in time", "position of both", "slices taken for time", "own name"],
)
def test_rois_lie_on_their_slice(tmp_path, roi, shape, axes, plane):
    found = read_labels(save_zip(tmp_path / "a.zip", [roi]), axes, shape).array
    assert found[plane].sum() == found.sum() == 9


def test_a_roi_without_a_slice_is_on_all_of_them(tmp_path):
    found = read_foreign_labels(save_zip(tmp_path / "a.zip", [square(2, 2, 3)]), (4, 9, 9))
    assert found.array.sum() == 36
    assert "on all" in found.notes[0]


def test_a_slice_that_the_image_does_not_have(tmp_path):
    path = save_zip(tmp_path / "a.zip", [square(2, 2, 3, z=8)])
    with pytest.raises(LabelsError, match="slice 9, and the image has 4"):
        read_labels(path, shape=(4, 9, 9))


def test_numbers_of_names_are_kept_and_others_are_free(tmp_path):
    rois = [square(0, 0, 2, "12"), square(4, 0, 2, "0001-0002-0003"), square(0, 4, 2, "3"), square(4, 4, 2, "Kern")]
    found = read_labels(save_zip(tmp_path / "a.zip", rois), shape=(9, 9)).array
    assert [found[1, 1], found[1, 5], found[5, 1], found[5, 5]] == [12, 13, 3, 14]


def test_names_of_very_many_digits_are_no_numbers(tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps([feature(1, 1, 2, name="9" * 5000), feature(4, 4, 2, name="0")]))
    assert np.unique(read_labels(tmp_path / "a.geojson", shape=(9, 9)).array).tolist() == [0, 1, 2]


def test_where_outlines_overlap_the_smallest_has_the_pixel(tmp_path):
    rois = [square(2, 2, 3), square(0, 0, 9), square(4, 4, 4)]
    found = read_foreign_labels(save_zip(tmp_path / "a.zip", rois), (20, 20))
    assert (found.array == 1).sum() == 9
    assert (found.array == 3).sum() == 15
    assert "smallest" in found.notes[0]


def test_outlines_beside_the_image_are_told(tmp_path):
    found = read_foreign_labels(save_zip(tmp_path / "a.zip", [square(2, 2, 3), square(90, 90, 3)]), (20, 20))
    assert found.notes == ("1 outlines hold no pixel of the image and were left out.",)


# --- QuPath -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda features: {"type": "FeatureCollection", "features": features},
        lambda features: features,
        lambda features: features[0],
        lambda features: features[0]["geometry"],
    ],
    ids=["collection", "list", "feature", "geometry"],
)
@pytest.mark.parametrize("ending", [".geojson", ".json", ".geojson.gz"])
def test_geojson_however_it_is_wrapped(tmp_path, wrapped, ending):
    text = json.dumps(wrapped([feature(2, 3, 4)])).encode()
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    found = read_labels(path, shape=(9, 9)).array
    assert found[3:7, 2:6].all()
    assert found.sum() == 16


def test_planes_holes_names_and_points_of_qupath(tmp_path):
    ring = feature(1, 1, 6, name="Tumor")
    hole = [[2.5, 2.5], [5.5, 2.5], [5.5, 5.5], [2.5, 5.5], [2.5, 2.5]]
    ring["geometry"]["coordinates"].append(hole)
    ring["geometry"]["plane"] = {"c": -1, "z": 2, "t": 0}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [ring, point]}))
    found = read_foreign_labels(path, (3, 9, 9))
    assert found.array[:2].sum() == 0
    assert found.array[2].sum() == 36 - 9
    assert "1 lines, points" in found.notes[0]


# --- label images -------------------------------------------------------------------------------


def test_masks_of_cellpose_as_png_and_tiff(tmp_path):
    labels = some_labels((30, 40), np.uint16)
    (tmp_path / "a_cp_masks.png").write_bytes(imagecodecs.png_encode(labels))
    tifffile.imwrite(tmp_path / "a_cp_masks.tif", labels)
    for name in ("a_cp_masks.png", "a_cp_masks.tif"):
        np.testing.assert_array_equal(read_labels(tmp_path / name, "YXC", (30, 40, 3)).array, labels)


def test_a_plain_stack_has_the_axes_of_its_image(tmp_path):
    labels = some_labels((2, 3, 30, 40), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack")
    found = read_labels(tmp_path / "a.tif", "TZYX", labels.shape)
    assert found.axes == "TZYX"
    np.testing.assert_array_equal(found.array, labels)


def test_whole_numbers_in_any_type(tmp_path):
    labels = some_labels((30, 40))
    for dtype in (np.float32, np.int64, np.int16):
        np.save(tmp_path / "a.npy", (labels % 1000).astype(dtype))
        found = read_labels(tmp_path / "a.npy", shape=(30, 40)).array
        assert found.dtype.kind == "u"
        np.testing.assert_array_equal(found, labels % 1000)
    np.save(tmp_path / "a.npy", labels > 0)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npy", shape=(30, 40)).array, labels > 0)


@pytest.mark.parametrize(("value", "message"), [(0.5, "fractions"), (np.nan, "fractions"), (-1.0, "-1")])
def test_what_is_no_label(tmp_path, value, message):
    np.save(tmp_path / "a.npy", np.full((4, 4), value))
    with pytest.raises(LabelsError, match=message):
        read_labels(tmp_path / "a.npy", shape=(4, 4))


def test_labels_of_another_image_are_refused(tmp_path):
    path = save_masks(tmp_path / "a.tif", some_labels((30, 40)))
    with pytest.raises(LabelsError, match="30 × 40, and the image has 31 × 40"):
        read_labels(path, shape=(31, 40))


# --- bad files ----------------------------------------------------------------------------------


def test_outlines_need_the_shape_of_the_image(tmp_path):
    with pytest.raises(LabelsError, match="do not say how large the image is"):
        read_labels(save_rois(tmp_path / "a.zip", some_labels((30, 40))))


def test_axes_must_describe_the_image(tmp_path):
    with pytest.raises(AxesError, match="4 dimensions"):
        read_labels(save_rois(tmp_path / "a.zip", some_labels((30, 40))), "TZYX", (30, 40))


@pytest.mark.parametrize("name", ["a.zip", "a.roi", "a.geojson", "a.geojson.gz", "a_seg.npy"])
@pytest.mark.parametrize("content", [b"", b"\0" * 90, b"Iout" + b"\xff" * 70, b"PK\3\4" + b"x" * 50, b"{", b"[1]"])
def test_damaged_files_give_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ImageError, LabelsError), match=name):
        read_labels(tmp_path / name, shape=(9, 9))


@pytest.mark.parametrize("kind", ["zip", "geojson", "gz"])
def test_cut_files_give_a_sentence(tmp_path, kind):
    labels = some_labels((30, 40))
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        save_rois(path, labels)
    else:
        text = save_geojson(tmp_path / "b.geojson", labels).read_bytes()
        path = tmp_path / ("a.geojson" if kind == "geojson" else "a.geojson.gz")
        path.write_bytes(text if kind == "geojson" else gzip.compress(text))
    content = path.read_bytes()
    for length in range(1, len(content) - 9, len(content) // 20):
        path.write_bytes(content[:length])
        with pytest.raises((ImageError, LabelsError)):
            read_labels(path, shape=(30, 40))


def test_files_without_an_area(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(LabelsError, match="no Polygon"):
        read_labels(tmp_path / "a.geojson", shape=(9, 9))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(LabelsError, match="no ROI with an area"):
        read_labels(tmp_path / "a.zip", shape=(9, 9))


def test_bombs_are_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(2**22))
    with pytest.raises(ImageError, match="made to fill the memory"):
        read_labels(tmp_path / "a.zip", shape=(9, 9))
    with gzip.open(tmp_path / "a.geojson.gz", "wb") as file:
        file.write(b" " * (65 * 2**20))
    with pytest.raises(ImageError, match="would unpack"):
        read_labels(tmp_path / "a.geojson.gz", shape=(9, 9))
    monkeypatch.setattr(roi_files, "MAX_MEMBERS", 2)
    with pytest.raises(ImageError, match="3 files"):
        read_labels(save_zip(tmp_path / "b.zip", [square(0, 0, 2)] * 3), shape=(9, 9))


def test_an_outline_larger_than_any_image_takes_no_memory(tmp_path):
    huge = feature(-1e30, -1e30, 2e30)
    (tmp_path / "a.geojson").write_text(json.dumps(huge))
    assert read_labels(tmp_path / "a.geojson", shape=(9, 9)).array.all()


def test_what_makes_a_roi_is_tried_whole(tmp_path):
    """Change every byte of a ROI in turn: labels or a sentence, and nothing else."""
    content = square(3, 5, 4, "12").tobytes()
    path = tmp_path / "a.roi"
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        with contextlib.suppress(ImageError, LabelsError):
            read_labels(path, shape=(20, 20))


def test_packed_text_of_any_level(tmp_path):
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(json.dumps(feature(1, 1, 2)).encode())
    (tmp_path / "a.json.gz").write_bytes(packed.getvalue())
    assert read_labels(tmp_path / "a.json.gz", shape=(9, 9)).array.sum() == 4
