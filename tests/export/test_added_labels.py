"""Labels that are added to an OME-Zarr that is there already."""

import itertools
import warnings

import numpy as np
import pytest
import zarr
from stores import VERSIONS, attributes, check_valid, image_of, labels_of, snapshot

from napari_unet.axes import PixelSize
from napari_unet.errors import ExportError, LabelsError
from napari_unet.export import zarr_groups
from napari_unet.export.ome_zarr import add_labels, save_ome_zarr
from napari_unet.imaging.reading import read_image, read_labels


@pytest.mark.parametrize("version", VERSIONS)
def test_added_labels_touch_nothing_else(tmp_path, version):
    image, labels = image_of("TCZYX"), labels_of("TZYX", 70_000)
    path = save_ome_zarr(tmp_path / "i.ome.zarr", image, version=version)
    before = snapshot(path)
    add_labels(path, "nuclei 2", labels)
    add_labels(path, "cells", labels_of("TZYX"))
    assert {name: one for name, one in snapshot(path).items() if not name.startswith("labels")} == before
    found = attributes(path / "labels")
    assert found.get("ome", found)["labels"] == ["nuclei 2", "cells"]
    np.testing.assert_array_equal(read_labels(path / "labels" / "nuclei 2").array[...], labels.array)
    check_valid(path, version)


def test_labels_of_a_store_are_found(tmp_path):
    image, labels = image_of("CYX"), labels_of("YX")
    path = save_ome_zarr(tmp_path / "i.zarr", image, {"masks": labels})
    np.testing.assert_array_equal(read_labels(path).array[...], labels.array)
    add_labels(path, "others", labels)
    with pytest.raises(LabelsError, match="labels/masks"):
        read_labels(path)


def test_added_labels_lie_in_the_grid_of_the_image(tmp_path):
    """Units, scale and offset are those of the store, whoever wrote it."""
    group = zarr.open_group(tmp_path / "i.zarr", mode="w", zarr_format=2)
    group.create_array("full", shape=(3, 20, 30), dtype="uint8", chunk_key_encoding={"name": "v2", "separator": "/"})
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    steps = [{"type": "scale", "scale": [1, 250, 250]}, {"type": "translation", "translation": [0, 1000, 2000]}]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "c", "type": "channel"}, *axes],
            "datasets": [{"path": "full", "coordinateTransformations": steps}],
        }
    ]
    add_labels(tmp_path / "i.zarr", "masks", labels_of("YX", Y=20, X=30))
    (found,) = attributes(tmp_path / "i.zarr" / "labels" / "masks")["multiscales"]
    assert found["axes"] == axes
    assert [one[one["type"]] for one in found["datasets"][0]["coordinateTransformations"]] == [[250, 250], [1000, 2000]]
    assert read_image(tmp_path / "i.zarr" / "labels" / "masks").pixel_size == PixelSize(None, 0.25, 0.25)


@pytest.mark.parametrize("version", VERSIONS)
def test_added_labels_are_seen_through_consolidated_metadata(tmp_path, version):
    path = save_ome_zarr(tmp_path / "i.zarr", image_of("YX"), version=version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)
    add_labels(path, "masks", labels_of("YX"))
    assert zarr.open_consolidated(path)["labels/masks/0"].shape == (70, 90)


def test_labels_of_that_name_are_replaced_only_when_asked(tmp_path):
    path = save_ome_zarr(tmp_path / "i.zarr", image_of("YX"), {"masks": labels_of("YX", 5)})
    with pytest.raises(ExportError, match="masks"):
        add_labels(path, "masks", labels_of("YX", 9))
    assert read_labels(path / "labels" / "masks").array[0, 0] == 5
    add_labels(path, "masks", labels_of("YX", 9), overwrite=True)
    assert read_labels(path / "labels" / "masks").array[0, 0] == 9
    assert attributes(path / "labels")["ome"]["labels"] == ["masks"]


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_that_fail_leave_the_store_as_it_was(tmp_path, monkeypatch, version):
    path = save_ome_zarr(tmp_path / "i.zarr", image_of("YX"), version=version)
    before = snapshot(path)
    wrong = itertools.count()
    monkeypatch.setattr(zarr_groups, "checksum", lambda chunk: next(wrong))
    with pytest.raises(ExportError, match="did not read back"):
        add_labels(path, "masks", labels_of("YX"))
    assert snapshot(path) == before
    assert not (path / "labels").exists()
