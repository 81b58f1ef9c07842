"""``napari-unet share``, as a user types it."""

import zipfile

import numpy as np
import pytest
import tifffile
import yaml

import napari_unet as nu
from napari_unet.export.package import writing


@pytest.fixture
def learnt(tmp_path):
    """A thin model that counts as trained."""
    return nu.new_model("unet", width=4, depth=2).with_spec(trained=True).save(tmp_path / "learnt.safetensors")


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch):
    """Exporting to ONNX takes long; it has tests of its own."""
    monkeypatch.setattr(writing, "LIBRARIES", ("a_library_that_nobody_has",))


def test_a_package_says_what_was_typed(run, learnt, cells, tmp_path):
    out = tmp_path / "cells.zip"
    words = ["--author", "Ada Author", "--author", "Ben", "--description", "Finds cells.", "--license", "CC0-1.0"]
    code, said, err = run("share", learnt, "--out", out, *words, "--tag", "yeast", "--image", cells)
    assert code == 0, err
    assert "no ONNX file" in said
    with zipfile.ZipFile(out) as archive:
        document = yaml.safe_load(archive.read("rdf.yaml"))
        test = np.load(archive.open("test_input.npy"))
    assert [author["name"] for author in document["authors"]] == ["Ada Author", "Ben"]
    assert (document["description"], document["license"]) == ("Finds cells.", "CC0-1.0")
    assert "yeast" in document["tags"]
    assert np.isin(tifffile.imread(cells)[:5, :5], test).all()
    assert nu.load_model(out).sha256 == nu.load_model(learnt).sha256


@pytest.mark.parametrize(("name", "trust"), [("a.safetensors", {}), ("a.pt", {"trust": True})])
def test_the_format_follows_the_name(run, learnt, tmp_path, name, trust):
    code, said, err = run("share", learnt, "--out", tmp_path / name)
    assert code == 0, err
    assert name in said
    image = np.random.default_rng(0).random((40, 44), dtype=np.float32)
    expected = nu.predict(nu.load_model(learnt), image)
    again = nu.load_model(tmp_path / name, **trust)
    np.testing.assert_allclose(nu.predict(again, image), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.zip"], "at least one author"),
        (["--out", "a.h5"], "cannot be told from its name"),
        (["--out", "a.zip", "--author", "A", "--license", "mine !"], "not allowed for license"),
        (["--out", "a.zip", "--author", "A", "--cite", "my paper"], "expected DOIs"),
        (["--out", "learnt.safetensors", "--overwrite"], "would replace"),
        (["--out", "there.pt"], "already exists; use --overwrite"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, learnt, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    before = learnt.read_bytes()
    (tmp_path / "there.pt").write_text("mine")
    code, _, err = run("share", learnt, *words)
    assert code == 1
    assert sentence in err
    assert learnt.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["learnt.safetensors", "there.pt"]
