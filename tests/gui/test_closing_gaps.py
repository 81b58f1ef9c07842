"""Closing the gaps of membranes in the panel: only where there are classes."""

import pytest
from qtpy.QtCore import Qt


@pytest.fixture
def describe(controller):
    def change(meaning, classes):
        controller.modelling.choose(next(m for m in controller.state.models if not m.trained))
        controller.modelling.describe_new(meaning, classes, 1)

    return change


def test_it_is_offered_for_classes_alone(segmenting, describe):
    describe("semantic", "cell, membrane")
    assert not segmenting.close_gaps.isHidden()
    assert not segmenting.close_gaps.isChecked()
    describe("instances", "")
    assert segmenting.close_gaps.isHidden()


def test_a_key_changes_the_settings_and_they_change_the_box(segmenting, controller, describe, qtbot):
    describe("semantic", "cell, membrane")
    qtbot.keyClick(segmenting.close_gaps, Qt.Key.Key_Space)
    assert controller.state.objects.close_gaps
    controller.state.change_objects(close_gaps=False)
    assert not segmenting.close_gaps.isChecked()
