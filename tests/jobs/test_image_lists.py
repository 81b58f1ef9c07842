"""Which images are meant by files, folders and patterns, and what their results are called."""

from pathlib import Path

import numpy as np
import pytest
import zarr

import napari_unet as nu
from napari_unet.jobs.image_lists import find_images


@pytest.fixture
def folder(tmp_path):
    """Two plates with a well each, an image beside them, and what is no image."""
    for name in (
        "overview.tif",
        "overview_masks.tif",
        "overview_seg.npy",
        ".saving-x.tif",
        "notes.txt",
        "plate 1/well.tif",
        "plate 2/well.TIF",
        "plate 2/deep/[field].png",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def names(*sources, results=None):
    return [image.name for image in find_images(sources, results)]


def test_a_folder_stands_for_the_images_in_it_without_results_and_hidden_files(folder):
    assert names(folder) == ["overview"]
    assert names(folder / "plate 2") == ["well"]


def test_results_mirror_the_folders_below_a_pattern(folder):
    assert names(f"{folder}/**/*.[tT][iI][fF]") == ["overview", "plate 1/well", "plate 2/well"]
    assert names(f"{folder}/plate*/**") == ["plate 1/well", "plate 2/deep/[field]", "plate 2/well"]


def test_single_files_lie_side_by_side_unless_two_have_one_name(folder):
    one, other = folder / "plate 1/well.tif", folder / "plate 2/well.TIF"
    assert names(one, folder / "overview.tif") == ["well", "overview"]
    assert names(one, other) == ["plate 1/well", "plate 2/well"]
    assert names(folder / "plate 1", folder / "plate 2") == ["plate 1/well", "plate 2/well"]


def test_an_image_that_is_meant_twice_is_done_once(folder):
    assert names(folder, folder / "overview.tif", f"{folder}/plate 1/../*.tif") == ["overview"]


def test_a_name_with_brackets_is_a_file_where_there_is_one(folder):
    assert names(folder / "plate 2" / "deep" / "[field].png") == ["[field]"]


def test_what_lies_in_the_folder_of_results_is_no_image(folder):
    results = folder / "plate 1"
    assert names(f"{folder}/**/*.tif", results=results) == ["overview"]
    assert names(f"{folder}/plate 1/*.tif", results=results) == ["well"]


def test_a_zarr_store_is_one_image(folder):
    zarr.open_group(folder / "volume.zarr", mode="w").create_array("0", data=np.zeros((4, 4)))
    assert names(f"{folder}/**") == ["overview", "plate 1/well", "plate 2/deep/[field]", "plate 2/well", "volume"]
    assert names(folder / "volume.zarr") == ["volume"]


def test_a_file_that_is_missing_fails_when_its_turn_comes(folder):
    assert [image.path for image in find_images([folder / "nothing.tif"])] == [folder / "nothing.tif"]


def test_a_path_is_taken_as_it_was_given(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [image.path for image in find_images(["overview.tif", "plate 1/*"])] == [
        Path("overview.tif"),
        Path("plate 1/well.tif"),
    ]


def test_nothing_found_is_a_sentence(folder):
    (folder / "empty").mkdir()
    for source in (folder / "empty", f"{folder}/*.jpg"):
        with pytest.raises(nu.NapariUnetError, match="No image was found in"):
            find_images([source])
    with pytest.raises(nu.NapariUnetError, match="No image was named"):
        find_images([])


def test_two_images_of_one_name_in_one_folder_are_refused(folder):
    (folder / "overview.ome.tif").touch()
    with pytest.raises(nu.NapariUnetError, match=r'Results of .*overview.* would both be called "overview"'):
        find_images([folder])
