"""``napari-unet adapt``, as a user types it."""

import pytest

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
