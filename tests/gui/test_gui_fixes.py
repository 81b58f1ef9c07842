"""What once went wrong between the panel, the viewer and the background process."""

from pathlib import Path

import numpy as np
import pytest
from fake_client import FakeClient
from napari.layers._layer_actions import _duplicate_layer

from napari_unet.errors import Cancelled
from napari_unet.events import Progress
from napari_unet.gui import layers
from napari_unet.gui.tasks import Remote, TaskRunner
from napari_unet.jobs import work
from napari_unet.jobs.messages import JobDone, JobEvent, Ready
from napari_unet.jobs.requests import (
    FinetuneRequest,
    FinetuneResult,
    ImageRef,
    MergeResult,
    ModelRef,
    PairRef,
)
from napari_unet.jobs.scratch import Scratch


class Queue(FakeClient):
    """A client whose messages the test puts in."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def submit(self, request):
        self.requests.append(request)
        return len(self.requests)

    def poll(self):
        messages, self.waiting = self.waiting, []
        return messages


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def runner(qtbot, queue):
    ended, ready = [], []
    made = TaskRunner(queue, ready.append, ended.append)
    made.ended, made.ready = ended, ready
    yield made
    made.close()


MERGED = MergeResult(kept=1, new=0)
TUNED = FinetuneResult(
    accepted=None, old_score=None, new_score=None, held_out_px=0, steps=1, seconds=1.0, candidate="", sentence=""
)


@pytest.mark.parametrize(("result", "taken"), [(MERGED, False), (TUNED, True)])
def test_only_a_fine_tuning_answers_a_cancel_with_a_result(runner, queue, result, taken):
    seen = []

    def task():
        seen.append((yield Remote(None, lambda event: None)))

    runner.run(task())
    runner.cancel()
    queue.waiting = [JobDone(1, result)]
    runner._poll()
    assert not runner.busy
    assert seen == ([result] if taken else [])
    assert isinstance(runner.ended[0], type(None) if taken else Cancelled)


def test_a_mistake_with_one_event_ends_the_task_and_loses_no_other_message(runner, queue):
    cleaned = []

    def fail(event):
        raise ZeroDivisionError

    def task():
        try:
            yield Remote(None, fail)
        finally:
            cleaned.append(True)

    runner.run(task())
    event = JobEvent(1, Progress("Reading", 0, 1))
    queue.waiting = [event, event, JobDone(1, MERGED), Ready(())]
    with pytest.raises(ZeroDivisionError):
        runner._poll()
    assert not runner.busy
    assert cleaned == [True]
    assert queue.cancelled == {1}
    assert [type(error) for error in runner.ended] == [ZeroDivisionError]
    assert len(runner.ready) == 1


def test_after_a_mistake_the_next_task_runs(runner, queue):
    def fail(event):
        raise ZeroDivisionError

    def task(on_event, seen):
        seen.append((yield Remote(None, on_event)))

    runner.run(task(fail, []))
    queue.waiting = [JobEvent(1, Progress("Reading", 0, 1))]
    with pytest.raises(ZeroDivisionError):
        runner._poll()
    seen = []
    runner.run(task(lambda event: None, seen))
    queue.waiting = [JobDone(1, MERGED), JobDone(2, TUNED)]
    runner._poll()
    assert seen == [TUNED]


@pytest.fixture
def reviewed(viewer, controller, qtbot, blobs):
    """An image whose correction is reviewed everywhere."""
    viewer.add_image(blobs)
    controller.correcting.start()
    correction, _ = controller._desk.correction()
    correction.data_setitem(tuple(np.nonzero(blobs > 0)), 7)
    controller.correcting.mark("everything")
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in controller.state.counts))
    return correction


@pytest.fixture
def proposed(controller, idle, reviewed):
    controller.finetuning.start()
    idle()
    return controller.state.proposal


def test_a_fine_tuning_that_fails_leaves_the_last_proposal(controller, client, idle, proposed):
    client.fail = "There is no memory left."
    controller.finetuning.start()
    idle()
    assert controller.state.message.text == client.fail
    assert controller.state.proposal is proposed
    assert Path(proposed.result.candidate).exists()


def test_a_new_proposal_takes_the_place_of_the_last(controller, idle, proposed):
    controller.finetuning.start()
    idle()
    assert controller.state.proposal is not proposed
    assert not Path(proposed.result.candidate).exists()
    assert Path(controller.state.proposal.result.candidate).exists()


def test_a_file_opened_by_hand_stays_in_the_list(controller, client, idle, proposed, tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(client.candidate)
    controller.opening.open_file(str(tmp_path / "mine.safetensors"))
    controller.finetuning.use(segment_again=False)
    idle()
    titles = [choice.title for choice in controller.state.models]
    assert titles.count("mine.safetensors") == 1
    assert len(titles) == len(set(titles))
    (tmp_path / "mine.safetensors").unlink()
    controller.modelling.list_models()
    assert "mine.safetensors" not in [choice.title for choice in controller.state.models]


def test_other_axes_ask_for_the_channels_again(viewer, controller):
    viewer.add_image(np.zeros((8, 64, 64), np.uint8))
    assert controller.state.channels == (0,)
    controller.choosing.set_axes("cyx")
    assert controller.state.channels is None
    assert "Choose which channels" in controller.state.obstacle
    controller.choosing.set_axes("zyx")
    assert controller.state.channels == (0,)
    assert not controller.state.obstacle


def test_another_image_asks_for_its_channels(viewer, controller):
    viewer.add_image(np.zeros((8, 64, 64), np.uint8))
    viewer.add_image(np.zeros((3, 64, 64), np.uint8))
    controller.choosing.choose_image(controller.state.images[1].id)
    assert controller.state.axes == "CYX"
    assert controller.state.channels is None


def test_a_duplicated_correction_is_no_second_correction(viewer, controller, reviewed):
    raw = viewer.__wrapped__
    raw.layers.selection = {next(one for one in raw.layers if one.name == reviewed.name)}
    _duplicate_layer(raw.layers)
    (copy,) = [one for one in raw.layers if one.name == f"{reviewed.name} copy"]
    assert layers.role_of(copy) is None
    assert len(list(layers.with_role(raw, "correction"))) == 1
    assert layers.role_of(reviewed) == "correction"


@pytest.fixture
def two(viewer, controller, blobs):
    """Ids of two images of two channels each: the second channel is empty in the one, the first in the other."""
    empty = np.zeros_like(blobs)
    made = [viewer.add_image(np.stack(pair)) for pair in ((blobs, empty), (empty, blobs))]
    return [layers.layer_id(one) for one in made]


def test_axes_and_channels_come_back_with_their_image(controller, two):
    a, b = two
    state, choosing = controller.state, controller.choosing
    choosing.choose_image(a)
    state.channels = (1,)
    choosing.choose_image(b)
    assert state.channels is None
    choosing.set_axes("zyx")
    assert state.channels == (0,)
    choosing.choose_image(a)
    assert (state.axes, state.channels) == ("CYX", (1,))
    choosing.choose_image(b)
    assert (state.axes, state.channels) == ("ZYX", (0,))


def test_channels_of_a_model_with_other_inputs_do_not_come_back(controller, two):
    a, b = two
    controller.choosing.choose_image(a)
    controller.state.channels = (1,)
    controller.choosing.choose_image(b)
    new = next(choice for choice in controller.state.models if not choice.trained)
    controller.modelling.choose(new)
    assert controller.state.model.spec.network.in_channels == 2
    controller.choosing.choose_image(a)
    assert controller.state.channels == (0, 1)


def test_each_pair_is_trained_with_the_channels_of_its_image(controller, client, idle, qtbot, two):
    for image, channels in zip(two, ((0,), (1,)), strict=True):
        controller.choosing.choose_image(image)
        controller.state.channels = channels
        controller.correcting.start()
        controller.correcting.mark("everything")
    qtbot.waitUntil(lambda: [bool(count.reviewed_px) for count in controller.state.counts] == [True, True])
    controller.finetuning.start()
    idle()
    assert [pair.channels for pair in client.requests[-1].pairs] == [(0,), (1,)]


def test_a_correction_keeps_the_axes_that_it_was_made_with(viewer, controller, client, idle, qtbot, two, blobs):
    controller.choosing.set_axes("zyx")
    controller.correcting.start()
    controller.correcting.mark("everything")
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in controller.state.counts))
    controller.choosing.choose_image(two[0])
    controller.finetuning.start()
    idle()
    (pair,) = client.requests[-1].pairs
    assert pair.image.axes == "ZYX"
    assert pair.labels.shape == (1, 2, *blobs.shape)


def test_the_job_reads_the_channels_of_each_pair(tmp_path, monkeypatch):
    given = []

    def look(model, pairs, config, channels, **_):
        given.append((pairs, channels))
        raise Cancelled
        yield

    monkeypatch.setattr(work, "finetune_events", look)
    monkeypatch.setattr(work._models, "get", lambda ref: None)
    scratch = Scratch()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 8, 9), np.uint8)
    blank = scratch.stage(np.zeros((1, 1, 8, 9), np.uint8))
    image = ImageRef(array=scratch.stage(pixels), axes="CYX")
    pairs = tuple(PairRef(image=image, labels=blank, reviewed=blank, channels=c) for c in ((2,), (2, 0), None))
    job = work.work_for(FinetuneRequest(model=ModelRef(), pairs=pairs, channels=(1,), candidate=""))
    with pytest.raises(Cancelled):
        list(job)
    ((opened, channels),) = given
    assert channels is None
    whole = (slice(0, 1), slice(0, 8), slice(0, 9))
    read = [pair.image.read(0, *whole)[:, 0] for pair in opened]
    assert all(np.array_equal(got, pixels[c]) for got, c in zip(read, ([2], [2, 0], [1]), strict=True))
    assert np.array_equal(opened[1].image.read(0, *whole, channels=[1])[0, 0], pixels[0])
    scratch.close()
