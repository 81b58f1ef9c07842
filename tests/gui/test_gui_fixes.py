"""What once went wrong between the panel, the viewer and the background process."""

import pytest
from fake_client import FakeClient

from napari_unet.errors import Cancelled
from napari_unet.events import Progress
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
