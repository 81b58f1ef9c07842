"""A recipe over many images as a job of the background process."""

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.events import ImageBegun, ImageDone, finish
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs import messages
from napari_unet.jobs.batching import BatchRequest, BatchResult, ImagePlace
from napari_unet.jobs.image_lists import find_images
from napari_unet.jobs.messages import JobDone, JobEvent
from napari_unet.jobs.recipes import make_recipe, recipe_model
from napari_unet.jobs.work import work_for
from napari_unet.weights.file import read_spec


@pytest.fixture
def request_(tmp_path):
    """Three images below a folder, one of them broken, and a small model with random weights."""
    tiny = nu.new_model("unet", width=4, depth=2).save(tmp_path / "tiny.safetensors")
    for number, name in enumerate(("a", "b/c", "b/ü 2")):
        path = tmp_path / "images" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.random.default_rng(number).integers(0, 200, (24, 28), dtype="uint8"))
    (tmp_path / "images" / "b" / "c.tif").write_bytes(b"nothing")
    recipe = make_recipe(recipe_model(tiny), read_spec(tiny), InferenceConfig(device="cpu"))
    images = find_images([tmp_path / "images" / "**" / "*.tif"])
    return BatchRequest(recipe=recipe, images=tuple(map(ImagePlace.of, images)), folder=str(tmp_path / "results of ä"))


def test_it_travels_whole(request_):
    order = messages.Start(1, request_)
    assert messages.decode_order(messages.encode_order(order)) == order
    for message in (
        JobEvent(1, ImageBegun(1, 3, "b/ü")),
        JobEvent(1, ImageDone(1, 3, "b/ü", "/x/ü.tif", "failed", "It is empty.", None, ())),
        JobDone(1, BatchResult(done=1, skipped=2, failed=0)),
    ):
        assert messages.decode(messages.encode(message)) == message


def test_images_are_done_skipped_and_told(request_, tmp_path):
    assert finish(work_for(request_)) == BatchResult(done=2, skipped=0, failed=1)
    assert (tmp_path / "results of ä" / "b" / "ü 2_masks.tif").is_file()
    told = list(work_for(request_))
    assert [event.status for event in told if isinstance(event, ImageDone)] == ["skipped", "failed", "skipped"]


def test_another_model_of_that_name_is_refused(request_, tmp_path):
    nu.new_model("unet", width=4, depth=3).save(tmp_path / "tiny.safetensors")
    with pytest.raises(ModelError, match="is not the one that the recipe was made with"):
        finish(work_for(request_))
