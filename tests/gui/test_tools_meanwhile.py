"""What the user does while an edit is worked out or objects are counted."""

import threading

import numpy as np
from napari.layers import Labels
from scenes import SCALED

from napari_unet.gui.tools.work import state_of
from napari_unet.objects.editing.changes import Change


def test_a_stroke_that_is_painted_meanwhile_is_not_overwritten(scene):
    s = scene(**SCALED)
    bench, go_on = s.controller.tools.bench(), threading.Event()

    def compute():
        values = s.layer.data[:60].copy()
        assert go_on.wait(10)
        return [Change(((0, 60), (0, 140)), np.where(values == 2, 1, values))]

    bench.edit(bench.pane(), compute, "Done.")
    s.layer._begin_stroke()  # as napari does when the mouse is pressed
    s.layer.paint((5, 130), 9)
    go_on.set()
    s.qtbot.wait(100)
    s.layer.paint((5, 120), 9)
    s.layer._commit_stroke()
    s.finish()
    assert (s.layer.data[5, (120, 130)] == 9).all()
    assert not (s.layer.data == 2).any()
    s.hand.undo()
    assert (s.layer.data[5, (120, 130)] == 9).all()
    assert (s.layer.data == 2).any()


def test_other_edits_are_never_taken_for_the_same():
    layer = Labels(np.zeros((20, 30), np.uint32))
    for _ in range(200):  # lists that are freed are used again at once
        layer.paint((5, 5), 9)
        layer.paint((5, 5), 8)
        before = state_of(layer)
        assert state_of(layer) == before
        layer.undo()
        layer.redo()
        layer.undo()
        layer.paint((15, 5), 9)
        assert state_of(layer) != before


def test_what_was_counted_before_another_edit_is_not_removed(scene):
    s = scene(**SCALED)
    filtering = s.controller.tools.filtering
    s.layer.data_setitem((np.array([0, 0]), np.array([20, 21])), 8)
    filtering.look(5)
    s.qtbot.waitUntil(lambda: s.controller.state.tooling.filter.unwanted == 1)
    work = s.controller.tools._work
    think = work._think

    def think_late():
        work._think = think
        s.layer.data_setitem((np.full(9, 0), np.arange(22, 31)), 8)  # now it is large enough
        think()

    work._think = think_late
    filtering.remove()
    s.finish()
    assert (s.layer.data == 8).sum() == 11
    assert s.said == "No object is unwanted."
