"""Adapting a model in the background process."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import Cancelled, ModelError
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.messages import JobDone, Start, decode, decode_order, encode, encode_order
from napari_unet.jobs.requests import AdaptRequest, ImageRef, ModelRef
from napari_unet.jobs.running import drive
from napari_unet.jobs.scratch import Scratch
from napari_unet.jobs.work import work_for


@pytest.fixture
def scratch():
    made = Scratch()
    yield made
    made.close()


@pytest.fixture
def request_for(scratch, tmp_path):
    """Ask for an adaptation of a thin model to a small image, of which a corner is on the screen."""

    def make(**options):
        model = nu.new_model("unet", width=4, depth=2, **options).with_spec(trained=True)
        pixels = np.random.default_rng(0).integers(0, 255, (64, 80), dtype=np.uint8)
        image = ImageRef(array=scratch.stage(pixels), axes="YX", name="noise")
        labels, before = (scratch.array((1, 1, 32, 40), np.uint32) for _ in range(2))
        watch = WatchRef(image=image, region=((0, 1), (0, 1), (0, 32), (0, 40)), labels=labels, before=before)
        return AdaptRequest(
            model=ModelRef(source=str(model.save(tmp_path / "thin.safetensors"))),
            image=image,
            candidate=str(tmp_path / "candidate.safetensors"),
            watch=watch,
        )

    return make


def test_the_candidate_is_saved_and_both_models_are_shown(request_for):
    asked = decode_order(encode_order(Start(1, request_for()))).request
    answer = decode(encode(JobDone(1, drive(work_for(asked), lambda _event: None, lambda: False))))
    assert answer.result.accepted is None
    assert answer.result.learnt_from == "image"
    assert answer.result.seen is not None
    candidate = nu.load_model(answer.result.candidate)
    assert candidate.spec.provenance.parent_sha256 == nu.load_model(asked.model.source).sha256


def test_a_cancel_leaves_no_candidate(request_for, tmp_path):
    with pytest.raises(Cancelled):
        drive(work_for(request_for()), lambda _event: None, lambda: True)
    assert not (tmp_path / "candidate.safetensors").exists()


def test_a_model_without_statistics_is_refused(request_for):
    with pytest.raises(ModelError, match="no batch normalization"):
        drive(work_for(request_for(norm="instance")), lambda _event: None, lambda: False)
