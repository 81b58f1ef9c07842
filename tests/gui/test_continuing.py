"""What an interrupted segmentation leaves, and how it goes on."""

import os

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.gui import layers
from napari_unet.gui.continuing import joined, share_of
from napari_unet.gui.panels import Workbench
from napari_unet.weights.spec import untrained_spec


@pytest.fixture
def step(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made.steps["Segment"]


@pytest.fixture
def interrupt(controller, client, idle, qtbot):
    """Segment, and cancel when two of three tiles are there."""

    def run():
        client.hold_after = 2
        controller.segmenting.segment()
        qtbot.waitUntil(lambda: client.hold)
        controller.cancel()
        idle()
        client.hold = False

    return run


def last_segmentation(client):
    return [request for request in client.requests if request.kind == "segment"][-1]


def test_what_was_written_before_a_cancel_stays_visible(viewer, controller, interrupt, blobs):
    viewer.add_image(blobs)
    interrupt()
    (layer,) = layers.with_role(viewer, "probability")
    assert layer.visible
    assert np.array_equal(layer.data[:64] > 0.5, blobs[:64] > 100)
    assert not layer.data[64:].any()
    assert controller.state.message.text.startswith("Cancelled. 66 % of the probabilities are there")
    assert not list(layers.with_role(viewer, "prediction"))


def test_continue_computes_only_what_is_missing(viewer, step, client, interrupt, idle, qtbot, blobs):
    viewer.add_image(blobs)
    assert step.segment.text() == "Segment"
    assert step.start_over.isHidden()
    interrupt()
    assert step.segment.text() == "Continue"
    assert "66 %" in step.segment.toolTip()
    assert not step.start_over.isHidden()
    qtbot.mouseClick(step.segment, Qt.MouseButton.LeftButton)
    idle()
    assert last_segmentation(client).done == (((0, 1), (0, 1), (0, 64), (0, 128)),)
    assert client.tiles == 3
    (prediction,) = layers.with_role(viewer, "prediction")
    assert len(np.unique(prediction.data)) == 6
    assert step.segment.text() == "Segment"
    assert step.start_over.isHidden()


def test_start_over_computes_everything_again(viewer, step, client, interrupt, idle, qtbot, blobs):
    viewer.add_image(blobs)
    interrupt()
    qtbot.mouseClick(step.start_over, Qt.MouseButton.LeftButton)
    idle()
    assert last_segmentation(client).done == ()
    assert client.tiles == 5
    assert len(list(step.controller._desk.scratch.folder.glob("*.raw"))) == 1


def test_a_crash_is_gone_on_from_too(viewer, step, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    client.hold_after = 1
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: client.hold)
    client.fail, client.hold = "The background process crashed.", False
    idle()
    assert controller.state.message.level == "error"
    assert controller.state.message.text.startswith("The background process crashed. 33 % of")
    client.fail = ""
    qtbot.mouseClick(step.segment, Qt.MouseButton.LeftButton)
    idle()
    assert client.tiles == 3
    assert len(list(layers.with_role(viewer, "prediction"))) == 1


def test_interrupted_twice(viewer, controller, client, interrupt, idle, qtbot, blobs):
    viewer.add_image(np.tile(blobs, (2, 1)))
    interrupt()
    client.hold_after = 4
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: client.hold)
    controller.cancel()
    idle()
    client.hold = False
    assert controller.state.interrupted.share == pytest.approx(4 / 6)
    controller.segmenting.segment()
    idle()
    assert client.tiles == 6


def test_other_settings_start_anew_and_the_same_ones_go_on(viewer, step, controller, client, interrupt, idle, blobs):
    viewer.add_image(blobs)
    interrupt()
    controller.state.diameter_px = 12.0
    assert step.segment.text() == "Segment"
    controller.state.diameter_px = None
    assert step.segment.text() == "Continue"
    controller.state.change_objects(min_size_px=100)  # objects are found when everything is there
    assert step.segment.text() == "Continue"
    controller.state.diameter_px = 12.0
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).done == ()
    controller.state.diameter_px = None
    assert controller.state.interrupted is None


def test_another_image_starts_anew(viewer, step, controller, client, interrupt, idle, blobs):
    layer = viewer.add_image(blobs, name="first")
    second = viewer.add_image(blobs // 2, name="second")
    interrupt()
    controller.choosing.choose_image(layers.layer_id(second))
    assert step.segment.text() == "Segment"
    controller.choosing.choose_image(layers.layer_id(layer))
    assert step.segment.text() == "Continue"
    viewer.layers.remove(layer)
    assert controller.state.interrupted is None
    assert not list(controller._desk.scratch.folder.glob("*.raw"))


def test_new_pixels_start_anew(viewer, step, controller, client, interrupt, idle, blobs):
    layer = viewer.add_image(blobs)
    interrupt()
    layer.data[:] = np.roll(blobs, 3)  # in place: nobody is told
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).done == ()
    (prediction,) = layers.with_role(viewer, "prediction")
    assert np.array_equal(prediction.data > 0, layer.data > 100)
    interrupt()
    layer.data = np.roll(blobs, 5)
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).done == ()


def test_a_model_file_that_was_written_again_starts_anew(viewer, controller, client, idle, interrupt, blobs, tmp_path):
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"0")
    choice = controller.state.model.model_copy(update={"title": "own", "source": str(path)})
    controller.state.model = choice
    viewer.add_image(blobs)
    interrupt()
    assert controller.state.interrupted is not None
    path.write_bytes(b"00")
    os.utime(path, (1, 1))
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).done == ()


def test_a_preview_of_a_part_keeps_what_is_unfinished(viewer, step, controller, client, interrupt, idle, blobs):
    viewer.add_image(blobs)
    interrupt()
    controller.segmenting.preview()
    idle()
    assert last_segmentation(client).done == ()
    assert step.segment.text() == "Continue"


def test_a_model_without_weights_has_nothing_to_go_on_with(viewer, step, controller, interrupt, blobs, trained):
    viewer.add_image(blobs)
    interrupt()
    controller.state.model = trained.model_copy(
        update={"source": None, "variant": "unet-small", "spec": untrained_spec("unet-small")}
    )
    assert step.segment.text() == "Segment"
    assert not step.segment.isEnabled()


def test_what_is_seen_is_asked_for_first(viewer, controller, client, idle, blobs):
    stack = np.stack([np.tile(blobs, (4, 4))] * 5)
    image = viewer.add_image(stack)
    viewer.dims.set_current_step(0, 3)
    image.corner_pixels = np.array([[3, 100, 130], [3, 199, 229]])
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).visible == ((0, 1), (3, 4), (100, 200), (130, 230))
    assert last_segmentation(client).region is None
    viewer.dims.ndisplay = 3
    controller.segmenting.segment()
    idle()
    assert last_segmentation(client).visible == ((0, 1), (0, 5), (0, 384), (0, 512))


def test_neighbouring_windows_become_one():
    def rows(z, low, high):
        return ((0, 1), (z, z + 1), (low, high), (0, 9))

    strips = [rows(z, low, low + 8) for z in range(2) for low in (0, 8)]
    done = ()
    for strip in strips:
        done = joined(done, (strip,))
    assert done == (((0, 1), (0, 2), (0, 16), (0, 9)),)
    outwards = joined((rows(0, 8, 16),), (rows(0, 0, 8), rows(1, 0, 8), rows(0, 16, 24)))
    assert share_of(outwards, (1, 2, 24, 9)) == pytest.approx(4 / 6)
