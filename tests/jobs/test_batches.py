"""A recipe over many images: the same pixels as elsewhere, whatever happens in between."""

import json
import multiprocessing
import os
import random
import signal
import sys

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.axes import PixelSize
from napari_unet.errors import Cancelled
from napari_unet.events import ImageBegun, ImageDone, finish
from napari_unet.export.outputs import ExportOptions
from napari_unet.export.provenance import read_sidecar
from napari_unet.imaging.reading import read_image
from napari_unet.imaging.samples import open_sample
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.batches import batch_events, open_recipe, run_recipe
from napari_unet.jobs.image_lists import find_images
from napari_unet.jobs.ledger import NAME
from napari_unet.jobs.recipes import make_recipe, read_recipe, recipe_model, write_recipe
from napari_unet.jobs.requests import ImageRef, ModelRef, SegmentRequest
from napari_unet.jobs.scratch import Scratch, open_array
from napari_unet.jobs.work import work_for
from napari_unet.weights.bundled import resolve
from napari_unet.weights.file import read_spec

CPU = InferenceConfig(device="cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small model with random weights."""
    return nu.new_model("unet", width=4, depth=2).save(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def recipe(tiny, images):
    """Masks, outlines and a table by the small model, with thresholds at which it finds something."""
    spec = read_spec(tiny)
    background, interior, _ = nu.predict(nu.load_model(tiny), read_image(images / "cells 0.tif"), device="cpu")
    thresholds = {"threshold": float(np.median(1 - background)), "seed_threshold": float(np.median(interior))}
    objects = spec.objects.model_copy(update={"min_size_px": 1, **thresholds})
    export = ExportOptions(outputs=("masks", "table", "geojson"))
    return make_recipe(recipe_model(tiny), spec, CPU, objects, export=export)


@pytest.fixture
def images(tmp_path):
    """Six small images in a folder."""
    (tmp_path / "images").mkdir()
    for number in range(6):
        values = np.random.default_rng(number).integers(0, 200, (24, 28), dtype="uint8")
        tifffile.imwrite(tmp_path / "images" / f"cells {number}.tif", values)
    return tmp_path / "images"


def statuses(report):
    return [image.status for image in report.images]


def results(folder):
    """What a folder holds, by the names of its files; without the time at which it was made."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".tif":
            found[name] = tifffile.imread(path).tolist()
        elif path.suffix == ".json":
            found[name] = {**json.loads(path.read_text()), "created": ""}
        elif path.is_file() and path.name != NAME:
            found[name] = path.read_bytes()
    return found


def test_all_images_are_segmented_and_written(recipe, images, tmp_path):
    report = run_recipe(recipe, images, tmp_path / "out")
    assert statuses(report) == ["done"] * 6
    first = report.images[0]
    masks = tifffile.imread(tmp_path / "out" / "cells 0_masks.tif")
    assert first.objects == len(np.unique(masks)) - 1 > 1
    names = ["cells 0_masks.tif", "cells 0_objects.csv", "cells 0_objects.geojson"]
    assert first.files == tuple(str(tmp_path / "out" / name) for name in names)
    origin = read_sidecar(tmp_path / "out" / "cells 0_masks.tif")
    assert origin.model.sha256 == recipe.model.sha256
    assert origin.image.name == "cells 0.tif"
    assert origin.objects.threshold == recipe.objects["threshold"]


def test_what_is_done_is_skipped_and_may_have_been_corrected_by_hand(recipe, images, tmp_path):
    run_recipe(recipe, images, tmp_path / "out")
    corrected = tmp_path / "out" / "cells 3_masks.tif"
    corrected.write_bytes(b"painted for hours")
    report = run_recipe(recipe, images, tmp_path / "out")
    assert statuses(report) == ["skipped"] * 6
    assert report.images[0].objects is not None
    assert corrected.read_bytes() == b"painted for hours"


def test_new_images_are_added_to_those_that_are_done(recipe, images, tmp_path):
    run_recipe(recipe, [images / "cells 0.tif", images / "cells 4.tif"], tmp_path / "out")
    report = run_recipe(recipe, images, tmp_path / "out")
    assert statuses(report) == ["skipped", "done", "done", "done", "skipped", "done"]


def test_what_was_made_otherwise_is_not_replaced_unless_told_so(recipe, images, tmp_path):
    one = images / "cells 0.tif"
    run_recipe(recipe, one, tmp_path / "out")
    before = results(tmp_path / "out")
    other = recipe.model_copy(update={"objects": {**recipe.objects, "min_size_px": 9}})
    report = run_recipe(other, one, tmp_path / "out")
    assert "made with other settings" in report.images[0].text
    tifffile.imwrite(one, np.random.default_rng(9).integers(0, 200, (24, 28), dtype="uint8"))
    report = run_recipe(recipe, one, tmp_path / "out")
    assert "another state of the image" in report.images[0].text
    assert results(tmp_path / "out") == before
    assert statuses(run_recipe(other, one, tmp_path / "out", overwrite=True)) == ["done"]
    assert results(tmp_path / "out") != before


def test_files_of_the_user_are_not_replaced(recipe, images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cells 1_objects.csv").write_text("mine")
    report = run_recipe(recipe, images, tmp_path / "out")
    assert statuses(report) == ["done", "failed", "done", "done", "done", "done"]
    assert "cells 1_objects.csv" in report.images[1].text
    assert not (tmp_path / "out" / "cells 1_masks.tif").exists()
    assert (tmp_path / "out" / "cells 1_objects.csv").read_text() == "mine"


def test_a_bad_image_does_not_end_the_batch(recipe, images, tmp_path):
    (images / "cells 2.tif").write_bytes(b"nothing")
    report = run_recipe(recipe, [images, images / "missing.tif"], tmp_path / "out")
    assert statuses(report) == ["done", "done", "failed", "done", "done", "done", "failed"]
    assert "cells 2.tif" in report.images[2].text
    assert "There is no file" in report.images[6].text


def test_an_image_without_objects_is_done_without_outlines(recipe, images, tmp_path):
    empty = recipe.model_copy(update={"objects": {"threshold": 0.99}})
    with pytest.warns(UserWarning, match="nothing to outline"):
        report = run_recipe(empty, images / "cells 0.tif", tmp_path / "out")
    assert (report.images[0].status, report.images[0].objects) == ("done", 0)
    assert not list((tmp_path / "out").glob("*.geojson"))
    assert statuses(run_recipe(empty, images / "cells 0.tif", tmp_path / "out")) == ["skipped"]


def test_outlines_of_a_former_run_go_where_nothing_is_found_any_more(recipe, images, tmp_path):
    run_recipe(recipe, images / "cells 0.tif", tmp_path / "out")
    assert (tmp_path / "out" / "cells 0_objects.geojson").exists()
    empty = recipe.model_copy(update={"objects": {"threshold": 0.99}})
    with pytest.warns(UserWarning, match="nothing to outline"):
        run_recipe(empty, images / "cells 0.tif", tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "cells 0_objects.geojson").exists()


def test_a_failed_output_leaves_none_of_an_image(recipe, images, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise nu.NapariUnetError("The disk is full.")

    monkeypatch.setattr("napari_unet.export.geojson.save_geojson", fail)
    report = run_recipe(recipe, images / "cells 0.tif", tmp_path / "out")
    assert report.images[0].text == "The disk is full."
    assert results(tmp_path / "out") == {}


def test_results_never_replace_an_image(recipe, images):
    (images / "cells 0.tif").rename(images / "cells 1_masks.tif")
    sources = [images / "cells 1.tif", images / "cells 1_masks.tif"]
    with pytest.raises(nu.NapariUnetError, match="which is one of the inputs"):
        run_recipe(recipe, sources, images, overwrite=True)


def test_the_events_say_which_image_has_its_turn(recipe, images, tmp_path):
    opened, model = open_recipe(recipe)
    seen = list(batch_events(opened, model, find_images([images]), tmp_path / "out"))
    turns = [event for event in seen if isinstance(event, ImageBegun | ImageDone)]
    assert [(type(event), event.number) for event in turns[:4]] == [
        (ImageBegun, 1),
        (ImageDone, 1),
        (ImageBegun, 2),
        (ImageDone, 2),
    ]
    assert {event.total for event in turns} == {6}


def test_a_cancelled_batch_keeps_what_is_done_and_goes_on_later(recipe, images, tmp_path):
    opened, model = open_recipe(recipe)
    work = batch_events(opened, model, find_images([images]), tmp_path / "out")
    while not isinstance(event := next(work), ImageBegun) or event.number < 3:
        pass
    next(work)
    with pytest.raises(Cancelled):
        work.throw(Cancelled())
    assert len(list((tmp_path / "out").glob("*_masks.tif"))) == 2
    assert statuses(run_recipe(recipe, images, tmp_path / "out")) == ["skipped"] * 2 + ["done"] * 4


# --- the model of a recipe ----------------------------------------------------------------------


def test_another_model_is_refused_unless_any_will_do(recipe, images, tmp_path):
    other = nu.new_model("unet", width=4, depth=1).save(tmp_path / "other.safetensors")
    swapped = recipe.model_copy(update={"model": recipe.model.model_copy(update={"source": str(other)})})
    with pytest.raises(nu.NapariUnetError, match="is not the one that the recipe was made with"):
        run_recipe(swapped, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert statuses(run_recipe(swapped, images, tmp_path / "out", any_model=True)) == ["done"] * 6
    assert read_sidecar(tmp_path / "out" / "cells 0_masks.tif").model.sha256 != recipe.model.sha256


def test_a_model_that_normalizes_otherwise_is_refused(recipe, tiny, images, tmp_path):
    model = nu.load_model(tiny)
    normalization = model.spec.normalization.model_copy(update={"method": "z-score"})
    changed = model.with_spec(normalization=normalization).save(tmp_path / "changed.safetensors")
    swapped = recipe.model_copy(update={"model": recipe.model.model_copy(update={"source": str(changed)})})
    with pytest.raises(nu.NapariUnetError, match="normalizes images otherwise"):
        run_recipe(swapped, images, tmp_path / "out")


def test_axes_channels_and_pixel_size_of_a_recipe_are_used(tiny, tmp_path):
    stack = np.random.default_rng(0).integers(0, 200, (2, 3, 20, 24), dtype="uint8")
    np.save(tmp_path / "stack.npy", stack)
    inference = CPU.model_copy(update={"axes": "TCYX", "channels": (2,)})
    recipe = make_recipe(recipe_model(tiny), read_spec(tiny), inference, pixel_size=PixelSize(None, 0.5, 0.5))
    assert statuses(run_recipe(recipe, tmp_path / "stack.npy", tmp_path)) == ["done"]
    written = read_image(tmp_path / "stack_masks.tif")
    assert (written.axes, written.array.shape) == ("TYX", (2, 20, 24))
    assert written.pixel_size.x_um == pytest.approx(0.5)
    expected = nu.segment(nu.load_model(tiny), stack, "TCYX", channels=[2], pixel_size=0.5, device="cpu")
    np.testing.assert_array_equal(written.array, expected)


# --- the same pixels as the panel gives ---------------------------------------------------------


@pytest.mark.parametrize("diameter", [None, 18.0])
def test_a_recipe_gives_the_pixels_of_a_request_of_the_panel(tmp_path, diameter):
    sample = open_sample("fluorescence")
    pixels = np.ascontiguousarray(sample.image[:200, :230])
    tifffile.imwrite(tmp_path / "nuclei.tif", pixels)
    spec = read_spec(resolve("nuclei-small"))
    inference = InferenceConfig(axes="YX", diameter_px=diameter, device="cpu", tile=96)
    objects = spec.objects_at(diameter).model_copy(update={"threshold": 0.6})
    scratch = Scratch(tmp_path)
    shape = (1, 1, *pixels.shape)
    request = SegmentRequest(
        model=ModelRef(source="nuclei-small"),
        image=ImageRef(array=scratch.stage(pixels), axes="YX"),
        inference=inference,
        objects=objects,
        visible=((0, 1), (0, 1), (120, 180), (90, 150)),
        probabilities=scratch.array((3, *shape), "float32"),
        labels=scratch.array(shape, "uint32"),
    )
    finish(work_for(request))
    recorded = make_recipe(recipe_model("nuclei-small"), spec, inference, objects)
    recipe = read_recipe(write_recipe(tmp_path / "nuclei.yaml", recorded))
    assert statuses(run_recipe(recipe, tmp_path / "nuclei.tif", tmp_path / "out")) == ["done"]
    masks = tifffile.imread(tmp_path / "out" / "nuclei_masks.tif")
    assert masks.max() > 5
    np.testing.assert_array_equal(masks, open_array(request.labels)[0, 0])
    scratch.close()


# --- killed at any moment -----------------------------------------------------------------------

_TOUCHING = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree"}


def run_killed(recipe, images, folder, moment):
    """Run a batch in this process until it has touched its folder so many times."""
    touched = 0

    def count(event, arguments):
        nonlocal touched
        if event in _TOUCHING and str(folder) in str(arguments[0]):
            touched += 1
            if touched == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    run_recipe(recipe, images, folder)


@pytest.fixture(scope="module")
def apart():
    """How to start processes in which everything is imported already."""
    context = multiprocessing.get_context("forkserver")
    # What is imported at first use, too; nothing may be computed before processes part.
    export = [f"napari_unet.export.{name}" for name in ("formats", "geojson", "ome_zarr")]
    exact = ["napari_unet.inference.exact.rules", "sympy", "skimage.segmentation", "skimage.measure"]
    context.set_forkserver_preload(["napari_unet.jobs.batches", *export, *exact])
    return context


def kill_and_resume(apart, recipe, images, folder, seed):
    """Kill a batch at random points until it gets to its end; return how often it was killed."""
    choose = random.Random(seed)
    for kills in range(50):
        moment = choose.randint(1, 250)
        process = apart.Process(target=run_killed, args=(recipe, images, folder, moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            return kills
        assert process.exitcode == -signal.SIGKILL
    raise AssertionError("it never got to its end")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_batch_that_is_killed_resumes_to_what_an_uninterrupted_one_gives(apart, recipe, images, tmp_path):
    run_recipe(recipe, images, tmp_path / "whole")
    kills = kill_and_resume(apart, recipe, images, tmp_path / "killed" / "out", seed=1)
    assert kills > 1
    assert results(tmp_path / "killed" / "out") == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("seed", range(2, 12))
def test_a_batch_that_is_killed_anywhere_resumes(apart, recipe, images, tmp_path, seed):
    run_recipe(recipe, images, tmp_path / "whole")
    kill_and_resume(apart, recipe, images, tmp_path / "killed" / "out", seed)
    assert results(tmp_path / "killed" / "out") == results(tmp_path / "whole")
