"""Averaging over turns and the fast mode, from the panel to what the background process is asked, and back."""

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_unet.gui import segmenting
from napari_unet.gui.panels import Workbench
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.messages import JobDone


@pytest.fixture
def step(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made.steps["Segment"]


@pytest.fixture
def answer(client, monkeypatch):
    """Change what the background process answers to a segmentation."""

    def change(**fields):
        def _next(number, work, original=client._next):
            message = original(number, work)
            if isinstance(message, JobDone):
                return JobDone(number, message.result.model_copy(update=fields))
            return message

        monkeypatch.setattr(client, "_next", _next)

    return change


def choose(box, text):
    """Choose an entry with the keyboard."""
    for _ in range(box.count()):
        if box.currentText().startswith(text):
            return
        QTest.keyClick(box, Qt.Key.Key_Down)
    raise AssertionError(text)


def test_options_are_folded_at_first(step, qtbot):
    assert step.speed.options.isHidden()
    qtbot.mouseClick(step.speed.fold, Qt.MouseButton.LeftButton)
    assert not step.speed.options.isHidden()
    assert [step.speed.turns.itemText(i) for i in range(3)] == [
        "Off",
        "Flips (4 × the time)",
        "Flips and rotations (8 × the time)",
    ]


def test_what_is_chosen_is_asked_for(viewer, step, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    assert client.requests[-1].inference.turns == "none"
    assert not client.requests[-1].inference.fast
    choose(step.speed.turns, "Flips and rotations")
    step.speed.fast.setEnabled(True)
    beside_the_text = QPoint(8, step.speed.fast.height() // 2)
    qtbot.mouseClick(step.speed.fast, Qt.MouseButton.LeftButton, pos=beside_the_text)
    assert step.speed.fold.text() == "Speed and accuracy · flips and rotations · fast mode"
    controller.segmenting.segment()
    idle()
    assert client.requests[-1].inference == InferenceConfig(axes="YX", channels=(0,), turns="all", fast=True)


@pytest.mark.parametrize("there", [True, False])
def test_the_fast_mode_needs_its_packages(viewer, controller, qtbot, monkeypatch, blobs, there):
    monkeypatch.setattr(segmenting, "find_spec", lambda _name: there or None)
    viewer.add_image(blobs)
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    speed = panel.steps["Segment"].speed
    assert speed.fast.isEnabled() is there
    assert speed.missing.isHidden() is there
    assert ("napari-unet[fast]" in speed.fast.toolTip()) is not there


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "· exact."),
        ({"exact": False, "seam": 0.0042}, "· blended windows; they differ by 0.4 % on average where they overlap."),
        ({"exact": False}, "· in tiles that are not exact: seams are possible."),
        (
            {"notes": ("There was too little memory: smaller pieces were used.", "The CPU was used in the end.")},
            "· exact. There was too little memory: smaller pieces were used. The CPU was used in the end.",
        ),
    ],
    ids=["exact", "blended", "tiles", "notes"],
)
def test_the_result_says_how_it_was_made(viewer, controller, answer, idle, blobs, fields, said):
    viewer.add_image(blobs)
    answer(**fields)
    controller.segmenting.segment()
    idle()
    assert controller.state.message.text.startswith("5 objects in ")
    assert controller.state.message.text.endswith(said)


def test_the_fast_mode_is_never_called_exact_or_blended(viewer, controller, answer, idle, blobs):
    viewer.add_image(blobs)
    controller.state.fast = True
    answer(exact=False, notes=("The fast mode changes 0.2 % of the pixels.",))
    controller.segmenting.segment()
    idle()
    assert controller.state.message.text.endswith("· 8-bit integers. The fast mode changes 0.2 % of the pixels.")
