"""All files of one image, written together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import napari_unet as nu
from napari_unet.axes import PixelSize
from napari_unet.errors import Cancelled
from napari_unet.events import Notice, Progress, finish
from napari_unet.export import formats
from napari_unet.export.outputs import (
    ENDINGS,
    OUTPUTS,
    ExportOptions,
    Result,
    file_names,
    write_outputs_events,
)
from napari_unet.export.provenance import ModelOrigin, provenance_now, read_sidecar
from napari_unet.imaging.image import open_image
from napari_unet.imaging.reading import read_image, read_labels

OBJECTS = tuple(output for output in OUTPUTS if output != "classes")


@pytest.fixture
def result():
    """Two objects in a stack of two time points, with axes in an order of their own."""
    labels = np.zeros((2, 1, 20, 30), "uint32")
    labels[:, 0, 3:9, 4:12] = 1
    labels[1, 0, 12:18, 20:29] = 2
    pixels = np.random.default_rng(0).integers(0, 200, (20, 30, 2), dtype="uint8")
    maps = np.random.default_rng(1).random((3, *labels.shape), dtype=np.float32)
    size = PixelSize(None, 0.5, 0.5)
    return Result(
        labels=labels,
        axes="YXT",
        pixel_size=size,
        name="cells.tif",
        image=open_image(pixels, "YXT", size, "cells.tif"),
        probabilities=maps,
        channels=("background", "interior", "border"),
        provenance=provenance_now(model=ModelOrigin(name="nuclei", sha256="abc")),
    )


def write(folder: Path, result: Result, *outputs: str, **options: object):
    return finish(write_outputs_events(folder, "cells", result, ExportOptions(outputs=outputs, **options)))


def test_every_kind_is_written_and_the_files_are_called_as_foretold(result, tmp_path):
    pytest.importorskip("pyarrow")
    options = ExportOptions(outputs=OBJECTS)
    written = finish(write_outputs_events(tmp_path, "cells", result, options))
    assert written == tuple(tmp_path / file for file in file_names("cells", options).values())
    sidecars = {f"cells{ENDINGS[kind]}.json" for kind in ("masks", "binary", "probabilities", "zarr")}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written} | sidecars


def test_masks_and_maps_have_the_axes_and_the_pixel_size_of_the_image(result, tmp_path):
    write(tmp_path, result, "masks", "probabilities", probability_type="uint8")
    masks, maps = (read_image(tmp_path / f"cells_{name}.tif") for name in ("masks", "probabilities"))
    assert (masks.axes, maps.axes) == ("TYX", "TCYX")
    np.testing.assert_array_equal(masks.array, result.labels[:, 0])
    expected = np.rint(255 * result.probabilities[:, :, 0].swapaxes(0, 1))
    np.testing.assert_array_equal(maps.array, expected)
    assert maps.array.dtype == np.uint8
    assert masks.pixel_size.x_um == maps.pixel_size.x_um == pytest.approx(0.5)


def test_labels_that_are_sliced_lazily_give_the_same_files(result, tmp_path):
    store = zarr.create_array(tmp_path / "labels.zarr", data=result.labels, chunks=(1, 1, 10, 10))
    lazy = Result(labels=store, axes="YXT", pixel_size=result.pixel_size, name="cells.tif")
    (tmp_path / "lazy").mkdir()
    write(tmp_path, result, "masks", "zarr", sidecar=False)
    write(tmp_path / "lazy", lazy, "masks", "zarr", sidecar=False)
    assert (tmp_path / "lazy" / "cells_masks.tif").read_bytes() == (tmp_path / "cells_masks.tif").read_bytes()
    found = read_labels(tmp_path / "lazy" / "cells_masks.ome.zarr")
    np.testing.assert_array_equal(np.asarray(found.array[...]).reshape(result.labels.shape), result.labels)


def test_classes_have_a_channel_each(result, tmp_path):
    semantic = Result(result.labels, "YXT", name="cells.tif", meaning="semantic", classes=("cell", "debris"))
    write(tmp_path, semantic, "classes", sidecar=False)
    masks = tifffile.imread(tmp_path / "cells_classes.tif")
    np.testing.assert_array_equal(masks, np.stack([result.labels[:, 0] == n for n in (1, 2)], axis=1) * 255)


def test_the_sidecar_says_what_the_numbers_mean(result, tmp_path):
    write(tmp_path, result, "masks", "binary", "table")
    assert read_sidecar(tmp_path / "cells_masks.tif").model.sha256 == "abc"
    assert "255 is foreground" in read_sidecar(tmp_path / "cells_binary.tif").values
    assert read_sidecar(tmp_path / "cells_objects.csv") is None


@pytest.mark.parametrize(
    ("output", "missing", "sentence"),
    [
        ("probabilities", {"probabilities": None}, "Segment the image again"),
        ("overlay", {"image": None}, "needs the image"),
        ("classes", {}, "needs labels that are classes"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(result, tmp_path, output, missing, sentence):

    changed = replace(result, **missing)
    assert sentence in changed.obstacle(output)
    with pytest.raises(nu.NapariUnetError, match=sentence):
        write(tmp_path, changed, "masks", output)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_all_files_as_they_were(result, tmp_path, monkeypatch):
    write(tmp_path, result, "masks", "geojson")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*arguments, **options):
        raise nu.NapariUnetError("The disk is full.")

    monkeypatch.setattr("napari_unet.export.geojson.save_geojson", fail)
    empty = Result(np.ones_like(result.labels), "YXT", name="cells.tif")
    with pytest.raises(nu.NapariUnetError, match="disk is full"):
        write(tmp_path, empty, "masks", "geojson")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_cancelling_leaves_nothing(result, tmp_path):
    work = write_outputs_events(tmp_path, "cells", result, ExportOptions(outputs=OBJECTS[:4]))
    for event in work:
        if isinstance(event, Progress) and event.stage == "Putting the results in place":
            break
    with pytest.raises(Cancelled):
        work.throw(Cancelled())
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_cleared_away(result, tmp_path):
    (tmp_path / ".saving-cells").mkdir()
    (tmp_path / ".saving-cells" / "cells_masks.tif").write_bytes(b"half")
    write(tmp_path, result, "table")
    assert [path.name for path in tmp_path.iterdir()] == ["cells_objects.csv"]


def test_a_store_of_ours_is_replaced_and_no_other(result, tmp_path):
    write(tmp_path, result, "zarr", sidecar=False)
    write(tmp_path, result, "zarr", zarr_version="0.4", sidecar=False)
    assert zarr.open_group(tmp_path / "cells_masks.ome.zarr", mode="r").metadata.zarr_format == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cells_masks.ome.zarr").mkdir()
    (tmp_path / "other" / "cells_masks.ome.zarr" / "mine.txt").touch()
    with pytest.raises(nu.NapariUnetError, match="another program wrote"):
        write(tmp_path / "other", result, "zarr")
    assert [path.name for path in (tmp_path / "other" / "cells_masks.ome.zarr").iterdir()] == ["mine.txt"]


def test_outlines_of_nothing_are_left_out_and_said(result, tmp_path):
    empty = Result(np.zeros_like(result.labels), "YXT", name="cells.tif")
    events = list(write_outputs_events(tmp_path, "cells", empty, ExportOptions(outputs=("masks", "rois", "geojson"))))
    assert any(isinstance(event, Notice) and "nothing to outline" in event.text for event in events)
    assert [path.name for path in tmp_path.iterdir()] == ["cells_masks.tif"]


def test_numbers_that_a_reader_makes_floats_of_are_told(result, tmp_path):
    large = Result(result.labels * 70_000, "YXT", name="cells.tif")
    events = list(write_outputs_events(tmp_path, "cells", large))
    assert any(isinstance(event, Notice) and "ImageJ" in event.text for event in events)


def test_options_keep_each_output_once_in_the_order_of_writing():
    assert ExportOptions(outputs=("table", "masks", "table")).outputs == ("masks", "table")
    with pytest.raises(ValueError, match="at least 1"):
        ExportOptions(outputs=())


def test_an_overlay_of_three_channels_is_in_colour(result, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("napari_unet.export.overlay.save_overlay", lambda _path, plane, *rest: drawn.append(plane))
    colours = open_image(np.zeros((20, 30, 3), "uint8"), "YXC")
    formats._write_overlay(tmp_path / "a.png", Result(result.labels[:1], "YX", image=colours))
    assert drawn[0].shape == (20, 30, 3)
