"""What the panels show, enable and let go of."""

import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider, QToolButton

from napari_unet.gui import panels
from napari_unet.gui.controller import controller_of
from napari_unet.gui.panels import STEPS, Panel, Workbench
from napari_unet.gui.state import Activity, Advance

CONTROLS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)
INNER = ("qt_", "ScrollLeftButton", "ScrollRightButton")


@pytest.fixture
def panel(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made


def test_every_panel_of_a_viewer_has_the_same_state(viewer, controller, qtbot):
    for name in ("ModelPanel", "SegmentPanel", "CorrectPanel", "FineTunePanel", "ExportPanel"):
        made = getattr(panels, name)(viewer)
        qtbot.addWidget(made)
        assert made.controller is controller
        assert len(made.steps) == 1
    assert controller_of(viewer) is controller


def test_every_control_has_a_tooltip(panel):
    bare = [
        control
        for kind in CONTROLS
        for control in panel.findChildren(kind)
        if not control.toolTip() and not control.objectName().startswith(INNER) and not _inside(control)
    ]
    assert not bare


def _inside(control):
    """Whether a control is a part of another one: the line edit of a spin box, for example."""
    parent = control.parentWidget()
    while parent is not None and not isinstance(parent, Panel):
        if parent.toolTip():
            return True
        parent = parent.parentWidget()
    return False


@pytest.mark.parametrize("title", STEPS)
def test_every_step_fits_into_340_pixels(panel, viewer, controller, blobs, title):
    viewer.add_image(np.stack([blobs] * 2), name="an image with quite a long name that nobody would ever type by hand")
    panel.show_step(title)
    assert panel.minimumSizeHint().width() <= 340
    assert panel.steps[title].minimumSizeHint().width() <= 340


def test_names_of_layers_are_followed(viewer, panel, controller, blobs):
    images = panel.steps["Segment"].images
    assert images.currentText() == "No image layer"
    layer = viewer.add_image(blobs, name="first")
    viewer.add_image(blobs, name="second")
    assert [images.itemText(i) for i in range(images.count())] == ["first", "second"]
    assert images.currentText() == "first"
    layer.name = "renamed"
    assert images.currentText() == "renamed"
    viewer.layers.remove(layer)
    assert images.currentText() == "second"
    assert images.count() == 1


def test_the_sentence_about_the_axes(viewer, panel):
    viewer.add_image(np.zeros((12, 30, 16, 20), np.uint8))
    step = panel.steps["Segment"]
    assert step.axes.text() == "TZYX"
    assert step.reading.text() == "12 time points × 30 slices, 16 × 20 pixels"


def test_buttons_wait_while_work_runs(viewer, panel, controller, blobs):
    viewer.add_image(blobs)
    step, strip = panel.steps["Segment"], panel.status
    assert step.segment.isEnabled()
    assert strip.cancel.isHidden()
    controller.state.activity = Activity.SEGMENTING
    controller.state.advance = Advance(stage="Running the network", done=3, total=9, eta_s=75)
    assert not step.segment.isEnabled()
    assert not panel.steps["Model"].models.isEnabled()
    assert not strip.cancel.isHidden()
    assert (strip.bar.value(), strip.bar.maximum()) == (3, 9)
    assert strip.activity.text() == "Segmenting · Running the network · 1 min 15 s left"
    controller.state.activity = Activity.IDLE
    assert step.segment.isEnabled()


def test_choosing_a_model_changes_card_and_settings(panel, controller, trained, qtbot, click_model):
    step = panel.steps["Model"]
    assert "Blobs" in step.facts.text()
    assert "CC0" in step.facts.text()
    assert step.untrained.isHidden()
    click_model(qtbot, step, "unet-small")
    assert not controller.state.model.trained
    assert not step.untrained.isHidden()
    assert not step.form.isHidden()
    assert panel.steps["Fine-tune"].start.text() == "Train from scratch"


def test_clicking_through_the_loop(viewer, panel, controller, idle, qtbot, blobs):
    viewer.add_image(blobs)
    left = Qt.MouseButton.LeftButton
    qtbot.mouseClick(panel.steps["Segment"].segment, left)
    idle()
    assert panel.status.message.text().startswith("5 objects")
    qtbot.mouseClick(panel.steps["Correct"].start, left)
    qtbot.mouseClick(panel.steps["Correct"].everything, left)
    qtbot.waitUntil(lambda: panel.steps["Correct"].count.text() == "100 % of the pixels reviewed, 5 objects")
    finetune = panel.steps["Fine-tune"]
    qtbot.mouseClick(finetune.start, left)
    idle()
    assert not finetune.verdict.isHidden()
    assert finetune.verdict.title.text() == "The new model is better"
    qtbot.mouseClick(finetune.verdict.discard, left)
    assert finetune.verdict.isHidden()


def test_moving_the_threshold_searches_again_once(viewer, panel, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    for value in (0.4, 0.45, 0.6):
        panel.steps["Segment"].threshold.setValue(value)
    qtbot.waitUntil(lambda: client.requests[-1].kind == "objects")
    idle()
    assert [request.kind for request in client.requests] == ["segment", "objects"]
    assert client.requests[-1].objects.threshold == 0.6


def test_a_closed_panel_is_let_go(viewer, controller, qtbot):
    panel = Workbench(viewer)
    gone = weakref.ref(panel)
    panel.deleteLater()
    del panel

    def is_gone():
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        return gone() is None

    qtbot.waitUntil(is_gone)
    controller.state.tell("Nobody listens.")
    viewer.theme = "light"


def test_a_panel_that_qt_has_deleted_is_left_alone(viewer, controller):
    panel = Workbench(viewer)
    panel.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    controller.state.tell("Nobody listens.")
    controller.state.activity = Activity.FINE_TUNING
    controller.state.activity = Activity.IDLE
    viewer.theme = "light"
    assert panel.controller is controller


def test_the_theme_is_followed(viewer, panel):
    dark = panel.styleSheet()
    viewer.theme = "light"
    assert panel.styleSheet() != dark


def test_every_tool_has_a_picture_of_its_own_in_the_colours_of_the_theme(viewer, panel):
    def pictures():
        images = [one.icon().pixmap(22, 22).toImage() for one in panel.findChildren(QToolButton, "tool")]
        return [bytes(image.constBits()) for image in images if not image.isNull()]

    dark = pictures()
    assert len(dark) == len(set(dark)) == 13
    viewer.theme = "light"
    assert not {*dark} & {*pictures()}


def test_what_needs_a_correction_layer_waits_for_it(viewer, panel, blobs):
    step = panel.steps["Correct"]
    panel.show_step("Correct")
    assert "No image is chosen" in step.obstacle.text()
    viewer.add_image(blobs)
    assert step.obstacle.isHidden()
    assert step.reviewing.isHidden()
    assert step.tools.isHidden()
    step.start.click()
    assert not step.reviewing.isHidden()
    assert not step.tools.isHidden()


def test_a_panel_has_the_whole_height_however_many_there_were_before(viewer, controller, qtbot):
    for _ in range(3):
        panel = Workbench(viewer)
        viewer.window.add_dock_widget(panel, name="U-Net workbench")
        layout = panel.layout()
        assert layout.stretch(layout.indexOf(panel.pages)) == 1
        assert sum(layout.stretch(i) for i in range(layout.count())) == 1
        viewer.window.remove_dock_widget(panel)
        panel.deleteLater()
