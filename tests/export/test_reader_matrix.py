"""Files of ours in other programs: every kind of file in every reader gives the same numbers.

Bio-Formats needs Java and the path of its jar in NAPARI_UNET_BIOFORMATS; without them its tests are skipped.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import ome_types
import pytest
import skimage.io
import tifffile
from PIL import Image as Pillow

from napari_unet.axes import PixelSize
from napari_unet.export import layouts
from napari_unet.export.rasters import About
from napari_unet.export.tiff import save_binary, save_classes, save_masks, save_probabilities
from napari_unet.imaging.reading import read_image

RNG = np.random.default_rng(0)
SIZE = PixelSize(1.5, 0.325, 0.3251)
ABOUT = About("Zelle (é) 🔬.tif", 30.0)
LENGTHS = {"T": 2, "C": 3, "Z": 5, "Y": 40, "X": 51}
EDGES = (0, 1, 255, 256, 65535, 65536, 2**24 + 1)
JAR = os.environ.get("NAPARI_UNET_BIOFORMATS", "")


def lengths(axes):
    return [LENGTHS[axis] for axis in axes]


def ids(axes, largest):
    array = RNG.integers(0, largest, lengths(axes), dtype=np.int64, endpoint=True)
    array.flat[: len(EDGES)] = [min(edge, largest) for edge in EDGES]
    return array


def masks(path, axes, largest):
    labels = ids(axes, largest)
    return save_masks(path, labels, axes, SIZE, ABOUT), labels


def binary(path, axes, _):
    labels = ids(axes, 3)
    return save_binary(path, labels, axes, SIZE, ABOUT), np.where(labels > 0, 255, 0)


def classes(path, axes, _):
    labels = ids(axes, 3)
    where = axes.index("Y")  # channels come before the plane
    shown = np.stack([np.where(labels == number, 255, 0) for number in (1, 2, 3)], axis=where)
    return save_classes(path, labels, ("nucleus", "cell", "débris"), axes, SIZE, ABOUT), shown


def probabilities(path, axes, kind):
    maps = RNG.random((3, *lengths(axes)), dtype=np.float32)
    shown = np.moveaxis(maps, 0, axes.index("Y"))
    path = save_probabilities(path, maps, axes, SIZE, classes=("a", "b", "c"), kind=kind, about=ABOUT)
    return path, np.rint(shown * 255) if kind == "uint8" else shown


def bigtiff(path, axes, largest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "IMAGEJ_BYTES", 1)
        patch.setattr(layouts, "BIGTIFF_BYTES", 1)
        return masks(path, axes, largest)


KINDS = {
    "uint16 plane": (masks, "YX", 65535, "uint16"),
    "uint16 stack": (masks, "ZYX", 65535, "uint16"),
    "uint16 film": (masks, "TYX", 256, "uint16"),
    "uint16 film of stacks": (masks, "TZYX", 65535, "uint16"),
    "empty": (masks, "ZYX", 0, "uint16"),
    "uint32 plane": (masks, "YX", 65536, "uint32"),
    "uint32 film of stacks": (masks, "TZYX", 2**24 + 1, "uint32"),
    "uint32 at its end": (masks, "ZYX", 2**32 - 1, "uint32"),
    "binary": (binary, "TZYX", 1, "uint8"),
    "classes": (classes, "TZYX", 3, "uint8"),
    "probabilities": (probabilities, "TZYX", "float32", "float32"),
    "probabilities in 8 bits": (probabilities, "ZYX", "uint8", "uint8"),
    "BigTIFF": (bigtiff, "TZYX", 65535, "uint16"),
    "BigTIFF of uint32": (bigtiff, "ZYX", 2**24 + 1, "uint32"),
}


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """Path, what should stand in it, its dtype, its axes."""
    save, axes, what, dtype = KINDS[request.param]
    path, array = save(tmp_path_factory.mktemp("files") / "Maske 3 (α).tif", axes, what)
    if array.ndim > len(axes):
        axes = axes.replace("YX", "CYX")
    return path, array.astype(dtype), np.dtype(dtype), axes


# --- numbers ------------------------------------------------------------------------------------


def with_tifffile(path):
    return tifffile.imread(path)


def with_imageio(path):
    return imageio.imread(path)


def with_skimage(path):
    array = skimage.io.imread(path)
    # it takes three or four planes for colours, and puts them last
    return np.moveaxis(array, -1, -3) if array.ndim > 2 and array.shape[-1] in {3, 4} else array


def with_pillow(path):
    with Pillow.open(path) as picture:
        pages = []
        for number in range(picture.n_frames):
            picture.seek(number)
            pages.append(np.asarray(picture))
    return np.stack(pages).view(np.uint32) if pages[0].dtype == np.int32 else np.stack(pages)


def with_opencv(path):
    cv2 = pytest.importorskip("cv2")
    done, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert done
    return np.stack(pages)


def with_simpleitk(path):
    sitk = pytest.importorskip("SimpleITK")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def with_bioformats(path):
    """Let Bio-Formats read the file and write what it saw."""
    converted = path.with_name("converted.ome.tif")
    bioformats("ImageConverter", "-no-upgrade", "-overwrite", str(path), str(converted))
    return tifffile.imread(converted)


def bioformats(tool, *arguments):
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", JAR, f"loci.formats.tools.{tool}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=300).stdout


needs_bioformats = pytest.mark.skipif(
    not (JAR and Path(JAR).is_file() and shutil.which("java")), reason="needs Java and Bio-Formats"
)
READERS = [with_tifffile, with_imageio, with_skimage, with_pillow, with_opencv, with_simpleitk]


@pytest.mark.parametrize("read", [*READERS, pytest.param(with_bioformats, marks=needs_bioformats)])
def test_every_reader_sees_the_same_numbers(saved, read):
    path, array, dtype, _ = saved
    found = read(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.reshape(array.shape), array)


# --- axes, pixel size, name ---------------------------------------------------------------------


def test_tifffile_sees_axes_pixel_size_and_name(saved):
    path, array, _, axes = saved
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert (series.axes, series.shape) == (axes, array.shape)
        if file.is_imagej:
            found = file.imagej_metadata
            assert "Zelle (é) 🔬.tif" in found["Info"]
            assert (found["unit"], found["spacing"], found["finterval"]) == ("um", 1.5, 30.0)
            columns, rows = (file.pages[0].tags[f"{axis}Resolution"].value for axis in "XY")
            assert columns[1] / columns[0] == pytest.approx(0.3251)
            assert rows[1] / rows[0] == pytest.approx(0.325)
            assert file.pages[0].tags["ResolutionUnit"].value == 1  # what it is in stands in the metadata
        else:
            assert 'Name="Zelle (é) _.tif"' in file.ome_metadata


def test_our_reader_sees_axes_and_pixel_size(saved):
    path, array, dtype, axes = saved
    image = read_image(path)
    assert (image.axes, image.dtype) == (axes, dtype)
    assert image.pixel_size.along("ZYX") == pytest.approx(SIZE.along("ZYX"), rel=1e-6)
    np.testing.assert_array_equal(image.array, array)


def test_channels_are_named_and_shown_from_0_to_their_end(saved):
    path, _, dtype, axes = saved
    with tifffile.TiffFile(path) as file:
        if "C" not in axes or not file.is_imagej:
            pytest.skip("has one channel")
        found = file.imagej_metadata
        assert len(found["Labels"]) == len(file.pages)
        assert len(set(found["Labels"])) == 3
        assert found["Ranges"] == (0, 1 if dtype == np.float32 else 255) * 3


def test_ome_xml_is_valid(saved):
    path, *_ = saved
    with tifffile.TiffFile(path) as file:
        if not file.is_ome:
            pytest.skip("is an ImageJ TIFF")
        xml = file.ome_metadata
    ome_types.validate_xml(xml)
    pixels = ome_types.from_xml(xml).images[0].pixels
    sizes = (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x)
    assert sizes == SIZE.along("ZYX")
    assert {unit.value for unit in (pixels.physical_size_z_unit, pixels.physical_size_x_unit)} == {"µm"}
    assert pixels.time_increment == 30.0


@needs_bioformats
def test_bioformats_sees_axes_and_pixel_size(saved):
    path, array, _, axes = saved
    xml = bioformats("ImageInfo", "-nopix", "-omexml-only", "-no-upgrade", str(path))
    found = dict(re.findall(r'\b((?:Physical)?Size[TCZYX](?:Unit)?|TimeIncrement)="([^"]*)"', xml))
    size = dict(zip(axes, array.shape, strict=True))
    assert [int(found[f"Size{axis}"]) for axis in "TCZYX"] == [size.get(axis, 1) for axis in "TCZYX"]
    assert [float(found[f"PhysicalSize{axis}"]) for axis in "ZYX"] == pytest.approx(SIZE.along("ZYX"))
    assert found["PhysicalSizeXUnit"] == "µm"
    assert float(found["TimeIncrement"]) == 30.0
