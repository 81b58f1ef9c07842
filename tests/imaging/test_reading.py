"""Reading: every common kind of file comes back whole, or as one sentence."""

import gc
import json
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow

from napari_unet.axes import PixelSize
from napari_unet.errors import AxesError, ImageError
from napari_unet.imaging import tiff
from napari_unet.imaging.reading import image_name, read_image, read_labels

LONG = "n" * (251 if os.name == "posix" else 90) + ".tif"  # 255 bytes, the most that Linux allows
RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60_000, (10, 24, 31), dtype=np.uint16)
HYPER = RNG.integers(0, 60_000, (2, 3, 4, 24, 31), dtype=np.uint16)  # TZCYX
COLOUR = RNG.integers(0, 255, (24, 31, 3), dtype=np.uint8)


@pytest.fixture
def lazily(monkeypatch):
    """Treat small files like large ones."""
    monkeypatch.setattr(tiff, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("napari_unet.imaging.reading.IN_MEMORY_BYTES", 0)


def one_sentence(error):
    """Errors are for people: short, and ending in a full stop."""
    message = str(error.value)
    assert message.endswith(".")
    assert len(message) < 420
    assert "Traceback" not in message
    assert "\n" not in message
    return message


def pixels(image):
    return np.asarray(image.array[...])


# --- what can be read ---------------------------------------------------------------------------

DTYPES = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)]
DTYPES += ["float16", "float32", "float64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_tiff_of_any_type_and_byte_order(tmp_path, dtype, byteorder, compression):
    array = STACK.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, compression=compression, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "ZYX"
    assert image.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.array, array)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_large_plain_tiff_is_mapped(tmp_path, lazily, byteorder):
    tifffile.imwrite(tmp_path / "a.tif", STACK, byteorder=byteorder)
    image = read_image(tmp_path / "a.tif")
    assert isinstance(image.array, np.memmap)
    np.testing.assert_array_equal(image.array, STACK)


@pytest.mark.parametrize("kind", [{}, {"ome": True}, {"imagej": True}, {"bigtiff": True}])
def test_large_compressed_tiff_is_decoded_where_it_is_read(tmp_path, lazily, kind):
    path = tmp_path / "a.tif"
    metadata = {"axes": "TZCYX"}
    tifffile.imwrite(path, HYPER, compression="zlib", metadata=metadata, photometric="minisblack", **kind)
    image = read_image(path)
    assert isinstance(image.array, zarr.Array)
    assert image.axes == "TZCYX"
    np.testing.assert_array_equal(image.array[1, 2, 3], HYPER[1, 2, 3])
    np.testing.assert_array_equal(
        image.read(1, slice(0, 3), slice(2, 9), slice(3, 5), [2]),
        HYPER[1, :, 2:3, 2:9, 3:5].transpose(1, 0, 2, 3),
    )


def is_open(path):
    """Whether this process holds the file open or mapped."""
    maps = Path("/proc/self/maps").read_text()
    return str(path) in maps or any(os.path.realpath(entry) == str(path) for entry in Path("/proc/self/fd").iterdir())


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")


@linux
@pytest.mark.parametrize("name", ["a.tif", "z.tif", "a.npy", "cut.tif", "a.ome.tif", "a.png"])
def test_small_and_bad_files_are_closed_at_once(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    tifffile.imwrite(tmp_path / "z.tif", STACK, compression="zlib")
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK)
    np.save(tmp_path / "a.npy", STACK)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "z.tif").read_bytes()[:3000])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    try:
        image = read_image(tmp_path / name)
        assert image.array.shape
    except ImageError:
        assert name == "cut.tif"
    assert not is_open(tmp_path / name)


@linux
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_large_files_are_closed_with_their_array(tmp_path, lazily, compression):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression=compression)
    image = read_image(tmp_path / "a.tif")
    assert is_open(tmp_path / "a.tif")
    del image
    gc.collect()
    assert not is_open(tmp_path / "a.tif")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let go of open files")
