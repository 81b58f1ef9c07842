"""From a request to its result: in this process, in one without Qt and napari, and in the real worker."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from test_client import collect, ends

from napari_unet.errors import ImageError, ModelError
from napari_unet.events import Progress, TileDone, ViewDone, finish
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.client import JobCancelled, JobClient, JobDone, JobEvent, JobFailed, Ready
from napari_unet.jobs.finetuned import WatchRef
from napari_unet.jobs.requests import (
    FinetuneRequest,
    ImageRef,
    MergeRequest,
    ModelRef,
    ObjectsRequest,
    PairRef,
    SegmentRequest,
)
from napari_unet.jobs.scratch import Scratch, open_array
from napari_unet.objects.config import ObjectOptions
from napari_unet.training.config import FineTuneConfig
from napari_unet.weights.spec import changed_spec, untrained_spec

TINY = untrained_spec("unet", width=8, depth=2)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    from napari_unet.weights.model import model_from_spec

    return model_from_spec(TINY).save(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def trained_file(tmp_path_factory):
    from napari_unet.weights.model import Model, model_from_spec

    model = Model(model_from_spec(TINY).network, changed_spec(TINY, trained=True))
    return model.save(tmp_path_factory.mktemp("trained") / "tiny.safetensors")


@pytest.fixture
def scratch(tmp_path):
    scratch = Scratch(tmp_path)
    yield scratch
    scratch.close()


def discs(side=96):
    """An image of bright discs, and their labels."""
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), "uint32")
    for number, (cy, cx) in enumerate([(20, 20), (20, 60), (60, 25), (64, 70)], start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 81] = number
    noise = np.random.default_rng(0).normal(0, 8, labels.shape)
    return np.where(labels > 0, 180, 60) + noise, labels[None, None]


def image_ref(scratch, array, axes="YX"):
    return ImageRef(array=scratch.stage(array.astype("uint8")), axes=axes, name="discs")


def segment_request(scratch, model_file, side=96, **inference):
    return SegmentRequest(
        model=ModelRef(source=str(model_file)),
        image=image_ref(scratch, discs(side)[0]),
        inference=InferenceConfig(device="cpu", **inference),
        objects=ObjectOptions(min_size_px=1, threshold=0.3, seed_threshold=0.3),
        probabilities=scratch.array((3, 1, 1, side, side), "float32"),
        labels=scratch.array((1, 1, side, side), "uint32"),
    )


def test_segment_writes_probabilities_and_labels(scratch, model_file):
    from napari_unet.jobs.work import work_for

    request = segment_request(scratch, model_file, tile=32)
    events = []
    work = work_for(request)
    result = None
    while result is None:
        try:
            events.append(next(work))
        except StopIteration as end:
            result = end.value
    tiles = [event for event in events if isinstance(event, TileDone)]
    assert [tile.done for tile in tiles] == list(range(1, 10))
    probabilities, labels = open_array(request.probabilities), open_array(request.labels)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert labels.max() == result.objects
    assert len(np.setdiff1d(labels, 0)) == result.objects
    assert (result.exact, result.device) == (True, "CPU")


def test_segment_of_a_region_fills_arrays_of_its_size(scratch, model_file):
    from napari_unet.jobs.work import work_for

    whole = segment_request(scratch, model_file, tile=32)
    finish(work_for(whole))
    part = whole.model_copy(
        update={
            "region": ((0, 1), (0, 1), (10, 50), (20, 90)),
            "probabilities": scratch.array((3, 1, 1, 40, 70), "float32"),
            "labels": scratch.array((1, 1, 40, 70), "uint32"),
        }
    )
    finish(work_for(part))
    inside = open_array(whole.probabilities)[..., 10:50, 20:90]
    np.testing.assert_allclose(open_array(part.probabilities), inside, atol=1e-4)


def test_objects_are_found_again_with_other_settings(scratch):
    from napari_unet.jobs.work import work_for

    truth = discs()[1]
    probabilities = scratch.array((3, *truth.shape), "float32")
    open_array(probabilities, "r+")[:] = np.stack([truth == 0, truth > 0, np.zeros_like(truth)])
    request = ObjectsRequest(
        spec=TINY,
        objects=ObjectOptions(),
        probabilities=probabilities,
        labels=scratch.array(truth.shape, "uint32"),
    )
    assert finish(work_for(request)).objects == 4
    np.testing.assert_array_equal(open_array(request.labels) > 0, truth > 0)
    strict = request.model_copy(update={"objects": ObjectOptions(min_size_px=10_000)})
    assert finish(work_for(strict)).objects == 0
    assert not open_array(request.labels).any()


def test_merge_keeps_what_was_reviewed(scratch):
    from napari_unet.jobs.work import work_for

    truth = discs()[1]
    correction = np.where(truth == 1, 7, 0).astype("uint32")
    reviewed = np.zeros(truth.shape, "uint8")
    reviewed[..., :40, :40] = 1
    request = MergeRequest(
        predicted=scratch.stage(truth),
        correction=scratch.stage(correction),
        reviewed=scratch.stage(reviewed),
        merged=scratch.array(truth.shape, "uint32"),
    )
    result = finish(work_for(request))
    merged = open_array(request.merged)
    assert (result.kept, result.new) == (1, 3)
    assert (merged[truth == 1] == 7).all()
    assert len(np.unique(merged)) == 5


def test_finetune_writes_the_candidate_and_leaves_the_model(scratch, model_file):
    from napari_unet.jobs.work import work_for
    from napari_unet.weights.file import read_spec

    before = model_file.read_bytes()
    request = finetune_request(scratch, ModelRef(source=str(model_file)))
    result = finish(work_for(request))
    assert result.steps >= 1
    assert result.sentence.endswith(".")
    assert read_spec(result.candidate).classes == TINY.classes
    assert model_file.read_bytes() == before


def finetune_request(scratch, model):
    image, labels = discs()
    pair = PairRef(
        image=image_ref(scratch, image),
        labels=scratch.stage(labels),
        reviewed=scratch.stage(np.ones(labels.shape, "uint8")),
    )
    return FinetuneRequest(
        model=model,
        pairs=(pair,),
        config=FineTuneConfig(seconds=2, device="cpu", patch_px=32, batch=1),
        candidate=str(scratch.folder / "candidate.safetensors"),
    )


def watched(scratch, request, **more):
    """The same request, by somebody who looks at a part of the image."""
    size = (1, 1, 40, 32)
    watch = WatchRef(
        image=request.pairs[0].image,
        region=((0, 1), (0, 1), (8, 48), (0, 32)),
        labels=scratch.array(size, "uint32"),
        before=scratch.array(size, "uint32"),
        **more,
    )
    return request.model_copy(update={"watch": watch})


@pytest.mark.parametrize("live", [True, False])
def test_what_somebody_looks_at_is_segmented_while_it_trains_and_with_both_models_at_the_end(
    scratch, trained_file, live
):
    from napari_unet.jobs.work import work_for

    request = watched(scratch, finetune_request(scratch, ModelRef(source=str(trained_file))), live=live)
    work, seen = work_for(request), []
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            result = end.value
            break
        if isinstance(event, ViewDone):
            seen.append(event.step)
    assert bool(seen) is live
    for ref, count in ((request.watch.before, result.seen.before), (request.watch.labels, result.seen.after)):
        assert open_array(ref).max() == count
    assert result.old is None or result.old.low <= result.old.value <= result.old.high


def test_a_view_that_cannot_be_segmented_does_not_cost_the_new_model(scratch, model_file):
    from napari_unet.jobs.work import work_for

    asked = finetune_request(scratch, ModelRef(source=str(model_file)))
    request = watched(scratch, asked, live=False, inference=InferenceConfig(device="cuda:99"))
    result = finish(work_for(request))
    assert result.seen is None
    assert Path(result.candidate).is_file()


def test_an_untrained_model_has_nothing_to_show_before(scratch):
    from napari_unet.jobs.work import work_for

    result = finish(work_for(watched(scratch, finetune_request(scratch, ModelRef(untrained=TINY)), live=False)))
    assert result.seen.before is None
    assert result.seen.after >= 0


def test_a_training_leaves_no_checkpoint_when_it_has_ended(scratch, model_file):
    from napari_unet.jobs.work import work_for

    path = scratch.folder / "checkpoint.safetensors"
    asked = finetune_request(scratch, ModelRef(source=str(model_file)))
    finish(work_for(asked.model_copy(update={"checkpoint": str(path)})))
    assert not path.exists()


def test_untrained_variant_can_be_trained(scratch):
    from napari_unet.jobs.work import work_for

    result = finish(work_for(finetune_request(scratch, ModelRef(untrained=TINY))))
    assert result.steps >= 1


def test_model_cache_reads_a_changed_file_again_and_stays_small(tmp_path):
    from napari_unet.jobs.work import ModelCache
    from napari_unet.weights.model import model_from_spec

    cache = ModelCache(size=2)
    refs = [ModelRef(source=str(tmp_path / f"{name}.safetensors")) for name in "abc"]
    for seed, ref in enumerate(refs):
        model_from_spec(TINY, seed=seed).save(ref.source)
    first, second, _ = [cache.get(ref) for ref in refs]
    assert cache.get(refs[1]) is second
    assert cache.get(refs[0]) is not first
    old = cache.get(refs[0])
    time.sleep(0.02)
    model_from_spec(TINY, seed=9).save(refs[0].source)
    assert cache.get(refs[0]).sha256 != old.sha256


def test_no_model_and_no_file_are_sentences(scratch, model_file):
    from napari_unet.jobs.work import work_for

    request = segment_request(scratch, model_file)
    with pytest.raises(ModelError, match="No model is chosen"):
        finish(work_for(request.model_copy(update={"model": ModelRef()})))
    scratch.release(request.image.array)
    with pytest.raises(ImageError, match="still there"):
        finish(work_for(request))


WITHOUT_QT = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PySide6", "PyQt6"}:
            raise ImportError(f"{name} must not be imported by the compute rooms")

sys.meta_path.insert(0, Refuse())
"""


