"""Driving a generator of events."""

import pytest

from napari_unet.errors import Cancelled
from napari_unet.events import Progress
from napari_unet.jobs.running import drive


class Work:
    """Counts to three, and notes that it was closed."""

    def __init__(self):
        self.closed = False

    def __call__(self):
        try:
            for done in range(3):
                yield Progress("Counting", done, 3)
            return "counted"
        finally:
            self.closed = True


def test_returns_the_result_after_all_events():
    seen = []
    work = Work()
    assert drive(work(), seen.append, lambda: False) == "counted"
    assert [event.done for event in seen] == [0, 1, 2]
    assert work.closed


def test_cancel_is_raised_after_the_event_at_which_it_was_asked_for():
    seen = []
    work = Work()
    with pytest.raises(Cancelled):
        drive(work(), seen.append, lambda: len(seen) == 2)
    assert [event.done for event in seen] == [0, 1]
    assert work.closed


def test_cancelled_before_the_first_event_does_nothing():
    seen = []
    with pytest.raises(Cancelled):
        drive(Work()(), seen.append, lambda: True)
    assert seen == []


def test_work_may_answer_a_cancel_with_more_events_and_a_result():
    def fit():
        try:
            yield Progress("Fitting", 0, 9)
        except Cancelled:
            yield Progress("Judging", 0, 2)
            yield Progress("Judging", 1, 2)
        return "the best so far"

    seen = []
    assert drive(fit(), seen.append, lambda: bool(seen)) == "the best so far"
    assert [event.stage for event in seen] == ["Fitting", "Judging", "Judging"]


def test_work_that_is_dropped_is_closed_without_being_asked():
    work = Work()
    seen = []
    with pytest.raises(Cancelled):
        drive(work(), seen.append, lambda: False, should_drop=lambda: len(seen) == 1)
    assert len(seen) == 1
    assert work.closed


def test_error_of_the_listener_closes_the_work():
    work = Work()

    def listen(event):
        raise ValueError("nobody listens")

    with pytest.raises(ValueError, match="nobody listens"):
        drive(work(), listen, lambda: False)
    assert work.closed
