"""The diameter of the objects is estimated at a click, and the smallest size follows it."""

import pytest
from qtpy.QtCore import Qt

from napari_unet.gui.panels import Workbench
from napari_unet.weights.spec import changed_spec


@pytest.fixture
def sized(controller, trained):
    """A model that knows its diameter is chosen."""
    choice = trained.model_copy(update={"spec": changed_spec(trained.spec, diameter_px=20.0)})
    controller.modelling.choose(choice)
    return choice


@pytest.fixture
def step(viewer, controller, qtbot, sized, blobs):
    viewer.add_image(blobs)
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    panel.show_step("Segment")
    return panel.steps["Segment"]


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_click_fills_the_field_and_tells_it(step, controller, client, idle, qtbot):
    click(qtbot, step.estimate)
    assert controller.state.busy
    assert not step.estimate.isEnabled()
    idle()
    request = client.requests[-1]
    assert (request.kind, request.inference.axes, request.inference.diameter_px) == ("diameter", "YX", None)
    assert step.diameter.value() == 40
    assert controller.state.message.text == "The objects are about 40 pixels in diameter."
    assert step.estimate.isEnabled()
    controller.segmenting.segment()
    idle()
    assert client.requests[-1].inference.diameter_px == 40
    assert client.requests[-1].objects.min_size_px == 80


def test_it_can_be_cancelled(step, controller, client, idle, qtbot):
    client.hold = True
    click(qtbot, step.estimate)
    qtbot.waitUntil(lambda: controller.state.cancellable)
    controller.cancel()
    idle()
    assert controller.state.diameter_px is None
    assert controller.state.message.text == "Cancelled."


def test_nothing_found_is_said_and_changes_nothing(step, controller, client, idle, qtbot):
    controller.state.diameter_px = 30.0
    client.diameter = None
    click(qtbot, step.estimate)
    idle()
    assert controller.state.diameter_px == 30
    assert controller.state.message.level == "warning"
    assert "Hardly any objects" in controller.state.message.text


def test_what_cannot_be_estimated_is_explained(viewer, step, controller, trained, sized):
    assert "Find out" in step.estimate.toolTip()
    controller.modelling.choose(trained)  # does not know its diameter
    assert not step.estimate.isEnabled()
    assert "does not know the size" in step.estimate.toolTip()
    controller.modelling.choose(sized)
    assert step.estimate.isEnabled()
    viewer.layers.clear()
    assert not step.estimate.isEnabled()
    assert "No image is chosen" in step.estimate.toolTip()


def test_the_smallest_size_follows_what_is_typed(step, controller, trained, sized):
    step.diameter.setValue(10)
    assert step.min_size.value() == 5
    controller.modelling.choose(trained)
    assert step.min_size.value() == 20
    controller.modelling.choose(sized)
    assert step.min_size.value() == 5
    step.diameter.setValue(0)
    assert step.min_size.value() == 20


def test_a_smallest_size_of_the_user_stays(step, controller, idle, qtbot):
    step.min_size.setValue(33)
    click(qtbot, step.estimate)
    idle()
    assert step.diameter.value() == 40
    assert step.min_size.value() == 33
