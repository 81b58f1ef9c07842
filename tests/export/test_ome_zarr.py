"""OME-Zarr: what is stored is valid, comes back with its axes and pixel size, and disturbs nothing that is there."""

import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest
import zarr
from stores import (
    RNG,
    SIZE,
    VERSIONS,
    attributes,
    check_valid,
    check_valid_labels,
    image_of,
    labels_of,
    names,
    snapshot,
)

from napari_unet import atomic
from napari_unet.axes import PixelSize
from napari_unet.errors import Cancelled, ExportError, ImageError, LabelsError
from napari_unet.export import zarr_groups
from napari_unet.export.ome_zarr import add_labels, save_ome_zarr, save_ome_zarr_events
from napari_unet.export.pyramids import levels_of, reduced
from napari_unet.export.raw_chunks import RawArray
from napari_unet.imaging.image import open_image
from napari_unet.imaging.reading import read_image, read_labels

# --- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "CYX", "TCZYX", "ZCYX", "YXC", "XTY"])
def test_image_and_labels_come_back(tmp_path, version, axes):
    image, labels = image_of(axes), labels_of(axes.replace("C", ""))
    path = save_ome_zarr(tmp_path / "Zelle (α) 🔬.ome.zarr", image, {"masks": labels}, version=version)
    check_valid(path, version)
    for found, meant in ((read_image(path), image), (read_image(path / "labels" / "masks"), labels)):
        assert found.axes == "".join(axis for axis in "TCZYX" if axis in meant.axes)
        order = [meant.axes.index(axis) for axis in found.axes]
        np.testing.assert_array_equal(found.array[...], meant.array.transpose(order))
        assert found.pixel_size.along(found.axes) == pytest.approx(SIZE.along(found.axes))
    assert read_image(path).dtype == np.uint16


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("largest", [0, 1, 255, 256, 65535, 65536, 2**24 + 1, 2**32 - 1])
def test_every_id_is_kept(tmp_path, version, largest):
    labels = labels_of("ZYX", largest)
    path = save_ome_zarr(tmp_path / "m.zarr", labels={"masks": labels}, version=version)
    found = read_labels(path)
    np.testing.assert_array_equal(found.array[...], labels.array)
    assert found.dtype == (np.uint16 if largest <= 65535 else np.uint32)
    check_valid_labels(zarr.open_group(path, mode="r"), version)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("version", VERSIONS)
def test_images_of_any_type(tmp_path, version, dtype):
    image = image_of("ZYX", 1 if dtype == "bool" else 100, np.dtype(dtype))
    found = read_image(save_ome_zarr(tmp_path / "i.zarr", image, version=version))
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found.array[...], image.array)