def test_compute_rooms_need_neither_qt_nor_napari(scratch, model_file):
    segment = segment_request(scratch, model_file)
    objects = ObjectsRequest(
        spec=TINY, objects=ObjectOptions(), probabilities=segment.probabilities, labels=segment.labels
    )
    labels = segment.labels
    reviewed = scratch.array(labels.shape, "uint8")
    merge = MergeRequest(
        predicted=labels, correction=labels, reviewed=reviewed, merged=scratch.array(labels.shape, "uint32")
    )
    requests = [segment, objects, merge, finetune_request(scratch, segment.model)]
    program = """
    from napari_unet.events import finish
    from napari_unet.jobs.messages import decode_order
    from napari_unet.jobs.work import work_for
    for line in sys.stdin:
        print(finish(work_for(decode_order(line).request)).kind)
    """
    from napari_unet.jobs.messages import Start, encode_order

    orders = b"".join(encode_order(Start(number, request)) for number, request in enumerate(requests))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_QT + textwrap.dedent(program)], input=orders, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["segment", "segment", "merge", "finetune"]


@pytest.fixture(scope="module")
def client():
    client = JobClient()
    client.start()
    messages = collect(client, lambda message: isinstance(message, Ready), timeout_s=60)
    assert "cpu" in [device.name for device in messages[0].devices]
    yield client
    client.close()