def test_replacing_a_file_does_not_change_an_image_that_is_open(tmp_path, lazily):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib")
    tifffile.imwrite(tmp_path / "b.tif", STACK[:, ::-1], compression="zlib")
    array = read_image(tmp_path / "a.tif").array
    (tmp_path / "b.tif").replace(tmp_path / "a.tif")
    np.testing.assert_array_equal(array[3], STACK[3])


def test_lazy_file_stays_open_as_long_as_its_array(tmp_path, lazily):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib")
    array = read_image(tmp_path / "a.tif").array
    gc.collect()
    np.testing.assert_array_equal(array[9], STACK[9])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_colour_tiff(tmp_path, planar, compression):
    shown = COLOUR if planar == "contig" else COLOUR.transpose(2, 0, 1)
    args = {"level": 100} if compression == "jpeg" else None
    tifffile.imwrite(
        tmp_path / "a.tif", shown, photometric="rgb", planarconfig=planar, compression=compression, compressionargs=args
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == ("YXC" if planar == "contig" else "CYX")
    expected = tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, expected)


def test_colour_stack(tmp_path):
    stack = np.stack([COLOUR, COLOUR[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "ZYXC"
    assert image.sizes == {"T": 1, "C": 3, "Z": 2, "Y": 24, "X": 31}


def test_transparency_is_dropped(tmp_path):
    alpha = np.dstack([COLOUR, np.full((24, 31), 7, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", alpha, photometric="rgb")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(alpha))
    Pillow.fromarray(np.dstack([COLOUR[..., 0], COLOUR[..., 1]]), "LA").save(tmp_path / "grey.png")
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png").array, COLOUR[..., 0])


def test_fourth_channel_that_is_no_transparency_is_kept(tmp_path):
    four = np.dstack([COLOUR, COLOUR[..., 0]])
    tifffile.imwrite(tmp_path / "a.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert read_image(tmp_path / "a.tif").sizes["C"] == 4


def colormap(*, grey):
    ramp = np.arange(255, -1, -1, dtype=np.uint16) * 257
    return np.stack([ramp, ramp if grey else ramp[::-1], ramp])


@pytest.mark.parametrize("grey", [True, False])
def test_palette_is_an_image_in_colours_and_labels_in_indices(tmp_path, grey):
    index = COLOUR[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colormap(grey=grey))
    shown = (255 - index) if grey else np.dstack([255 - index, index, 255 - index])
    image = read_image(tmp_path / "a.tif")
    assert image.axes == ("YX" if grey else "YXC")
    np.testing.assert_array_equal(image.array, shown)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").array, index)


def test_palette_png(tmp_path):
    index = COLOUR[..., 0]
    picture = Pillow.fromarray(index, "P")
    picture.putpalette(np.stack([np.arange(255, -1, -1)] * 3, -1).astype(np.uint8).ravel().tolist())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array[..., 0], 255 - index)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png").array, index)


def test_png_keeps_sixteen_bits(tmp_path):
    deep = (COLOUR.astype(np.uint16) * 201) + 3
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(deep))
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(deep[..., 0].copy()))
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.png").array, deep)
    grey = read_image(tmp_path / "grey.png")
    assert grey.axes == "YX"
    np.testing.assert_array_equal(grey.array, deep[..., 0])


def test_jpeg(tmp_path):
    Pillow.fromarray(COLOUR).save(tmp_path / "a.jpg")
    Pillow.fromarray(COLOUR[..., 0]).save(tmp_path / "b.JPEG")
    assert read_image(tmp_path / "a.jpg").axes == "YXC"
    assert read_image(tmp_path / "b.JPEG").label_shape == (24, 31)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, order):
    np.save(tmp_path / "a.npy", np.asarray(STACK, order=order))
    image = read_image(tmp_path / "a.npy")
    assert not isinstance(image.array, np.memmap)
    np.testing.assert_array_equal(image.array, STACK)


def test_large_npy_is_mapped(tmp_path, lazily):
    np.save(tmp_path / "a.npy", STACK)
    assert isinstance(read_image(tmp_path / "a.npy").array, np.memmap)


@pytest.mark.parametrize(
    "name",
    [
        "Zelle 3 (α).tif",
        "細胞 #1 & 50%.tif",
        "🔬.tif",
        "e\u0301.tif",
        LONG,
    ],
)
def test_any_file_name(tmp_path, name):
    tifffile.imwrite(tmp_path / name, STACK)
    image = read_image(str(tmp_path / name))
    assert image.name == name
    np.testing.assert_array_equal(image.array, STACK)


def test_one_pixel(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((1, 1), np.uint8))
    assert read_image(tmp_path / "a.tif").array.shape == (1, 1)


def test_name_for_results():
    assert image_name("a/cells.ome.tiff") == "cells"
    assert image_name("plate.ome.zarr") == "plate"
    assert image_name("x/.ome.tif") == ".ome"


# --- axes and pixel size ------------------------------------------------------------------------


def test_imagej_hyperstack(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        HYPER,
        imagej=True,
        resolution=(5, 4),
        metadata={"axes": "TZCYX", "spacing": 1.5, "unit": "um"},
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "TZCYX"
    assert image.pixel_size == PixelSize(1.5, 0.25, 0.2)
    np.testing.assert_array_equal(image.array, HYPER)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("micron", 0.25), ("\\u00B5m", 0.25), ("nm", 0.25e-3), ("mm", 250.0), ("pixel", None), ("parsec", None)],
)
def test_imagej_units(tmp_path, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], imagej=True, resolution=(4, 4), metadata={"unit": unit})
    assert read_image(tmp_path / "a.tif").pixel_size.x_um == pytest.approx(expected)


@pytest.mark.parametrize(("unit", "factor"), [("µm", 1), ("nm", 1e-3), ("mm", 1e3), ("Å", 1e-4), (None, 1)])
def test_ome_units(tmp_path, unit, factor):
    sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5}
    units = {f"{key}Unit": unit for key in sizes} if unit else {}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    image = read_image(tmp_path / "a.ome.tif")
    assert image.axes == "ZYX"
    assert image.pixel_size.along("ZYX") == pytest.approx((1.5 * factor, 0.3 * factor, 0.2 * factor))


