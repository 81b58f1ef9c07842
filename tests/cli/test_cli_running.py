"""``napari-unet run``, and what it shares with ``segment``."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from napari_unet.jobs.recipes import read_recipe


@pytest.fixture
def folder(tmp_path):
    """Three images in two folders."""
    for number, name in enumerate(("a.tif", "b.tif", "sub/a.tif")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.random.default_rng(number).integers(0, 200, (40, 50), dtype="uint8"))
    return tmp_path / "images"


@pytest.fixture
def recipe(run, tiny, folder, tmp_path):
    """What `segment` has written."""
    path = tmp_path / "mine.yaml"
    options = ["--min-size", 1, "--table", "--device", "cpu", "--save-recipe", path]
    code, _, err = run("segment", folder, "-m", tiny, "--out", tmp_path / "first", *options)
    assert code == 0, err
    return path


def test_run_does_what_segment_did(run, recipe, folder, tmp_path):
    code, out, err = run("run", recipe, folder / "a.tif", "--out", tmp_path / "second")
    assert code == 0, err
    assert "a_masks.tif" in out
    for name in ("a_masks.tif", "a_objects.csv"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_run_skips_what_segment_did_with_the_same_settings(run, recipe, folder, tmp_path):
    code, out, err = run("run", recipe, f"{folder}/**/*.tif", "--out", tmp_path / "first")
    assert code == 0, err
    assert "2 of 3 images had been done before" in out
    assert (tmp_path / "first" / "sub" / "a_masks.tif").exists()
    code, out, _ = run("run", recipe, folder, "--out", tmp_path / "first", "--overwrite")
    assert code == 0
    assert "before" not in out


def test_run_tells_machines_one_object_a_line(run, recipe, folder, tmp_path):
    (folder / "broken.tif").write_bytes(b"nothing")
    code, out, err = run("run", recipe, folder, "--out", tmp_path / "first", "--json")
    assert code == 1
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    settled = {line["name"]: line for line in lines if line["event"] == "settled"}
    assert {name: line["status"] for name, line in settled.items()} == {
        "a": "skipped",
        "b": "skipped",
        "broken": "failed",
    }
    assert "broken.tif" in settled["broken"]["text"]
    assert settled["a"]["files"] == [str(tmp_path / "first" / f"a_{end}") for end in ("masks.tif", "objects.csv")]
    assert lines[-1] == {"event": "finished", "done": 0, "skipped": 2, "failed": 1}


def test_run_writes_a_page_about_all_images_also_those_done_before(run, recipe, folder, tmp_path):
    (folder / "broken.tif").write_bytes(b"nothing")
    code, out, err = run("run", recipe, folder, "--out", tmp_path / "first", "--summary")
    assert code == 1, err
    page = tmp_path / "first" / "napari-unet-summary.html"
    assert f"Summary: {page}" in out
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert "broken.tif" in text
    assert read_recipe(recipe).model.sha256 in text


def test_a_summary_without_masks_is_refused_before_anything_is_done(run, tiny, folder, tmp_path):
    words = ["-m", tiny, "--out", tmp_path / "out", "-f", "table", "--summary"]
    code, _, err = run("segment", folder, *words)
    assert code == 1
    assert "A summary is made of the masks" in err
    assert not (tmp_path / "out").exists()


def test_run_refuses_another_model_unless_told_otherwise(run, recipe, folder, tiny, tmp_path):
    swapped = tmp_path / "swapped.yaml"
    swapped.write_text(recipe.read_text().replace(read_recipe(recipe).model.sha256, "f" * 64))
    words = ["run", swapped, folder, "--out", tmp_path / "second"]
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert "is not the one that the recipe was made with" in err
    code, _, err = run(*words, "--any-model")
    assert code == 0, err


def test_run_takes_another_device_than_that_of_the_recipe(run, recipe, folder, tmp_path):
    code, _, err = run("run", recipe, folder, "--out", tmp_path / "second", "--device", "cuda:99")
    assert code == 1
    assert 'no device "cuda:99"' in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.yaml", "images"], 'recipe "nothing.yaml" cannot be read'),
        (["images", "images"], "does not end in .yaml"),
        (["mine.yaml", "*.jpg"], 'No image was found in "*.jpg"'),
    ],
)
def test_run_says_what_is_wrong(run, recipe, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("run", *words, "--out", "second")
    assert (code, out) == (1, "")
    assert sentence in err
    assert not (tmp_path / "second").exists()


def test_segment_writes_the_formats_that_are_asked_for(run, tiny, folder, tmp_path):
    words = ["--format", "binary,rois", "-f", "overlay", "--no-sidecar", "--min-size", 1, "--threshold", 0.3]
    code, _, err = run("segment", folder / "a.tif", "-m", tiny, "--out", tmp_path / "out", *words)
    assert code == 0, err
    shown = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert shown == ["a_binary.tif", "a_overlay.png", "a_rois.zip"]
    assert set(np.unique(tifffile.imread(tmp_path / "out" / "a_binary.tif"))) <= {0, 255}


def test_segment_refuses_a_format_that_there_is_not(run, tiny, folder, tmp_path):
    code, _, err = run("segment", folder, "-m", tiny, "--out", tmp_path / "out", "-f", "masks,jpeg")
    assert code == 1
    assert '"jpeg" cannot be written. Choose among masks, binary' in err


@pytest.mark.parametrize("output", ["classes", "parquet"])
def test_what_can_be_written_of_no_image_is_said_at_once(run, tiny, folder, tmp_path, monkeypatch, output):
    monkeypatch.setattr("napari_unet.export.outputs.find_spec", lambda name: None)
    code, out, err = run("segment", folder, "-m", tiny, "--out", tmp_path / "out", "-f", output)
    assert (code, out) == (1, "")
    assert "needs" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_a_batch_cleanly_and_the_same_command_goes_on(run, recipe, folder, tmp_path):
    for number in range(40):
        (folder / f"more {number}.tif").write_bytes((folder / "a.tif").read_bytes())
    words = [sys.executable, "-m", "napari_unet.cli", "run", recipe, folder, "--out", tmp_path / "second"]
    masks = tmp_path / "second"
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(masks.glob("*_masks.tif")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert err == "Give the same command again to go on.\nCancelled.\n"
    done = len(list(masks.glob("*_masks.tif")))
    assert 1 <= done < 42
    assert len(out.splitlines()) == done
    assert not list(masks.glob(".saving-*"))
    code, out, _ = run("run", recipe, folder, "--out", masks)
    assert code == 0
    assert f"{done} of 42 images had been done before" in out
