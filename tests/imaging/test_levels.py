"""Smaller versions of an image, and the labels that lie in its store."""

import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.errors import SeveralImagesError
from napari_unet.imaging.tiff import tiff_levels, written_by_us
from napari_unet.imaging.zarrs import holds_zarr_labels, read_zarr, zarr_labels, zarr_levels


def test_the_levels_of_a_tiff_are_read_where_they_are_sliced(tmp_path):
    path, large = tmp_path / "slide.tif", np.arange(64 * 96, dtype=np.uint16).reshape(64, 96)
    with tifffile.TiffWriter(path) as writer:
        writer.write(large, subifds=2, tile=(16, 16))
        for step in (2, 4):
            writer.write(large[::step, ::step], subfiletype=1, tile=(16, 16))
    half, quarter = tiff_levels(path)
    assert isinstance(half, zarr.Array)
    assert np.array_equal(half[4:8, 5:9], large[::2, ::2][4:8, 5:9])
    assert quarter.shape == (16, 24)


def test_a_plain_tiff_has_no_levels_and_is_not_ours(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((8, 8), np.uint8))
    assert tiff_levels(tmp_path / "plain.tif") == ()
    assert not written_by_us(tmp_path / "plain.tif")


def test_several_images_are_told_from_damage(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(np.zeros((20, 30), np.uint8))
        writer.write(np.zeros((40, 50), np.uint8))
    with pytest.raises(SeveralImagesError, match="2 separate images"):
        tiff_levels(tmp_path / "two.tif")
    zarr.open_group(tmp_path / "two.zarr", mode="w").create_array("a", shape=(4, 4), dtype="u1")
    zarr.open_group(tmp_path / "two.zarr").create_array("b", shape=(4, 4), dtype="u1")
    with pytest.raises(SeveralImagesError, match="a, b"):
        read_zarr(tmp_path / "two.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_found_in_both_versions_of_ome_zarr(tmp_path, version):
    root = zarr.open_group(tmp_path / "cells.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)

    def describe(group, **about):
        group.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})

    def image(group, **more):
        for level, side in enumerate((32, 16)):
            group.create_array(str(level), shape=(side, side), dtype="u2")
        axes = [{"name": name, "type": "space"} for name in "yx"]
        describe(group, multiscales=[{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}], **more)

    image(root)
    inner = root.create_group("labels")
    describe(inner, labels=["nuclei", "gone"])
    image(inner.create_group("nuclei"), **{"image-label": {}})
    assert zarr_labels(tmp_path / "cells.zarr") == ("nuclei",)
    assert [level.shape for level in zarr_levels(tmp_path / "cells.zarr")] == [(16, 16)]
    assert holds_zarr_labels(tmp_path / "cells.zarr" / "labels" / "nuclei")
    assert not holds_zarr_labels(tmp_path / "cells.zarr")
    assert zarr_labels(tmp_path / "cells.zarr" / "labels" / "nuclei") == ()
