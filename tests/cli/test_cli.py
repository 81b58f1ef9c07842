"""The command line, as a user types it."""

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.cli import completing, finetuning
from napari_unet.cli.showing import run_shown
from napari_unet.errors import Cancelled
from napari_unet.events import ImageBegun, ImageDone, Notice, Progress, StepDone, TileDone, ValidationDone
from napari_unet.export import outputs
from napari_unet.export.provenance import read_sidecar
from napari_unet.weights.bundled import bundled, own_folder
from napari_unet.weights.file import read_spec


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "napari_unet.cli", *words], capture_output=True, text=True, check=False
    )


def shown_in(folder):
    """Names of the results in a folder, without what they were made with."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".json")


def test_help_imports_nothing_heavy():
    program = """
import sys
from napari_unet.cli import main
sys.argv = ["napari-unet", "--help"]
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "numpy", "scipy", "skimage", "zarr", "napari", "qtpy", "pydantic"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("segment", "run", "finetune", "export", "models", "demo"):
        assert name in done.stdout


def completed(words):
    """What Tab offers after some words, as bash asks for it."""
    asked = {"COMP_WORDS": f"napari-unet {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    environment = os.environ | asked | {"_NAPARI_UNET_COMPLETE": "complete_bash"}
    program = """
import sys
from napari_unet.cli import main
sys.argv = ["napari-unet"]
try:
    main()
finally:
    heavy = {"torch", "numpy", "scipy", "skimage", "zarr", "napari", "qtpy"} & set(sys.modules)
    sys.stderr.write(", ".join(sorted(heavy)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_tab_completes_commands_models_and_formats_without_loading_anything_heavy(own_home):
    (own_home / "models").mkdir(parents=True)
    (own_home / "models" / "nuclei-mine.safetensors").touch()
    assert completed("ru") == ["run"]
    assert completed("segment --model nuclei-") == sorted(
        ["nuclei-mine", *(name for name in bundled() if name.startswith("nuclei-"))]
    )
    assert completed("segment --format masks,ta") == ["masks,table"]


def test_what_is_completed_is_what_can_be_written():
    assert tuple(outputs.OUTPUTS) == completing.OUTPUTS


def test_version(run):
    assert run("--version") == (0, f"napari-unet {nu.__version__}\n", "")


def test_segment_writes_masks_probabilities_and_table(run, tiny, cells, tmp_path):
    options = ["--probabilities", "--table", "--min-size", 1, "--tile", 32, "--device", "cpu"]
    code, out, err = run("segment", cells, "--model", tiny, "--out", tmp_path / "new" / "results", *options)
    assert code == 0, err
    results = tmp_path / "new" / "results"
    assert shown_in(results) == ["cells_masks.tif", "cells_objects.csv", "cells_probabilities.tif"]
    assert read_sidecar(results / "cells_masks.tif").model.source == str(tiny)
    with tifffile.TiffFile(results / "cells_masks.tif") as tiff:
        masks = tiff.asarray()
        assert tiff.is_imagej
        assert tiff.pages[0].tags["XResolution"].value == (2, 1)
    assert masks.shape == (70, 90)
    assert masks.dtype == np.uint16
    probabilities = tifffile.imread(results / "cells_probabilities.tif")
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    with (results / "cells_objects.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == masks.max()
    assert f"{masks.max()} object" in out


def test_segment_goes_on_after_an_image_that_is_damaged(run, tiny, cells, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(cells.read_bytes()[:200])
    other = tmp_path / "other.tif"
    other.write_bytes(cells.read_bytes())
    code, out, err = run("segment", cells, broken, other, "--model", tiny, "--out", tmp_path / "out")
    assert code == 1
    assert shown_in(tmp_path / "out") == ["cells_masks.tif", "other_masks.tif"]
    assert err.count("broken.tif") >= 1
    assert "1 of 3 images failed." in err
    assert out.count(" object") == 2


def test_segment_keeps_axes_and_takes_channel_pixel_size_and_threshold(run, tiny, tmp_path):
    stack = np.random.default_rng(0).integers(0, 200, (2, 3, 40, 50), dtype="uint8")
    np.save(tmp_path / "stack.npy", stack)
    common = ["segment", tmp_path / "stack.npy", "-m", tiny, "--out", tmp_path, "--axes", "tcyx", "--channels", "2"]
    common.append("--overwrite")
    code, _, err = run(*common, "--pixel-size", "0.25", "--min-size", 1)
    assert code == 0, err
    masks = tifffile.imread(tmp_path / "stack_masks.tif")
    assert masks.shape == (2, 40, 50)
    assert masks.any()
    assert run(*common, "--threshold", "0.999")[0] == 0
    assert not tifffile.imread(tmp_path / "stack_masks.tif").any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "nonsense"], 'There is no model "nonsense"'),
        (["--channels", "one"], 'The channels "one" are no whole numbers'),
        (["--pixel-size", "-1"], 'The pixel size "-1" is not one positive number'),
        (["--pixel-size", "1,2"], "nor Z,Y,X"),
        (["--tile", "0"], "0 is not allowed for tile"),
        (["--turns", "twice"], "twice is not allowed for turns"),
        (["--threshold", "1.5"], "1.5 is not allowed for threshold"),
        (["--device", "cuda:99"], 'no device "cuda:99"'),
        (["--channels", "3"], "has 1 channel"),
        (["--axes", "QX"], "contain Q"),
    ],
)
def test_segment_says_what_is_wrong(run, tiny, cells, tmp_path, options, sentence):
    code, out, err = run("segment", cells, "--model", tiny, "--out", tmp_path / "out", *options)
    assert code == 1
    assert sentence in err
    assert out == ""
    assert not list(tmp_path.rglob("*_masks.tif"))


def test_segment_refuses_images_whose_masks_would_replace_each_other(run, tiny, cells, tmp_path):
    again = cells.with_name("cells.ome.tif")
    again.write_bytes(cells.read_bytes())
    code, _, err = run("segment", cells, again, "--model", tiny, "--out", tmp_path)
    assert code == 1
    assert f'Results of "{cells}" and "{again}" would both be called "cells"' in err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that cannot be written")
def test_segment_into_a_read_only_folder_is_a_sentence(run, tiny, cells, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    code, _, err = run("segment", cells, "--model", tiny, "--out", folder)
    assert code == 1
    assert "locked" in err


def test_folder_that_is_a_file_is_a_sentence(run, tiny, cells):
    code, _, err = run("segment", cells, "--model", tiny, "--out", cells)
    assert code == 1
    assert "cannot be made" in err


def repeated(files, *kinds):
    return [word for kind in kinds for path in files[kind] for word in (f"--{kind}", path)]


def test_finetune_writes_the_candidate_and_says_whether_it_is_better(run, tiny, corrected, tmp_path):
    out = tmp_path / "models" / "new.safetensors"
    words = repeated(corrected, "image", "labels", "reviewed")
    code, said, err = run("finetune", "-m", tiny, *words, "--seconds", 3, "--out", out, "--device", "cpu")
    assert code == 0, err
    assert read_spec(out).classes == ("background", "interior", "border")
    assert any(word in said for word in ("Accepted.", "Not accepted:", "Neither accepted nor refused."))
    assert str(out) in said
    assert len(said.splitlines()) == 2


def test_finetune_trains_a_variant_from_scratch_with_new_classes(run, corrected, tmp_path):
    for path in corrected["labels"]:
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype("uint8"))
    out = tmp_path / "new.safetensors"
    words = [*repeated(corrected, "image", "labels"), "--classes", "background, square"]
    code, _, err = run("finetune", "-m", "unet-small", *words, "--seconds", 1, "--out", out, "--device", "cpu")
    assert code == 0, err
    assert read_spec(out).classes == ("background", "square")
    assert read_spec(out).meaning == "semantic"


@pytest.mark.parametrize("forget", [False, True])
def test_finetune_forgets_only_if_it_is_told_to(run, monkeypatch, tmp_path, forget):
    asked = []
    monkeypatch.setattr(finetuning, "finetune_files", lambda _source, _files, config, *_, **__: asked.append(config))
    words = ["--image", "a.tif", "--labels", "b.tif", "--out", tmp_path / "new.safetensors"]
    code, _, err = run("finetune", "-m", "nuclei", *words, *["--forget"] * forget)
    assert code == 0, err
    assert [config.forget for config in asked] == [forget]


def test_finetune_says_what_is_wrong(run, tiny, corrected, tmp_path):
    start = ["finetune", "-m", tiny, "--out", tmp_path / "new.safetensors"]
    code, _, err = run(*start, *repeated(corrected, "image"), "--labels", corrected["labels"][0])
    assert code == 1
    assert "2 images, 1 label images and 0 reviewed regions were given" in err
    nothing = tmp_path / "nothing.tif"
    tifffile.imwrite(nothing, np.zeros((64, 64), "uint8"))
    one = ["--image", corrected["image"][0], "--labels", corrected["labels"][0]]
    code, _, err = run(*start, *one, "--reviewed", nothing)
    assert code == 1
    assert "No pixel is marked as reviewed" in err
    assert not (tmp_path / "new.safetensors").exists()


def test_models_lists_own_models_and_variants(run, tiny):
    own_folder().mkdir(parents=True)
    (own_folder() / "mine.safetensors").write_bytes(tiny.read_bytes())
    (own_folder() / "damaged.safetensors").write_bytes(b"nothing")
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert "mine" in out
    assert "objects in planes, unet" in out
    assert "damaged" in out
    for name, line in nu.variants().items():
        assert name in out
        assert line in out


def test_demo_finds_nuclei_in_a_real_image(run, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "fluorescence_masks.tif").write_bytes(b"of a former demonstration")
    code, out, err = run("demo", "--out", tmp_path / "demo", "--device", "cpu")
    assert code == 0, err
    masks = tifffile.imread(tmp_path / "demo" / "fluorescence_masks.tif")
    assert masks.shape == (520, 696)
    assert len(np.unique(masks)) > 50
    for name in ("fluorescence_masks.tif", "fluorescence_objects.csv", "fluorescence_overlay.png"):
        assert str(tmp_path / "demo" / name) in out
        assert (tmp_path / "demo" / name).stat().st_size > 1000


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_cancels_at_the_next_event():
    closed = []

    def work():
        try:
            for step in range(100):
                if step == 3:
                    os.kill(os.getpid(), signal.SIGINT)
                yield Progress("Working", step, 100)
        finally:
            closed.append(step)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(Cancelled):
            run_shown(work(), "image")
        assert closed == [3]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_every_event_can_be_shown():
    def work():
        yield Progress("Reading", 0, 1)
        yield TileDone(1, 2, (((0, 1), (0, 1), (0, 8), (0, 8)),))
        yield StepDone(1, 0.5, 0.1)
        yield ValidationDone(1, 0.5, 0.5, 0.1)
        yield ImageBegun(1, 2, "[cells]")
        yield ImageDone(1, 2, "[cells]", "[cells].tif", "done", "3 objects", 3)
        yield Notice("Something")
        return "result"

    assert run_shown(work(), "image", budget_s=3) == "result"


def test_segment_estimates_a_diameter_for_each_image(run, tmp_path):
    y, x = np.indices((96, 128))
    inside = np.hypot(y % 20 - 10, x % 20 - 10) < 5
    tifffile.imwrite(tmp_path / "discs.tif", np.where(inside, 180, 20).astype("uint8") + (x % 3).astype("uint8"))
    code, out, err = run("segment", tmp_path / "discs.tif", "-m", "nuclei", "--out", tmp_path, "--diameter", "auto")
    assert code == 0, err
    assert 'in "discs.tif" was estimated as 9.' in err
    assert " objects (" in out


def test_segment_says_where_it_cannot_estimate_a_diameter(run, tiny, cells, tmp_path):
    code, _, err = run("segment", cells, "--model", tiny, "--out", tmp_path / "out", "--diameter", "auto")
    assert code == 0, err
    assert "could not be estimated, and none is used" in err


def test_segment_refuses_a_diameter_that_is_none(run, tiny, cells, tmp_path):
    code, _, err = run("segment", cells, "--model", tiny, "--out", tmp_path / "out", "--diameter", "big")
    assert code == 1
    assert 'The diameter "big" is neither a positive number of pixels nor "auto".' in err