def test_ome_without_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, ome=True, metadata={"axes": "TYX"})
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.axes, image.pixel_size) == ("TYX", PixelSize())


@pytest.mark.parametrize(
    ("per_unit", "unit", "expected"),
    [
        (40_000, "CENTIMETER", 0.25),
        (100_000, "INCH", 0.254),
        (300, "INCH", None),  # a printer's
        (1, "NONE", None),
        (4, "NONE", None),
    ],
)
def test_plain_resolution_counts_only_where_it_is_a_microscopes(tmp_path, per_unit, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], resolution=(per_unit, per_unit), resolutionunit=unit)
    size = read_image(tmp_path / "a.tif").pixel_size
    assert size.x_um == pytest.approx(expected)
    assert size.known == (expected is not None)


def test_ambiguous_stack_asks_for_axes_and_takes_them(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", HYPER[:, :, 0], photometric="minisblack")
    with pytest.raises(AxesError, match="--axes") as error:
        read_image(tmp_path / "a.tif")
    one_sentence(error)
    assert read_image(tmp_path / "a.tif", "tzyx").axes == "TZYX"


def test_asked_axes_win_over_those_of_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    assert read_image(tmp_path / "a.tif", "TYX").axes == "TYX"
    with pytest.raises(AxesError, match="3"):
        read_image(tmp_path / "a.tif", "YX")


def test_several_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK[0])
        writer.write(STACK[0, :20, :20])
    with pytest.raises(ImageError, match="2 separate images") as error:
        read_image(tmp_path / "a.tif")
    one_sentence(error)


