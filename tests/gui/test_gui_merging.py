"""Merges that are exact, small in memory and undone in one step; marks that vouch only for what they were made for."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.gui import layers
from napari_unet.gui.merging import replace_undoably


def ours(viewer, role):
    (layer,) = layers.with_role(viewer, role)
    return layer


@pytest.mark.parametrize("shape", [(40, 50), (5, 40, 50), (2, 3, 40, 50)])
def test_a_replacement_is_undone_and_done_again_in_one_step(shape):
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 9, shape).astype(np.uint32) for _ in range(2))
    if len(shape) > 2:
        after[1] = before[1]  # a plane that does not change
    layer, events = Labels(before.copy()), []
    layer.events.paint.connect(events.append)
    replace_undoably(layer, after)
    assert np.array_equal(layer.data, after)
    assert len(events) == 1
    layer.undo()
    assert np.array_equal(layer.data, before)
    layer.redo()
    assert np.array_equal(layer.data, after)


def test_nothing_to_replace_leaves_no_step():
    layer = Labels(np.ones((20, 20), np.uint32))
    layer.data_setitem((np.array([3]), np.array([3])), 5)
    replace_undoably(layer, np.array(layer.data))
    layer.undo()
    assert layer.data[3, 3] == 1


def test_old_marks_do_not_vouch_for_a_new_correction_layer(viewer, controller, idle, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    controller.correcting.mark("everything")
    assert ours(viewer, "reviewed").data.all()
    viewer.layers.remove(ours(viewer, "correction"))
    controller.correcting.start()
    assert not ours(viewer, "reviewed").data.any()


def test_a_deleted_reviewed_layer_comes_back_empty(viewer, controller, idle, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    ours(viewer, "correction").data[0, 0] = 77
    viewer.layers.remove(ours(viewer, "reviewed"))
    controller.correcting.start()
    assert not ours(viewer, "reviewed").data.any()
    assert ours(viewer, "correction").data[0, 0] == 77
    controller.correcting.mark("everything")
    assert ours(viewer, "reviewed").data.all()


def test_a_brush_for_a_new_object_stays_one(viewer, controller, idle, blobs):
    image = viewer.add_image(np.where(np.arange(96)[:, None] < 50, blobs, 0))
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    correction = ours(viewer, "correction")
    assert correction.selected_label == correction.data.max() + 1
    image.data = blobs  # more objects
    controller.segmenting.segment()
    idle()
    assert len(np.unique(correction.data)) > 4
    assert correction.selected_label > correction.data.max()


def test_settings_do_not_touch_an_image_that_is_not_shown(viewer, controller, client, idle, blobs):
    first = viewer.add_image(blobs, name="first")
    second = viewer.add_image(blobs, name="second")
    controller.choosing.choose_image(layers.layer_id(second))
    controller.segmenting.segment()
    idle()
    controller.choosing.choose_image(layers.layer_id(first))
    count = len(client.requests)
    controller.state.change_objects(min_size_px=100)
    controller.segmenting.find_objects()
    idle()
    assert len(client.requests) == count
