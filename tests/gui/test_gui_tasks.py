"""One task at a time, in the order in which it reads."""

import pytest
from fake_client import FakeClient

from napari_unet.errors import Cancelled, ExportError
from napari_unet.gui.tasks import Aside, TaskRunner


@pytest.fixture
def runner(qtbot):
    ended, ready = [], []
    made = TaskRunner(FakeClient(), ready.append, ended.append)
    made.ended, made.ready = ended, ready
    yield made
    made.close()


def test_results_of_steps_come_back_in_order(runner, qtbot):
    seen = []

    def task():
        seen.append((yield Aside(lambda: 1)))
        seen.append((yield Aside(lambda: 2)))

    runner.run(task())
    qtbot.waitUntil(lambda: not runner.busy)
    assert seen == [1, 2]
    assert runner.ended == [None]


def test_an_error_in_a_thread_is_thrown_into_the_task(runner, qtbot):
    def fail():
        raise ExportError("The disk is full.")

    def task():
        yield Aside(fail)

    runner.run(task())
    qtbot.waitUntil(lambda: not runner.busy)
    assert str(runner.ended[0]) == "The disk is full."


def test_a_mistake_of_ours_is_not_hidden(runner, qtbot):
    def task():
        yield Aside(lambda: 1 / 0)

    with qtbot.captureExceptions() as exceptions:
        runner.run(task())
        qtbot.waitUntil(lambda: not runner.busy)
    assert exceptions[0][0] is ZeroDivisionError
    assert isinstance(runner.ended[0], ZeroDivisionError)


def test_cancelling_runs_what_the_task_cleans_up(runner, qtbot):
    import threading

    go, cleaned = threading.Event(), []

    def task():
        try:
            yield Aside(go.wait)
            cleaned.append("went on")
        finally:
            cleaned.append("cleaned")

    runner.run(task())
    runner.cancel()
    go.set()
    qtbot.waitUntil(lambda: not runner.busy)
    assert cleaned == ["cleaned"]
    assert isinstance(runner.ended[0], Cancelled)


def test_the_timer_rests_when_there_is_nothing_to_do(runner, qtbot):
    runner.start_process()
    qtbot.waitUntil(lambda: bool(runner.ready))
    qtbot.waitUntil(lambda: not runner._timer.isActive())