def test_a_pyramid_is_its_full_resolution(tmp_path, lazily):
    full = RNG.integers(0, 255, (256, 256), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(full, subifds=1, tile=(64, 64), compression="zlib")
        writer.write(full[::2, ::2], subfiletype=1, tile=(64, 64), compression="zlib")
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(pixels(image), full)


# --- Zarr ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_array(tmp_path, version):
    array = zarr.create_array(tmp_path / "a.zarr", data=STACK, chunks=(1, 16, 16), zarr_format=version)
    assert isinstance(array, zarr.Array)
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "ZYX"
    assert isinstance(image.array, zarr.Array)
    np.testing.assert_array_equal(pixels(image), STACK)


def test_zarr_dimension_names_are_axes(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=STACK, dimension_names=["t", "y", "x"])
    assert read_image(tmp_path / "a.zarr").axes == "TYX"


def ome_zarr(path, version, *, axes="tczyx", unit="micrometer", scale=(1.0, 1.0, 2.0, 0.5, 0.25)):
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    level = HYPER.transpose(0, 2, 1, 3, 4)
    group.create_array("0", data=level, chunks=(1, 1, 1, 24, 31))
    group.create_array("1", data=np.ascontiguousarray(level[..., ::2, ::2]))
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": a, "type": kinds[a]} if a in kinds else {"name": a, "type": "space", "unit": unit} for a in axes
    ]
    steps = [{"type": "scale", "scale": list(scale)}]
    multiscale = {
        "axes": described,
        "datasets": [
            {"path": "0", "coordinateTransformations": steps},
            {"path": "1", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 1, 0.5]}]},
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [0.1, 1, 1, 1, 1]}],
    }
    if version == "0.4":
        group.attrs["multiscales"] = [multiscale | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return level


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("unit", "factor"), [("micrometer", 1), ("nanometer", 1e-3)])
def test_ome_zarr(tmp_path, version, unit, factor):
    level = ome_zarr(tmp_path / "a.ome.zarr", version, unit=unit)
    image = read_image(tmp_path / "a.ome.zarr")
    assert image.axes == "TCZYX"
    assert image.pixel_size.along("ZYX") == pytest.approx((2 * factor, 0.5 * factor, 0.25 * factor))
    np.testing.assert_array_equal(pixels(image), level)


def test_ome_zarr_without_units_has_no_pixel_size(tmp_path):
    ome_zarr(tmp_path / "a.ome.zarr", "0.5", unit=None)
    assert read_image(tmp_path / "a.ome.zarr").pixel_size == PixelSize()


def test_ome_zarr_with_foreign_axes_asks(tmp_path):
    ome_zarr(tmp_path / "a.ome.zarr", "0.5", axes=["angle", "c", "z", "y", "x"])
    with pytest.raises(AxesError, match="angle"):
        read_image(tmp_path / "a.ome.zarr")
    assert read_image(tmp_path / "a.ome.zarr", "TCZYX").axes == "TCZYX"


def test_zarr_group_of_several_arrays_is_refused(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("raw", "mask"):
        group.create_array(name, data=STACK)
    with pytest.raises(ImageError, match="mask, raw") as error:
        read_image(tmp_path / "a.zarr")
    one_sentence(error)
    np.testing.assert_array_equal(pixels(read_image(tmp_path / "a.zarr" / "raw")), STACK)


def test_bioformats_layout_leads_to_its_one_image(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    group.create_group("OME")
    ome_zarr(tmp_path / "a.zarr" / "0", "0.4")
    assert read_image(tmp_path / "a.zarr").axes == "TCZYX"


def test_plate_and_broken_metadata(tmp_path):
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": []}
    with pytest.raises(ImageError, match="plate of many"):
        read_image(tmp_path / "plate.zarr")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text(json.dumps({"zarr_format": 3})[:-2])
    with pytest.raises(ImageError, match="no readable Zarr") as error:
        read_image(tmp_path / "broken.zarr")
    one_sentence(error)
