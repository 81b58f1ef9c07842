"""Who trains on images of a new kind chooses whether the new model may forget the others."""

import pytest
from clicking import click

from napari_unet.gui.verdicts import told
from napari_unet.jobs.finetuned import Measured
from napari_unet.jobs.requests import FinetuneResult
from napari_unet.objects.config import ObjectOptions


@pytest.fixture
def known(controller, reviewed):
    """A model that came with images of what it knows."""
    blobs = controller.state.model
    spec = blobs.spec.model_copy(update={"replay": ("nuclei-fluorescence",)})
    controller.state.model = blobs.model_copy(update={"spec": spec, "trained": True})
    return blobs


def test_learning_from_these_images_only_is_a_choice(known, client, step, qtbot, idle):
    assert not step.forget.isChecked()
    click(qtbot, step.start)
    idle()
    assert client.requests[-1].config.forget is False
    click(qtbot, step.verdict.discard)
    click(qtbot, step.forget)
    assert step.forget.isChecked()
    click(qtbot, step.start)
    idle()
    assert client.requests[-1].config.forget is True


def test_it_is_offered_only_where_forgetting_could_be_told(controller, known, step):
    assert not step.forget.isHidden()
    controller.state.model = known
    assert step.forget.isHidden()


def result(**changes):
    measured = Measured(value=0.6, low=0.5, high=0.7, objects=40, pixels=9000)
    known = {"accepted": True, "old_score": 0.5, "new_score": 0.6, "held_out_px": 9000, "steps": 9, "seconds": 1.0}
    return FinetuneResult(candidate="", sentence="", **{"old": measured, "new": measured, **known, **changes})


def test_the_verdict_says_what_was_forgotten_or_that_nobody_looked():
    assert "0.84 before, 0.82 after" in told(result(replay=(0.84, 0.82)), "instances").basis
    assert "was not checked" in told(result(), "instances").basis
    assert "was not checked" not in told(result(), "instances", trained=False).basis


def test_a_better_model_of_which_nobody_knows_what_it_forgot_is_not_called_chance():
    better = Measured(value=0.8, low=0.7, high=0.9, objects=40, pixels=9000)
    said = told(result(accepted=None, new=better), "instances")
    assert said.title == "Better here, not checked elsewhere"
    assert [row[1] for row in said.rows] == ["0.60", "0.80"]
    assert "cancelled before anybody could tell what it has forgotten" in said.text


def test_thresholds_that_were_fitted_come_with_the_new_model_unless_the_user_chose_others(controller, reviewed):
    old = controller.state.model
    fitted = ObjectOptions(threshold=0.35, seed_threshold=0.45)
    new = old.model_copy(update={"spec": old.spec.model_copy(update={"objects": fitted})})
    controller.state.objects = old.spec.objects
    controller.modelling.go_on_with(new)
    assert controller.state.objects.threshold == 0.35

    controller.modelling.go_on_with(old)
    controller.state.change_objects(threshold=0.62)
    controller.modelling.go_on_with(new)
    assert controller.state.objects.threshold == 0.62
