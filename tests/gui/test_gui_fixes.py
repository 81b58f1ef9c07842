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
from napari_unet.jobs.messages import JobDone, JobEvent, Ready
from napari_unet.jobs.requests import FinetuneResult, MergeResult


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
    controller.modelling.open_file(str(tmp_path / "mine.safetensors"))
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
