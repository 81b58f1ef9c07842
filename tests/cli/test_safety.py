"""The command line never destroys a file or loses a model, and says what the user should know."""

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unet.cli import finetuning
from napari_unet.cli.showing import run_shown
from napari_unet.events import Notice
from napari_unet.training.optimization import Trainer
from napari_unet.weights.bundled import own_folder
from napari_unet.weights.file import read_spec


@pytest.fixture
def mine(tiny, tmp_path):
    """The user's good model."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(tiny.read_bytes())
    return path


@pytest.fixture
def pair(corrected):
    return ["--image", corrected["image"][0], "--labels", corrected["labels"][0]]


@pytest.fixture
def no_training(monkeypatch):
    def fail(*arguments):
        raise AssertionError("the training began")

    monkeypatch.setattr(finetuning, "finetune_events", fail)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- finetune: what --out may be ----------------------------------------------------------------


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["mine.safetensors", "sub/../mine.safetensors", "link.safetensors"])
def test_finetune_never_replaces_the_model_started_from(run, mine, pair, tmp_path, name, options):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.safetensors").symlink_to(mine)
    before = content(tmp_path)
    code, out, err = run("finetune", "-m", mine, *pair, "--out", tmp_path / name, *options)
    assert (code, out) == (1, "")
    assert "would replace" in err
    assert str(mine) in err
    assert content(tmp_path) == before


@pytest.mark.usefixtures("no_training")
def test_finetune_never_replaces_an_own_model_that_is_given_by_name(run, mine, pair):
    own_folder().mkdir(parents=True)
    mine.rename(own_folder() / "mine.safetensors")
    code, _, err = run("finetune", "-m", "mine", *pair, "--out", own_folder() / "mine.safetensors", "--overwrite")
    assert code == 1
    assert "would replace" in err


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("kind", ["image", "labels", "reviewed"])
def test_finetune_never_replaces_an_input(run, tiny, corrected, tmp_path, kind):
    files = {name: paths[0] for name, paths in corrected.items()}
    files[kind] = files[kind].rename(tmp_path / "input.safetensors")
    before = content(tmp_path)
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    code, _, err = run("finetune", "-m", tiny, *words, "--out", tmp_path / "input.safetensors", "--overwrite")
    assert code == 1
    assert "is one of the inputs" in err
    assert content(tmp_path) == before


@pytest.mark.usefixtures("no_training")
def test_finetune_refuses_what_cannot_become_a_model_file(run, tiny, mine, pair, tmp_path):
    folder, file = tmp_path / "folder.safetensors", tmp_path / "file"
    folder.mkdir()
    file.touch()
    for out, sentence in (
        (tmp_path / "new.pt", "does not end in .safetensors"),
        (mine, "already exists; use --overwrite to replace it"),
        (folder, "is a folder"),
        (file / "new.safetensors", "cannot be written"),
        (file / "sub" / "new.safetensors", "cannot be written"),
        (tmp_path / f"{'x' * 300}.safetensors", "cannot be written"),
    ):
        before = content(tmp_path)
        code, _, err = run("finetune", "-m", tiny, *pair, "--out", out)
        assert (code, err.count("\n")) == (1, 1), err
        assert sentence in err
        assert content(tmp_path) == before


@pytest.mark.usefixtures("no_training")
def test_finetune_into_a_folder_that_takes_no_files_is_refused_at_once(run, tiny, pair, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    code, _, err = run("finetune", "-m", tiny, *pair, "--out", tmp_path / "locked" / "new.safetensors")
    assert code == 1
    assert f'No file can be written to the folder "{tmp_path / "locked"}" (Permission denied)' in err


def test_finetune_replaces_another_model_when_told_to(run, tiny, pair, tmp_path):
    out = tmp_path / "old.safetensors"
    out.write_bytes(b"old")
    options = ["--seconds", 1, "--device", "cpu", "--overwrite"]
    code, _, err = run("finetune", "-m", tiny, *pair, "--out", out, *options)
    assert code == 0, err
    assert read_spec(out).name.endswith("fine-tuned")


# --- finetune: after the training ---------------------------------------------------------------


@pytest.fixture
def failing_disk(monkeypatch, tmp_path):
    """Nothing can be put in place beneath `tmp_path`."""
    replace = os.replace

    def refuse(source, target):
        if Path(target).is_relative_to(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.usefixtures("failing_disk")
def test_a_trained_model_is_kept_where_its_file_cannot_be_written(run, tiny, pair, tmp_path):
    own_folder().mkdir(parents=True)
    (own_folder() / "new-rescued-1.safetensors").write_bytes(b"of another day")
    options = ["--seconds", 1, "--device", "cpu"]
    code, out, err = run("finetune", "-m", tiny, *pair, "--out", tmp_path / "new.safetensors", *options)
    assert code == 1
    assert len(out.splitlines()) == 1  # how good it is
    kept = own_folder() / "new-rescued-2.safetensors"
    assert "full" in err
    assert f'it was saved as "{kept}"' in err
    assert read_spec(kept).name.endswith("fine-tuned")
    assert (own_folder() / "new-rescued-1.safetensors").read_bytes() == b"of another day"
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_file_that_appears_during_the_training_is_not_replaced(run, tiny, pair, tmp_path, monkeypatch):
    out, step = tmp_path / "new.safetensors", Trainer.step

    def step_while_others_write(*arguments, **options):
        out.write_bytes(b"of somebody else")
        return step(*arguments, **options)

    monkeypatch.setattr(Trainer, "step", step_while_others_write)
    code, _, err = run("finetune", "-m", tiny, *pair, "--out", out, "--seconds", 1, "--device", "cpu")
    assert code == 1
    assert out.read_bytes() == b"of somebody else"
    assert "already exists" in err
    assert read_spec(own_folder() / "new-rescued-1.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_cancelled_fit_gives_one_reason(run, tiny, corrected, tmp_path, monkeypatch):
    words = []
    for number in range(5):  # of five images, one is held out
        image = tmp_path / f"copy{number}.tif"
        pixels = tifffile.imread(corrected["image"][0])
        tifffile.imwrite(image, pixels + pixels.dtype.type(number))  # the same pixels would be the same image
        words += ["--image", image, "--labels", corrected["labels"][0]]
    step = Trainer.step

    def step_and_cancel(*arguments, **options):
        loss = step(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    monkeypatch.setattr(Trainer, "step", step_and_cancel)
    out = tmp_path / "new.safetensors"
    code, said, err = run("finetune", "-m", tiny, *words, "--out", out, "--seconds", 60, "--device", "cpu")
    assert code == 0, err
    reason, verdict = said.splitlines()
    assert "was cancelled before" in reason
    assert verdict == f"Neither accepted nor refused. The candidate was written to {out}."


# --- segment and export -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("folder", [".", "sub/.."])
def test_segment_never_replaces_an_image(run, tiny, cells, tmp_path, folder, options):
    (tmp_path / "sub").mkdir()
    other = tmp_path / "cells_masks.tif"
    other.write_bytes(cells.read_bytes())
    before = content(tmp_path)
    code, out, err = run("segment", cells, other, "-m", tiny, "--out", tmp_path / folder, *options)
    assert (code, out) == (1, "")
    assert f'Writing "{tmp_path / folder / "cells_masks.tif"}" would replace "{other}"' in err
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "options"),
    [("masks.tif", []), ("probabilities.tif", ["--probabilities"]), ("objects.csv", ["--table"])],
)
def test_segment_replaces_results_only_when_told_to(run, tiny, cells, tmp_path, name, options):
    other = tmp_path / "other.tif"
    other.write_bytes(cells.read_bytes())
    results = tmp_path / "results"
    results.mkdir()
    existing = results / f"cells_{name}"
    existing.write_bytes(b"corrected by hand")
    words = ["segment", cells, other, "-m", tiny, "--out", results, "--device", "cpu", *options]
    code, out, err = run(*words)
    assert code == 1
    assert f'{cells}: "{existing}" already exists; use --overwrite to replace it.' in err
    assert "1 of 2 images failed." in err
    assert existing.read_bytes() == b"corrected by hand"
    assert not list(results.glob("cells_*"))[1:]
    assert str(other) in out
    code, _, err = run(*words, "--overwrite")
    assert code == 0, err
    assert existing.read_bytes() != b"corrected by hand"


def test_export_never_replaces_its_input_nor_other_files_unasked(run, tmp_path):
    source, existing, folder = tmp_path / "labels.tif", tmp_path / "existing.tif", tmp_path / "folder.tif"
    folder.mkdir()
    tifffile.imwrite(source, np.ones((20, 30), "uint16"))
    existing.write_bytes(b"existing")
    new = tmp_path / "new.tif"
    before = content(tmp_path)
    for words, sentence in (
        (["--out", source], "would replace"),
        (["--out", source, "--overwrite"], "would replace"),
        (["--out", new, "--table", source, "--overwrite"], "would replace"),
        (["--out", new, "--table", new], "Two files would be written"),
        (["--out", existing], "already exists; use --overwrite to replace it"),
        (["--out", new, "--table", existing], "already exists"),
        (["--out", folder, "--overwrite"], "is a folder"),
    ):
        code, out, err = run("export", source, *words)
        assert (code, out) == (1, "")
        assert sentence in err
        assert content(tmp_path) == before
    code, _, err = run("export", source, "--out", existing, "--overwrite")
    assert code == 0, err
    assert tifffile.imread(existing).all()


# --- what the user should know ------------------------------------------------------------------


@pytest.fixture
def odd_images(tmp_path):
    """An image with pixels that are no numbers and a constant one, under a name that looks like markup."""
    with_nan = np.random.default_rng(0).normal(100, 20, (64, 64)).astype("float32")
    with_nan[3, :5] = np.nan
    paths = tmp_path / "with [bold]nan.npy", tmp_path / "constant [red].npy"
    for path, array in zip(paths, (with_nan, np.full((64, 64), 7, "float32")), strict=True):
        np.save(path, array)
    return paths


def test_segment_tells_about_odd_pixels(run, tiny, odd_images, tmp_path):
    code, out, err = run("segment", *odd_images, "-m", tiny, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 0, err
    with_nan, constant = err.splitlines()
    assert with_nan.startswith('"with [bold]nan.npy" contains 5 pixels that are no finite number')
    assert constant.startswith('"constant [red].npy" is constant')
    assert "finite" not in out


def test_finetune_tells_about_odd_pixels(run, tiny, odd_images, corrected, tmp_path):
    words = [
        word
        for image, labels in zip(odd_images, corrected["labels"], strict=True)
        for word in ("--image", image, "--labels", labels)
    ]
    options = ["--seconds", 1, "--device", "cpu"]
    code, _, err = run("finetune", "-m", tiny, *words, "--out", tmp_path / "new.safetensors", *options)
    assert code == 0, err
    assert 'nan.npy" contains 5 pixels that are no finite number' in err
    assert '[red].npy" is constant' in err


def test_a_notice_is_shown_as_it_is_written(capsys):
    text = f'"a [/b] :smile: {"x" * 200}" is constant, so there is nothing to tell apart in it.'

    def work():
        yield Notice(text)

    run_shown(work(), "title")
    assert capsys.readouterr().err == f"{text}\n"