def test_real_worker_segments(client, scratch, model_file):
    request = segment_request(scratch, model_file, tile=32)
    job = client.submit(request)
    messages = collect(client, ends(job), timeout_s=60)
    assert isinstance(messages[0].event, Progress)
    assert isinstance(messages[-1], JobDone), messages[-1]
    assert open_array(request.labels).max() == messages[-1].result.objects


def test_real_worker_cancels_within_a_tile(client, scratch, model_file):
    job = client.submit(segment_request(scratch, model_file, side=1024, tile=64))
    collect(client, lambda message: isinstance(message, JobEvent) and isinstance(message.event, TileDone))
    begin = time.monotonic()
    client.cancel(job)
    assert collect(client, ends(job))[-1] == JobCancelled(job)
    assert time.monotonic() - begin < 5  # not ended by force


def test_real_worker_answers_a_cancelled_fit_with_a_candidate(client, scratch, model_file):
    request = finetune_request(scratch, ModelRef(source=str(model_file)))
    request = request.model_copy(update={"config": request.config.model_copy(update={"seconds": 600})})
    job = client.submit(request)
    collect(client, lambda message: isinstance(message, JobEvent) and type(message.event).__name__ == "StepDone")
    client.cancel(job)
    message = collect(client, ends(job))[-1]
    assert isinstance(message, JobDone), message
    assert Path(message.result.candidate).stat().st_size > 1000


def test_real_worker_says_what_is_wrong(client, scratch, model_file):
    request = segment_request(scratch, model_file)
    job = client.submit(request.model_copy(update={"model": ModelRef(source="no such model")}))
    message = collect(client, ends(job))[-1]
    assert isinstance(message, JobFailed)
    assert message.sentence.startswith('There is no model "no such model".')
