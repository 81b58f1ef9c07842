"""Files that are opened in napari keep their axes and pixel size, and are read where they are looked at."""

import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.errors import ImageError
from napari_unet.gui import layers
from napari_unet.gui.image_reading import get_reader
from napari_unet.imaging.limits import IN_MEMORY_BYTES

PLUGIN = "napari-unet"


@pytest.fixture
def readers(npe2pm):
    """napari with its own plugin and this one."""
    with npe2pm.tmp_plugin(package="napari"), npe2pm.tmp_plugin(package=PLUGIN):
        yield


def only_layer(viewer, path):
    (layer,) = viewer.open(str(path), plugin=PLUGIN)
    return layer


def units(layer):
    return [str(unit) for unit in layer.units]


def test_a_hyperstack_opens_with_its_axes_and_pixel_size(readers, viewer, controller, tmp_path):
    stack = np.arange(3 * 4 * 2 * 20 * 30, dtype=np.uint16).reshape(3, 4, 2, 20, 30)
    about = {"axes": "TZCYX", "unit": "um", "spacing": 1.5}
    tifffile.imwrite(tmp_path / "cells 1.tif", stack, imagej=True, resolution=(2, 4), metadata=about)
    layer = only_layer(viewer, tmp_path / "cells 1.tif")
    assert layer.name == "cells 1"
    assert layer.axis_labels == ("t", "z", "c", "y", "x")
    assert list(layer.scale) == [1, 1.5, 1, 0.25, 0.5]
    assert units(layer) == ["pixel", "micrometer", "pixel", "micrometer", "micrometer"]
    assert np.array_equal(layer.data, stack)
    assert layer.source.path == str(tmp_path / "cells 1.tif")
    assert controller.state.axes == "TZCYX"
    assert controller.state.image_channels == 2


def test_colours_are_colours(readers, viewer, tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stain.tif", colours, photometric="rgb")
    layer = only_layer(viewer, tmp_path / "stain.tif")
    assert layer.rgb
    assert layers.guess_axes(layer) == "YXC"


def test_a_large_file_is_read_where_it_is_looked_at(readers, viewer, controller, tmp_path):
    shape = (12, 2048, 2048)
    assert np.prod(shape) * 2 > IN_MEMORY_BYTES
    written = tifffile.memmap(tmp_path / "large.tif", shape=shape, dtype=np.uint16, metadata={"axes": "ZYX"})
    written[7] = 5
    written.flush()
    layer = only_layer(viewer, tmp_path / "large.tif")
    assert isinstance(layer.data, np.memmap)
    # The background process maps the same file into memory: nothing is copied.
    staged = controller._desk.stage_image(layers.image_of(layer, "ZYX"))
    assert staged.array.path == str((tmp_path / "large.tif").resolve())


def test_smaller_versions_are_drawn_instead_of_a_large_image(readers, viewer, tmp_path):
    large = np.zeros((9000, 9000), np.uint8)
    large[:4500] = 9
    options = {"tile": (512, 512), "compression": "zlib"}
    about = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(tmp_path / "slide.ome.tif", ome=True) as writer:
        writer.write(large, subifds=1, metadata=about, **options)
        writer.write(large[::4, ::4], subfiletype=1, **options)
    layer = only_layer(viewer, tmp_path / "slide.ome.tif")
    assert [level.shape for level in layer.data] == [(9000, 9000), (2250, 2250)]
    assert isinstance(layer.data[0], zarr.Array)
    assert list(layer.scale) == [0.5, 0.5]
    assert layers.image_of(layer, "YX").array.shape == (9000, 9000)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("cells.tif", np.uint16, "Image"),
        ("cells_masks.tif", np.uint16, "Labels"),
        ("cells labels.tif", np.uint8, "Labels"),
        ("cells.tif", np.uint32, "Labels"),
        ("masks.tif", np.float32, "Image"),
        ("unmasked.tif", np.uint16, "Image"),
    ],
)
def test_labels_are_told_by_type_and_name(readers, viewer, tmp_path, name, kind, expected):
    tifffile.imwrite(tmp_path / name, np.ones((20, 30), kind))
    assert type(only_layer(viewer, tmp_path / name)).__name__ == expected