@pytest.mark.parametrize("version", VERSIONS)
def test_levels_lie_where_they_say(tmp_path, version):
    """A straight line through the world stays one in every level of the image and of the labels."""
    ramp = np.add.outer(np.arange(600.0), np.arange(520.0) * 1000)
    image = open_image(ramp, "YX", SIZE)
    path = save_ome_zarr(
        tmp_path / "r.zarr", image, {"masks": open_image(ramp.astype(int), "YX", SIZE)}, version=version
    )
    for folder in (path, path / "labels" / "masks"):
        group = zarr.open_group(folder, mode="r")
        (multiscale,) = group.attrs.get("ome", group.attrs)["multiscales"]
        assert [axis["unit"] for axis in multiscale["axes"]] == ["micrometer", "micrometer"]
        assert len(multiscale["datasets"]) == 3
        for level in multiscale["datasets"]:
            scale, translation = (one[one["type"]] for one in level["coordinateTransformations"])
            y, x = (
                np.arange(n) * s + t for n, s, t in zip(group[level["path"]].shape, scale, translation, strict=True)
            )
            world = np.add.outer(y / SIZE.y_um, x / SIZE.x_um * 1000)
            np.testing.assert_allclose(group[level["path"]][:-1, :-1], world[:-1, :-1], atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_are_never_averaged(tmp_path, version):
    labels = open_image(RNG.choice([0, 3, 70_000], (3, 513, 700)), "ZYX", PixelSize(0.1, 0.1, 0.1))
    path = save_ome_zarr(tmp_path / "m.zarr", labels={"masks": labels}, version=version)
    group = zarr.open_group(path, mode="r")
    shapes = [group[str(level)].shape for level in range(3)]
    assert shapes == [(3, 513, 700), (2, 257, 350), (1, 129, 175)]
    assert all(set(np.unique(group[str(level)])) <= {0, 3, 70_000} for level in range(3))
    np.testing.assert_array_equal(group["1"], labels.array[::2, ::2, ::2])


def test_slices_far_apart_are_not_joined():
    sizes = {"T": 1, "C": 1, "Z": 8, "Y": 1024, "X": 1024}
    levels = levels_of(sizes, PixelSize(2.0, 0.5, 0.5))
    assert [level.sizes["Z"] for level in levels] == [8, 8, 8]
    assert [level.sizes["Z"] for level in levels_of(sizes, PixelSize())] == [8, 8, 8]
    assert [level.sizes["Z"] for level in levels_of(sizes, PixelSize(0.5, 0.5, 0.5))] == [8, 4, 2]


def test_mean_of_a_border_with_an_odd_number_of_pixels():
    block = np.array([[0, 2, 9], [4, 6, 9], [7, 7, 200]], np.uint8)
    np.testing.assert_array_equal(reduced(block, (2, 2), "mean"), [[3, 9], [7, 200]])
    assert reduced(np.full((4, 4), 65535, np.uint16), (2, 2), "mean").max() == 65535


@pytest.mark.parametrize("version", VERSIONS)
def test_classes_have_names_and_colours(tmp_path, version):
    labels = labels_of("YX", 2)
    path = save_ome_zarr(tmp_path / "c.zarr", labels={"c": labels}, classes=("tumour", "stroma"), version=version)
    found = attributes(path)
    about = found.get("ome", found)["image-label"]
    assert [one["class"] for one in about["properties"]] == ["background", "tumour", "stroma"]
    assert [one["label-value"] for one in about["colors"]] == [0, 1, 2]
    check_valid_labels(zarr.open_group(path, mode="r"), version)


def test_unknown_pixel_size_has_no_unit(tmp_path):
    image = open_image(np.zeros((2, 5, 5), np.uint8), "ZYX", PixelSize(None, 0.5, 0.5))
    path = save_ome_zarr(tmp_path / "i.zarr", image)
    assert read_image(path).pixel_size == PixelSize(None, 0.5, 0.5)
    assert "unit" not in attributes(path)["ome"]["multiscales"][0]["axes"][0]


@pytest.mark.parametrize("version", VERSIONS)
def test_files_are_decoded_without_zarr(tmp_path, version):
    labels = labels_of("ZYX", Y=300, X=270, Z=17)
    path = save_ome_zarr(tmp_path / "m.zarr", labels={"masks": labels}, version=version)
    raw = RawArray.open(path / "0")
    np.testing.assert_array_equal(
        raw.read((slice(16, 17), slice(256, 300), slice(256, 270))), labels.array[16:, 256:, 256:]
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_memory_does_not_grow_with_the_image(tmp_path, version):
    """256 MiB of pixels that are nowhere, written with a quarter of that."""
    image = open_image(np.broadcast_to(np.uint16(7), (128, 1024, 1024)), "ZYX")
    tracemalloc.start()
    try:
        path = save_ome_zarr(tmp_path / "i.zarr", image, version=version)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    assert (zarr.open_group(path, mode="r")["2"][127] == 7).all()


# --- what is refused ----------------------------------------------------------------------------


def test_other_peoples_folders_are_not_replaced(tmp_path):
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "me.jpg").write_bytes(b"me")
    zarr.open_group(tmp_path / "theirs.zarr", mode="w").create_array("0", shape=(3, 3), dtype="uint8")
    (tmp_path / "file.zarr").write_bytes(b"me")
    for name in ("photos.zarr", "theirs.zarr", "file.zarr"):
        before = snapshot(tmp_path)
        with pytest.raises(ExportError, match=name):
            save_ome_zarr(tmp_path / name, image_of("YX"))
        assert snapshot(tmp_path) == before


def test_our_own_store_is_replaced(tmp_path):
    for largest in (5, 9):
        save_ome_zarr(tmp_path / "m.zarr", labels={"masks": labels_of("YX", largest)})
    assert read_labels(tmp_path / "m.zarr").array[0, 0] == 9
    assert names(tmp_path) == ["m.zarr"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a\\b", "a\nb", "__x"])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(ExportError, match="name"):
        save_ome_zarr(tmp_path / "m.zarr", image_of("YX"), {name: labels_of("YX")})
    assert names(tmp_path) == []


def test_what_cannot_be_written(tmp_path):
    image = image_of("YX")
    with pytest.raises(ExportError, match=r"\.zarr"):
        save_ome_zarr(tmp_path / "m.tif", image)
    with pytest.raises(ExportError, match="0 were given"):
        save_ome_zarr(tmp_path / "m.zarr")
    with pytest.raises(LabelsError, match="size"):
        save_ome_zarr(tmp_path / "m.zarr", image, {"masks": labels_of("YX", Y=3)})
    with pytest.raises(LabelsError, match="fractions"):
        save_ome_zarr(tmp_path / "m.zarr", labels={"masks": open_image(np.array([[0.5, 1]]))})
    with pytest.raises(ImageError):
        add_labels(tmp_path, "masks", labels_of("YX"))
    zarr.save_array(tmp_path / "plain.zarr", image.array)
    with pytest.raises(ExportError, match="no OME-Zarr image"):
        add_labels(tmp_path / "plain.zarr", "masks", labels_of("YX"))
    with pytest.raises(ExportError):
        save_ome_zarr(tmp_path / "none" / "m.zarr", image)
    assert names(tmp_path) == ["plain.zarr"]


# --- a disk that fails, a user who cancels ------------------------------------------------------


def spoil(folder):
    file = max(
        (file for file in folder.rglob("*") if file.is_file() and not file.suffix), key=lambda f: f.stat().st_size
    )
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    file.write_bytes(content)


def forget(folder):
    shutil.rmtree(folder / "0" / ("c" if (folder / "0" / "c").exists() else "0"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("harm", [spoil, forget])
def test_store_that_reads_back_differently_is_not_put_in_place(tmp_path, monkeypatch, version, harm):
    path = save_ome_zarr(tmp_path / "m.zarr", image_of("ZYX"), version=version)
    before = snapshot(path)
    check = zarr_groups._difference_events

    def harmed(folder, *content):
        harm(folder)
        return check(folder, *content)

    monkeypatch.setattr(zarr_groups, "_difference_events", harmed)
    with pytest.raises(ExportError, match="did not read back"):
        save_ome_zarr(path, image_of("ZYX"), version=version)
    assert snapshot(path) == before
    assert names(tmp_path) == ["m.zarr"]


def test_cancelling_leaves_nothing_behind(tmp_path):
    work = save_ome_zarr_events(tmp_path / "m.zarr", image_of("TCZYX"))
    next(work)
    with pytest.raises(Cancelled):
        work.throw(Cancelled())
    assert names(tmp_path) == []


@pytest.mark.parametrize("fails", [1, 2])
def test_folder_that_cannot_be_moved_comes_back(tmp_path, monkeypatch, fails):
    path = save_ome_zarr(tmp_path / "m.zarr", image_of("YX"))
    before = snapshot(path)
    replace, calls = os.replace, []

    def refuse(source, target):
        if path in (source, target):
            calls.append(target)
            if len(calls) == fails:
                raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(ExportError, match="unchanged"):
        save_ome_zarr(path, image_of("YX"))
    assert snapshot(path) == before
    assert names(tmp_path) == ["m.zarr"]


def test_metadata_are_plain_json(tmp_path):
    path = save_ome_zarr(tmp_path / "i.zarr", image_of("YX"))
    assert json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]["ome"]["version"] == "0.5"
