"""``napari-unet adapt``, as a user types it."""

import numpy as np
import pytest
import tifffile

import napari_unet as nu


@pytest.fixture
def learnt(tmp_path):
    """A thin model that counts as trained."""
    return nu.new_model("unet", width=4, depth=2).with_spec(trained=True).save(tmp_path / "learnt.safetensors")


def test_a_model_is_adapted_to_images_and_written(run, learnt, cells, tmp_path):
    out = tmp_path / "adapted.safetensors"
    code, said, err = run("adapt", cells, "--model", learnt, "--out", out, "--device", "cpu")
    assert code == 0, err
    assert "adapted to 1 image without labels" in said
    adapted, base = nu.load_model(out), nu.load_model(learnt)
    assert adapted.spec.provenance.parent_sha256 == base.sha256 != adapted.sha256
    assert "cells" in adapted.spec.provenance.notes


def test_neither_the_model_nor_an_image_is_replaced(run, learnt, cells, tmp_path):
    before = learnt.read_bytes()
    for out in (learnt, tmp_path / "model.tif"):
        code, _, err = run("adapt", cells, "--model", learnt, "--out", out, "--overwrite")
        assert code == 1
        assert "inputs" in err or "does not end in" in err
    assert learnt.read_bytes() == before


def test_a_model_that_has_not_learnt_anything_is_a_sentence(run, tiny, cells, tmp_path):
    code, _, err = run("adapt", cells, "--model", tiny, "--out", tmp_path / "adapted.safetensors")
    assert code == 1
    assert "has not learnt anything yet" in err
    assert not (tmp_path / "adapted.safetensors").exists()


def test_the_diameter_is_estimated_for_each_image(run, tmp_path):
    y, x = np.indices((96, 128))
    inside = np.hypot(y % 20 - 10, x % 20 - 10) < 5
    for name in ("one.tif", "two.tif"):
        tifffile.imwrite(tmp_path / name, np.where(inside, 180, 20).astype("uint8") + (x % 3).astype("uint8"))
    words = [tmp_path / "one.tif", tmp_path / "two.tif", "-m", "nuclei", "--device", "cpu"]
    code, _, err = run("adapt", *words, "--diameter", "auto", "--out", tmp_path / "adapted.safetensors")
    assert code == 0, err
    told = " ".join(err.split())
    assert 'in "one.tif" was estimated as 9.' in told
    assert 'in "two.tif" was estimated as 9.' in told
    assert (tmp_path / "adapted.safetensors").exists()


def test_a_diameter_that_is_none_is_a_sentence(run, learnt, cells, tmp_path):
    code, _, err = run("adapt", cells, "-m", learnt, "--diameter", "big", "--out", tmp_path / "adapted.safetensors")
    assert code == 1
    assert 'The diameter "big" is neither a positive number of pixels nor "auto".' in err
