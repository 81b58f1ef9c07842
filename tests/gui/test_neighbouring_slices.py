"""Step 4 shows a model the neighbouring slices, where there are any."""

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_unet.gui.panels import Workbench
from napari_unet.gui.widgets.model_step import facts
from napari_unet.gui.widgets.share_dialog import ShareDialog
from napari_unet.weights.spec import untrained_spec


@pytest.fixture
def stack(viewer, controller, qtbot, blobs):
    """A stack of five slices, one of which is reviewed."""
    viewer.add_image(np.stack([blobs] * 5))
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    correction.data_setitem((np.full(20, 2), np.arange(20), np.arange(20)), 7)
    reviewed.data_setitem((np.full(200, 2), *np.divmod(np.arange(200), 20)), 1)
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in controller.state.counts))


@pytest.fixture
def panel(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    made.show()
    made.show_step("Fine-tune")
    return made


@pytest.fixture
def step(panel):
    return panel.steps["Fine-tune"]


def pick(qtbot, box, text):
    """Choose an entry of a box with the mouse."""
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    view = box.view()
    qtbot.waitUntil(view.isVisible)
    place = view.visualRect(view.model().index(box.findText(text), 0)).center()
    qtbot.mouseMove(view.viewport(), place)
    qtbot.wait(QApplication.doubleClickInterval())  # Qt takes a click before that for the one that opened the list
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert box.currentText() == text


def choose_model(controller, variant="unet-small", slices=1):
    model = controller.state.model
    controller.state.model = model.model_copy(update={"spec": untrained_spec(variant, slices=slices)})


def asked_for(client, step, qtbot, idle):
    """Fine-tune, discard the result, and return the slices that the training was asked for."""
    click(qtbot, step.start)
    idle()
    slices = client.requests[-1].config.slices
    click(qtbot, step.verdict.discard)
    return slices


def test_slices_on_each_side_are_asked_for_with_the_mouse(controller, client, stack, step, qtbot, idle):
    box = step.slices.box
    assert [box.itemText(i) for i in range(box.count())] == [
        "Each slice alone",
        "1 slice on each side",
        "2 slices on each side",
    ]
    assert asked_for(client, step, qtbot, idle) is None
    pick(qtbot, box, "1 slice on each side")
    assert asked_for(client, step, qtbot, idle) == 3


def test_a_plane_has_no_neighbours(controller, client, reviewed, step, qtbot, idle):
    controller.state.neighbours = 2
    assert not step.slices.box.isEnabled()
    assert "a single slice" in step.slices.box.toolTip()
    assert step.slices.box.currentText() == "Each slice alone"
    click(qtbot, step.start)
    idle()
    assert client.requests[-1].config.slices is None


def test_a_model_for_volumes_sees_all_slices_anyway(controller, stack, step):
    choose_model(controller, "unet-3d")
    assert not step.slices.box.isEnabled()
    assert "sees all slices" in step.slices.box.toolTip()
    assert step.slices.box.currentText() == "All slices"


def test_a_model_keeps_at_least_the_slices_that_it_learnt_from(controller, client, stack, step, qtbot, idle):
    choose_model(controller, slices=3)
    box = step.slices.box
    assert box.currentText() == "1 slice on each side"
    assert box.findText("Each slice alone") < 0
    assert asked_for(client, step, qtbot, idle) is None
    pick(qtbot, box, "2 slices on each side")
    assert asked_for(client, step, qtbot, idle) == 5


def test_the_model_step_tells_what_is_shown():
    assert "planes, with 1 slice on each side, 2 channels" in facts(untrained_spec("unet-small", 2, slices=3))
    assert "planes, with 2 slices on each side, 1 channel<" in facts(untrained_spec("unet-small", slices=5))
    assert "planes, 1 channel<" in facts(untrained_spec("unet-small"))


def test_the_image_needs_no_channels_for_its_neighbours(controller, stack, step):
    choose_model(controller, slices=3)
    assert "channel" not in controller.state.obstacle


def test_other_neighbours_are_other_settings_of_an_interrupted_training(controller, stack):
    halting, model = controller.finetuning._halting, controller.state.model
    before = halting._begun(model)
    controller.state.neighbours = 1
    assert not halting._begun(model).same_settings(before)


def test_sharing_offers_no_package_of_what_that_cannot_tell(controller, panel):
    choose_model(controller, slices=3)
    dialog = ShareDialog(controller, panel)
    assert not dialog.formats["package"].isEnabled()
    assert "cannot tell of 3 slices" in dialog.formats["package"].toolTip()
    assert dialog.formats["onnx"].toolTip()
    assert dialog.format == "model"
    dialog.close()
