"""The review queue: fields one after the other, by keys, and what correcting took."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from pointer import Pointer
from qtpy.QtWidgets import QApplication

from napari_unet.gui import layers
from napari_unet.gui.controller import Controller
from napari_unet.gui.efforts import verdict
from napari_unet.gui.panels import CorrectPanel
from napari_unet.gui.review_state import FieldEffort
from napari_unet.gui.segmenting import Kept
from napari_unet.gui.shortcuts import REVIEW_KEYS
from napari_unet.gui.state import Segmented
from napari_unet.gui.widgets.effort_plot import EffortPlot
from napari_unet.gui.widgets.review_queue import ReviewQueue
from napari_unet.weights.spec import untrained_spec

SIDE = 512


@pytest.fixture
def big(viewer, controller):
    """A started correction of an anisotropic, shifted stack of four fields a slice."""
    viewer.add_image(np.zeros((5, SIDE, SIDE), np.uint8), scale=(3, 0.5, 0.5), translate=(7, 10, 20))
    controller.correcting.start()
    return controller._desk.correction()


def keep(controller, doubt, shape=(5, SIDE, SIDE)):
    """Keep probabilities that are doubtful in some places."""
    spec = untrained_spec("unet-small")
    ref = controller._desk.scratch.array((3, 1, *shape), np.float32)
    p = np.memmap(ref.path, np.float32, "r+", shape=ref.shape)
    p[0] = 1
    for z, y, x in doubt:
        p[:, 0, z, y : y + 64, x : x + 64] = 1 / 3
    image = controller._desk.image_layer()
    frame = layers.frame_of(image, controller.state.axes)
    controller.segmenting._keep(Kept(layers.layer_id(image), ref, spec, frame))


def begin(controller, qtbot):
    controller.reviewing.start()
    qtbot.waitUntil(lambda: controller.state.review.at is not None, timeout=20_000)


def shares(controller):
    return [(one.pixels, one.objects) for one in controller.state.review.efforts]


def place(viewer, layer):
    return layers.plane_of(viewer, layer)[0]


def test_the_doubtful_fields_come_first_and_in_view(viewer, controller, big, qtbot):
    correction, _ = big
    keep(controller, [(3, 300, 40)])
    begin(controller, qtbot)
    assert controller.state.review.fields == 20
    frame = controller.reviewing._tour.frame.sketch
    corners = np.array(frame.overlay.lines)[:, 0]
    assert (corners.min(axis=0), corners.max(axis=0)) == (
        pytest.approx([3, 255.5, -0.5]),
        pytest.approx([3, 511.5, 255.5]),
    )
    assert place(viewer, correction) == 3
    assert viewer.scene.camera.center[-2:] == pytest.approx((10 + 383.5 / 2, 20 + 127.5 / 2))
    height, width = np.array(viewer.canvas.size) / viewer.scene.camera.zoom / 0.5
    assert 256 < min(height, width) < 400
    viewer.dims.set_point(0, 7)
    assert not frame.overlay.visible  # the frame belongs to its slice


def test_keys_accept_skip_and_go_back(make_napari_viewer_proxy, client, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    controller = Controller(viewer.__wrapped__, client)
    viewer.add_image(np.zeros((5, SIDE, SIDE), np.uint8), scale=(3, 0.5, 0.5), translate=(7, 10, 20))
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    controller.reviewing.set_order("in turn")
    begin(controller, qtbot)
    hand = Pointer(viewer.__wrapped__, correction)
    back, accept, skip = REVIEW_KEYS
    review = lambda: controller.state.review  # noqa: E731
    hand.press(accept)
    assert reviewed.data[0, :256, :256].all()
    assert reviewed.data.sum() == 256 * 256
    assert (review().reviewed, review().at) == (1, 1)
    hand.press(skip)
    assert (review().reviewed, review().skipped, review().at) == (1, 1, 2)
    viewer.layers.selection.active = viewer.layers[0]  # the keys are the viewer's as well
    hand.press(back)
    assert (review().skipped, review().at) == (0, 1)
    assert viewer.layers.selection.active == correction
    hand.press(accept)
    hand.press(accept)
    hand.press(accept)  # quicker than anything is drawn
    assert (review().reviewed, place(viewer, correction)) == (4, 1)
    assert reviewed.data[0].all()
    viewer.layers.selection.active = reviewed
    hand.undo()
    assert review().reviewed == 3
    assert not reviewed.data[0, 256:, 256:].any()
    controller.close()


def test_fields_that_are_reviewed_are_not_offered_again(controller, big, qtbot):
    _, reviewed = big
    reviewed.data[0] = 1
    reviewed.data[1, :256] = 1
    controller.reviewing.set_order("in turn")
    begin(controller, qtbot)
    assert controller.state.review.reviewed == 6
    assert controller.state.review.at == 6
    controller.reviewing.stop()
    begin(controller, qtbot)
    assert controller.state.review.at == 6


def test_the_end_is_said_and_what_was_skipped_comes_again(viewer, controller, qtbot):
    viewer.add_image(np.zeros((256, 512), np.uint8))
    controller.correcting.start()
    begin(controller, qtbot)
    controller.reviewing.skip()
    controller.reviewing.accept()
    assert not controller.state.review.running
    assert "1 skipped field is left" in controller.state.message.text
    begin(controller, qtbot)
    controller.reviewing.accept()
    assert controller.state.message.text == "Every field is reviewed."


def test_without_probabilities_fields_come_in_turn(controller, big, qtbot):
    begin(controller, qtbot)
    assert controller.state.review.at == 0
    assert "in turn" in controller.state.review.note


def test_a_random_order_is_another_one(controller, big, qtbot):
    controller.reviewing.set_order("random")
    begin(controller, qtbot)
    order = []
    for _ in range(6):
        order.append(controller.state.review.at)
        controller.reviewing.skip()
    assert order != sorted(order)
    assert len(set(order)) == 6


def test_a_field_out_of_sight_is_shown_before_it_is_accepted(viewer, controller, big, qtbot):
    correction, reviewed = big
    begin(controller, qtbot)
    viewer.dims.set_point(0, 7 + 3 * 4)
    controller.reviewing.accept()
    assert not reviewed.data.any()
    assert place(viewer, correction) == 0
    controller.reviewing.accept()
    assert reviewed.data[0, :256, :256].all()


def test_effort_is_measured_against_the_field_as_it_was(controller, big, qtbot):
    correction, _ = big
    correction.data[:, 10:20, 10:20] = 1
    correction.data[:, 30:40, 30:40] = 2
    begin(controller, qtbot)
    correction.data_setitem((np.array([0, 0]), np.array([10, 11]), np.array([10, 10])), 0)
    controller.reviewing.accept()
    assert shares(controller) == [(pytest.approx(2 / 256**2), pytest.approx(1 / 2))]
    controller.reviewing.back()
    correction.data_setitem((np.array([0]), np.array([30]), np.array([30])), 0)
    controller.reviewing.accept()
    assert shares(controller) == [(pytest.approx(3 / 256**2), 1)]
    assert controller.state.review.verdict == ""
    for _ in range(5):
        controller.reviewing.accept()
    assert "hardly pays" in controller.state.review.verdict


def test_a_new_prediction_is_no_effort(viewer, controller, idle, blobs, qtbot):
    viewer.add_image(blobs)
    controller.correcting.start()
    begin(controller, qtbot)
    controller.segmenting.segment()
    idle()
    controller.reviewing.accept()
    assert shares(controller) == [(0, 0)]


def test_the_queue_ends_with_its_layers(viewer, controller, big, qtbot):
    correction, _ = big
    begin(controller, qtbot)
    viewer.layers.remove(correction)
    assert not controller.state.review.running
    controller.reviewing.accept()  # a late key
    controller.reviewing.start()
    assert "no correction layer" in controller.state.message.text


def test_keys_are_taken_once():
    from napari.settings import get_settings
    from napari.utils.action_manager import action_manager

    from napari_unet.gui.tools.toolbox import SHAPE_KEYS, TOOL_KEYS

    names = [
        name
        for name, action in action_manager._actions.items()
        if "labels" in action.command.__module__ or "viewer" in action.command.__module__
    ]
    shortcuts = get_settings().shortcuts.shortcuts
    taken = {str(key) for name in names for key in shortcuts.get(name, ())}
    assert "P" in taken
    assert not set(REVIEW_KEYS) & (taken | set(TOOL_KEYS) | set(SHAPE_KEYS) | {"N", "I", "C"})


def test_the_window_stays_alive_over_a_huge_stack(viewer, controller, qtbot):
    shape = (64, 2048, 2048)
    viewer.add_image(np.broadcast_to(np.uint8(0), shape), contrast_limits=(0, 1))
    viewer.layers[0].visible = False
    image = viewer.layers[0]
    frame = layers.frame_of(image, "ZYX")
    for role in ("reviewed", "correction"):
        viewer.add_labels(np.zeros(shape, np.uint8), **layers.tagged(role, image, frame))
    ref = controller._desk.scratch.array((2, 1, *shape), np.uint8)
    controller.segmenting._keep(Kept(layers.layer_id(image), ref, untrained_spec("unet-small"), frame))
    controller.reviewing.start()
    assert controller.state.review.at is None  # nothing was waited for
    turns = 0
    while controller.state.review.at is None:
        QApplication.processEvents()
        time.sleep(0.001)
        turns += 1
    assert turns > 1
    assert controller.state.review.fields == 64 * 64
    assert len(controller.reviewing._tour.scout.gains) < 4096
    controller.reviewing.stop()


def test_the_panel_shows_what_there_is_to_do(viewer, controller, qtbot, monkeypatch):
    monkeypatch.setattr("napari_unet.gui.panels.controller_of", lambda _viewer: controller)
    panel = CorrectPanel(viewer)
    qtbot.addWidget(panel)
    queue, marks = panel.steps["Correct"].queue, panel.steps["Correct"].marks
    assert not queue.start.isEnabled()
    viewer.add_image(np.zeros((256, 512), np.uint8))
    controller.correcting.start()
    assert queue.start.isEnabled()
    assert marks.margin.value() == 8
    marks.margin.setValue(3)
    assert controller.state.review.margin_px == 3
    queue.order.setCurrentIndex(queue.order.findData("in turn"))
    queue.start.click()
    qtbot.waitUntil(queue.accept.isEnabled)
    assert not queue.start.isVisibleTo(panel)
    queue.accept.click()
    assert queue.progress.text() == "1 of 2 fields reviewed"
    assert not queue.effort.isHidden()
    queue.skip.click()
    assert queue.start.isVisibleTo(panel)
    marks.rectangle.click()
    assert marks.back.isVisibleTo(panel)
    marks.back.click()
    assert not marks.back.isVisibleTo(panel)


def test_what_correcting_took_comes_back_with_the_image(viewer, client, controller, trained, qtbot):
    pixels = np.random.default_rng(0).integers(0, 255, (256, 1024)).astype(np.uint8)
    viewer.add_image(pixels)
    controller.correcting.start()
    begin(controller, qtbot)
    controller.reviewing.accept()
    controller.state.model = trained.model_copy(update={"title": "blobs, better"})
    controller.state.segmented = Segmented(image=controller.state.image, objects=0)
    controller.reviewing.accept()
    before = controller.state.review.efforts
    assert [one.model for one in before] == ["blobs", "blobs, better"]
    qtbot.waitUntil(lambda: controller.state.keeping.kept, timeout=20_000)
    file = Path(controller.state.keeping.folder) / "project.json"
    written = lambda: json.loads(file.read_text())["settings"].get("efforts", ())  # noqa: E731
    qtbot.waitUntil(lambda: len(written()) == 2, timeout=20_000)
    controller.close()
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    again = Controller(viewer.__wrapped__, client)
    try:
        viewer.add_image(pixels)
        qtbot.waitUntil(lambda: again.state.keeping.offer is not None, timeout=20_000)
        assert not again.state.review.efforts
        again.keeper.go_on()
        assert again.state.review.efforts == before
        plot = EffortPlot(again)
        qtbot.addWidget(plot)
        assert len(plot.marks) == 1  # where the other model began
        assert "blobs, better" in plot.legend.text()
    finally:
        again.close()


def test_the_verdict_is_about_the_last_model():
    old = [FieldEffort(field=number, pixels=0, objects=0, model="old") for number in range(5)]
    assert "hardly pays" in verdict(old)
    assert verdict([*old, FieldEffort(field=5, pixels=0, objects=0, model="new")]) == ""
    new = [FieldEffort(field=number, pixels=0.5, objects=0.5, model="new") for number in range(5)]
    assert "still pays" in verdict([*old, *new])


def test_the_least_stable_fields_come_first_without_a_prediction(viewer, controller, client, idle, qtbot):
    image = np.zeros((512, 1024), np.uint8)
    image[256:, 512:768], image[:256, 256:512] = 200, 90
    viewer.add_image(image)
    controller.correcting.start()
    assert controller.state.review.can_flip
    controller.reviewing.set_order("least stable")
    scratch = controller._desk.scratch.folder
    before = len(list(scratch.iterdir()))
    begin(controller, qtbot)
    qtbot.waitUntil(lambda: len(controller.reviewing._tour.flipping.gains) == 8, timeout=20_000)
    assert controller.state.review.at == 6
    controller.reviewing.skip()
    assert controller.state.review.at == 1
    assert not controller.state.busy
    assert not controller.state.review.note
    qtbot.waitUntil(lambda: len(list(scratch.iterdir())) == before + 1)  # the image
    controller.reviewing.stop()
    assert len(list(scratch.iterdir())) == before


def test_flipping_gives_way_to_any_other_work_and_goes_on(viewer, controller, client, idle, qtbot):
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (64, 1024, 1024)).astype(np.uint8))
    controller.correcting.start()
    controller.reviewing.set_order("least stable")
    controller.reviewing.start()
    flips = lambda: [number for number, one in enumerate(client.requests, 1) if one.kind == "flip"]  # noqa: E731
    qtbot.waitUntil(lambda: len(flips()) == 1, timeout=20_000)
    running = client._running[0]
    assert not controller.state.busy  # all buttons can be pressed
    controller.segmenting.preview()
    assert running in client.cancelled
    assert not any(one.kind == "flip" for one in client.requests[1:])
    idle()
    qtbot.waitUntil(lambda: len(flips()) == 2, timeout=20_000)
    running = client._running[0]
    controller.reviewing.set_order("in turn")
    qtbot.waitUntil(lambda: running in client.cancelled)


def test_a_model_is_needed_to_flip(viewer, controller, trained, qtbot):
    viewer.add_image(np.zeros((256, 512), np.uint8))
    controller.correcting.start()
    queue = ReviewQueue(controller)
    qtbot.addWidget(queue)
    entry = queue.order.model().item(queue.order.findData("least stable"))
    assert entry.isEnabled()
    controller.modelling.choose(next(one for one in controller.state.models if not one.trained))
    assert not entry.isEnabled()
    controller.reviewing.set_order("least stable")
    begin(controller, qtbot)
    assert controller.state.review.at == 0
    assert "choose a trained model" in queue.note.text()


def test_flipping_that_fails_is_said_and_fields_come_all_the_same(viewer, controller, client, qtbot):
    viewer.add_image(np.zeros((256, 512), np.uint8))
    controller.correcting.start()
    client.fail = "The background process is out of memory."
    controller.reviewing.set_order("least stable")
    begin(controller, qtbot)
    assert "out of memory" in controller.state.review.note
    controller.reviewing.accept()
    assert controller.state.review.at == 1