def test_opened_labels_can_be_painted(readers, viewer, tmp_path):
    tifffile.imwrite(tmp_path / "labels.tif", np.ones((20, 30), np.uint16), compression="zlib")
    layer = only_layer(viewer, tmp_path / "labels.tif")
    layer.data_setitem((np.array([3]), np.array([4])), 7)
    assert layer.data[3, 4] == 7


def ome_zarr(path, labels=()):
    """Write an OME-Zarr image of 0.4 with a level of half the size."""

    def write(group, array):
        group.create_array("0", data=array)
        group.create_array("1", data=array[..., ::2, ::2])
        datasets = [
            {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [2, 0.5 * 2**n, 0.5 * 2**n]}]}
            for n in range(2)
        ]
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]

    root = zarr.open_group(path, mode="w", zarr_format=2)
    write(root, np.ones((4, 40, 60), np.uint16))
    if labels:
        inner = root.create_group("labels")
        inner.attrs["labels"] = list(labels)
        for name in labels:
            write(inner.create_group(name), np.full((4, 40, 60), 3, np.uint16))
            inner[name].attrs["image-label"] = {"version": "0.4"}


def test_an_ome_zarr_opens_with_its_labels(readers, viewer, tmp_path):
    ome_zarr(tmp_path / "cells.ome.zarr", labels=["nuclei"])
    image, labels = viewer.open(str(tmp_path / "cells.ome.zarr"), plugin=PLUGIN)
    assert image.name == "cells"
    assert image.multiscale
    assert list(image.scale) == [2, 0.5, 0.5]
    assert units(image) == ["micrometer"] * 3
    assert type(labels).__name__ == "Labels"
    assert labels.name == "cells nuclei"
    assert list(labels.scale) == [2, 0.5, 0.5]
    assert labels.editable
    assert only_layer(viewer, tmp_path / "cells.ome.zarr" / "labels" / "nuclei").data.max() == 3


def test_a_cut_file_is_refused_and_not_shown_as_a_shorter_one(readers, viewer, tmp_path):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, np.ones((10, 64, 64), np.uint16), imagej=True)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(ImageError, match="incomplete or damaged"):
        viewer.open(str(path), plugin=PLUGIN)
    assert not viewer.layers


def test_what_is_none_of_ours_goes_to_naparis_own_reader(readers, viewer, tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(np.zeros((20, 30), np.uint8))
        writer.write(np.zeros((40, 50), np.uint8))
    assert viewer.open(str(tmp_path / "two.tif"), plugin=PLUGIN)
    folder = tmp_path / "folder"
    folder.mkdir()
    for n in range(3):
        tifffile.imwrite(folder / f"{n}.tif", np.zeros((20, 30), np.uint8))
    assert only_layer(viewer, folder).data.shape == (3, 20, 30)
    (stack,) = viewer.open([str(folder / f"{n}.tif") for n in range(3)], stack=True, plugin=PLUGIN)
    assert stack.data.shape == (3, 20, 30)


def test_files_that_are_gone_have_no_reader(tmp_path):
    assert get_reader(str(tmp_path / "gone.tif")) is None


def test_axes_that_do_not_end_with_y_and_x_are_turned(readers, viewer, tmp_path):
    array = zarr.create_array(tmp_path / "turned.zarr", shape=(30, 20, 4), dtype="u2", dimension_names=("x", "y", "z"))
    array[...] = np.arange(30)[:, None, None]
    layer = only_layer(viewer, tmp_path / "turned.zarr")
    assert layer.axis_labels == ("z", "y", "x")
    assert layer.data.shape == (4, 20, 30)
    assert np.asarray(layer.data[0, 0, 7]) == 7
