"""Correction layers and the reviewed region."""

import gc

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.gui import layers
from napari_unet.gui.correcting import Counter
from napari_unet.gui.desk import Desk
from napari_unet.gui.state import ViewerState
from napari_unet.jobs.scratch import Scratch


@pytest.fixture
def correcting(viewer, controller, blobs):
    """A started correction of a scaled and shifted image."""
    image = viewer.add_image(blobs, scale=(0.5, 0.5), translate=(10, 20), units=("um", "um"))
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    return image, correction, reviewed


def test_correcting_starts_from_the_prediction(viewer, controller, idle, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    prediction = next(layers.with_role(viewer, "prediction"))
    assert np.array_equal(correction.data, prediction.data)
    assert not np.shares_memory(correction.data, prediction.data)
    assert not prediction.visible
    assert not reviewed.data.any()
    assert viewer.layers.selection.active == correction
    assert correction.mode == "paint"
    assert correction.selected_label == correction.data.max() + 1


def test_correcting_can_start_empty(correcting):
    image, correction, reviewed = correcting
    assert correction.data.dtype == np.uint32
    assert not correction.data.any()
    for layer in (correction, reviewed):
        assert np.array_equal(layer.scale, image.scale)
        assert np.array_equal(layer.translate, image.translate)
        assert layer.units == image.units


def test_starting_twice_keeps_the_correction(viewer, controller, correcting):
    _, correction, _ = correcting
    correction.paint((10, 10), 5)
    controller.correcting.start()
    assert len(list(layers.with_role(viewer, "correction"))) == 1
    assert correction.data.max() == 5
    assert "already" in controller.state.message.text


def test_marking_the_visible_region(controller, correcting):
    _, correction, reviewed = correcting
    correction.corner_pixels = np.array([[5, 7], [24, 46]])
    controller.correcting.mark("visible")
    expected = np.zeros(reviewed.data.shape, bool)
    expected[5:25, 7:47] = True
    assert np.array_equal(reviewed.data > 0, expected)
    reviewed.undo()
    assert not reviewed.data.any()
    reviewed.redo()
    assert np.array_equal(reviewed.data > 0, expected)


def test_the_visible_region_is_what_the_canvas_shows(make_napari_viewer_proxy, qtbot, client, blobs):
    from napari_unet.gui.controller import Controller

    viewer = make_napari_viewer_proxy(show=True)
    controller = Controller(viewer.__wrapped__, client)
    big = viewer.add_image(np.tile(blobs, (10, 10)), scale=(0.5, 0.5), translate=(100, 200))
    controller.correcting.start()
    viewer.scene.camera.center = big.data_to_world((300, 400))
    viewer.scene.camera.zoom = 8
    qtbot.wait(200)
    controller.correcting.mark("visible")
    _, reviewed = controller._desk.correction()
    rows, columns = np.nonzero(reviewed.data)
    height, width = np.array(viewer.canvas.size) / 8 / 0.5
    assert (rows.min() + rows.max()) / 2 == pytest.approx(300, abs=3)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(400, abs=3)
    assert np.ptp(rows) == pytest.approx(height, abs=4)
    assert np.ptp(columns) == pytest.approx(width, abs=4)
    controller.close()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
def test_marking_one_slice_of_a_stack(viewer, controller, blobs, order):
    viewer.add_image(np.stack([blobs] * 6))
    viewer.dims.order = order
    controller.correcting.start()
    viewer.dims.set_current_step(order[0], 3)
    controller.correcting.mark("plane")
    _, reviewed = controller._desk.correction()
    expected = np.zeros(reviewed.data.shape, bool)
    expected[(slice(None),) * order[0] + (3,)] = True
    assert np.array_equal(reviewed.data > 0, expected)
    controller.correcting.mark("everything")
    assert reviewed.data.all()
    reviewed.undo()
    assert np.array_equal(reviewed.data > 0, expected)


def test_clearing_is_undoable_too(controller, correcting):
    _, _, reviewed = correcting
    controller.correcting.mark("everything")
    controller.correcting.clear()
    assert not reviewed.data.any()
    reviewed.undo()
    assert reviewed.data.all()


def test_preserving_labels_does_not_hinder_marking(controller, correcting):
    _, _, reviewed = correcting
    reviewed.preserve_labels = True
    controller.correcting.mark("everything")
    controller.correcting.clear()
    assert not reviewed.data.any()
    assert reviewed.preserve_labels


def test_reviewed_pixels_and_objects_are_counted(controller, correcting, qtbot):
    _, correction, reviewed = correcting
    controller.vouching.set_margin(0)
    correction.data_setitem((np.array([10, 10, 50]), np.array([10, 11, 50])), np.array([3, 3, 9]))
    reviewed.data_setitem(tuple(np.nonzero(np.ones((48, 128)))), 1)
    qtbot.waitUntil(lambda: bool(controller.state.counts) and controller.state.counts[0].reviewed_px > 0)
    (count,) = controller.state.counts
    assert (count.reviewed_px, count.total_px, count.objects) == (48 * 128, 96 * 128, 1)


def test_counts_go_with_their_layer(viewer, controller, correcting, qtbot):
    _, correction, _ = correcting
    qtbot.waitUntil(lambda: len(controller.state.counts) == 1)
    viewer.layers.remove(correction)
    qtbot.waitUntil(lambda: len(controller.state.counts) == 0)


def test_marking_without_a_correction_layer_is_one_sentence(viewer, controller, blobs):
    viewer.add_image(blobs)
    controller.correcting.mark("everything")
    assert "no correction layer" in controller.state.message.text


def closed_desk(client, image, folder):
    """A desk whose viewer has lost its layers and then its life, as when napari closes; and who counts there."""
    viewer = ViewerModel()
    desk = Desk(viewer, ViewerState(), client, Scratch(folder))
    counter = Counter(desk)
    viewer.add_image(image)
    viewer.layers.clear()  # what is removed is counted again, in a moment
    return desk, counter


def test_a_viewer_that_is_gone_is_not_counted_in(client, blobs, qtbot, tmp_path):
    desk, counter = closed_desk(client, blobs, tmp_path)
    gc.collect()
    assert not desk.open
    with qtbot.captureExceptions() as raised:
        qtbot.waitUntil(lambda: not counter._timer.isActive())
    assert not raised
    desk.close()
