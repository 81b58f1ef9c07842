"""Feeding: a function that pulls gets every value, and ends when those who feed it do."""

import threading

import pytest

from napari_unet.errors import Cancelled
from napari_unet.export.feeding import feed


def test_every_value_arrives_in_order():
    found = []
    assert len(list(feed(found.extend, range(1000)))) == 1000
    assert found == list(range(1000))


def test_it_pauses_after_each_value():
    made = []

    def values():
        for number in range(5):
            made.append(number)
            yield number

    work = feed(list, values())
    next(work)
    assert made == [0]
    work.close()


def test_error_of_the_function_is_raised_where_it_is_fed():
    def consume(values):
        next(values)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        list(feed(consume, range(1000)))


def test_error_of_the_values_ends_the_function():
    ended = threading.Event()

    def consume(values):
        try:
            list(values)
        finally:
            ended.set()

    def values():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(feed(consume, values()))
    assert ended.is_set()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_ending_early_ends_the_function(how):
    ended, found = threading.Event(), []

    def consume(values):
        try:
            found.extend(values)
        finally:
            ended.set()

    work = feed(consume, range(1000))
    next(work)
    if how == "close":
        work.close()
    else:
        with pytest.raises(Cancelled):
            work.throw(Cancelled())
    assert ended.is_set()
    assert len(found) < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("napari-unet-writer")]


def test_function_that_has_enough_is_not_waited_for():
    list(feed(next, range(100)))
