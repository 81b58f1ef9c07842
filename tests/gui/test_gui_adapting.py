"""Adapting the model to the image before any correction, from the panel, with a background process that is none."""

import numpy as np
import pytest
import torch
from clicking import click, preview
from qtpy.QtCore import Qt
from safetensors.torch import save_file

from napari_unet.gui import layers
from napari_unet.gui.panels import Workbench
from napari_unet.gui.state import ModelChoice
from napari_unet.jobs.requests import FinetuneResult
from napari_unet.weights.bundled import own
from napari_unet.weights.spec import untrained_spec


@pytest.fixture
def panel(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def segment(viewer, panel, blobs):
    viewer.add_image(blobs)
    return panel.steps["Segment"]


@pytest.fixture
def adapted(controller, segment, qtbot, idle):
    click(qtbot, segment.adapt)
    idle()
    return segment


def test_it_needs_an_image_and_no_correction(viewer, controller, client, panel, qtbot, idle, blobs):
    step = panel.steps["Segment"]
    assert not step.adapt.isEnabled()
    assert "No image is chosen" in step.adapt.toolTip()
    viewer.add_image(blobs)
    controller.state.diameter_px = 20.0
    click(qtbot, step.adapt)
    idle()
    (request,) = client.requests
    assert request.kind == "adapt"
    assert request.model == controller.state.model.ref
    assert request.image.name == "blobs"
    assert (request.inference.channels, request.inference.diameter_px) == ((0,), 20.0)
    assert next(layers.with_role(viewer, "correction"), None) is None


def test_what_both_models_find_is_shown_and_nothing_is_claimed(viewer, controller, adapted, qtbot):
    verdict = adapted.adapted
    assert not verdict.isHidden()
    assert verdict.title.text() == "An adapted model, not judged"
    assert "Nothing was held out" in verdict.text.text()
    assert (preview(viewer).data == 81).all()
    assert verdict.compare.after.isChecked()
    click(qtbot, verdict.compare.before)
    assert (preview(viewer).data == 80).all()
    assert verdict.compare.count.text() == "3 → 4 objects in view"
    assert not any(row.text() for labels in verdict.scores for row in labels)


def test_using_it_keeps_the_old_model_within_reach(viewer, controller, adapted, trained, qtbot, idle):
    controller.state.change_objects(threshold=0.3)
    click(qtbot, adapted.adapted.use)
    idle()
    state = controller.state
    assert state.model.title.endswith("adapted (own)")
    assert list(map(str, own().values())) == [state.model.source]
    assert state.objects.threshold == 0.3
    assert preview(viewer) is None
    assert adapted.adapted.isHidden()
    newest, first = state.lineage
    assert newest.current
    assert newest.about.endswith("not judged")
    assert first.about == "Where it began"


def test_discarding_leaves_everything_as_it_was(viewer, controller, adapted, trained, qtbot):
    click(qtbot, adapted.adapted.discard)
    assert controller.state.model == trained
    assert preview(viewer) is None
    assert not own()
    assert adapted.adapt.isEnabled()


def test_adapting_once_more_replaces_the_proposal(controller, adapted, qtbot, idle):
    former = controller.state.proposal.result.candidate
    click(qtbot, adapted.adapt)
    idle()
    assert controller.state.proposal.result.candidate != former


def test_it_can_be_cancelled(viewer, controller, client, segment, panel, qtbot, idle):
    client.hold_at = "adapt"
    click(qtbot, segment.adapt)
    assert not segment.adapt.isEnabled()
    qtbot.waitUntil(lambda: client.hold)
    assert panel.status.activity.text().startswith("Adapting")
    click(qtbot, panel.status.cancel)
    idle()
    assert controller.state.message.text == "Cancelled."
    assert controller.state.proposal is None
    assert preview(viewer) is None


def test_a_cancel_that_comes_too_late_proposes_nothing(viewer, controller, client, segment, qtbot, idle):
    client.best_so_far = True
    client.hold_at = "adapt"
    click(qtbot, segment.adapt)
    qtbot.waitUntil(lambda: client.hold)
    controller.cancel()
    idle()
    assert controller.state.proposal is None
    assert not list(controller._desk.scratch.folder.glob("adapted*"))


def test_a_failure_is_a_sentence(controller, client, segment, qtbot, idle):
    client.fail = "The image is odd."
    click(qtbot, segment.adapt)
    idle()
    assert controller.state.message.text == "The image is odd."
    assert controller.state.proposal is None


def test_a_hidden_image_is_adapted_to_without_a_look(viewer, controller, segment, qtbot, idle):
    viewer.layers["blobs"].visible = False
    click(qtbot, segment.adapt)
    idle()
    assert controller.state.proposal.result.seen is None
    assert preview(viewer) is None
    assert segment.adapted.compare.isHidden()


def test_a_model_without_weights_says_so(controller, segment):
    controller.modelling.choose(next(choice for choice in controller.state.models if not choice.trained))
    assert not segment.adapt.isEnabled()
    assert "no weights yet" in segment.adapt.toolTip()


@pytest.mark.parametrize("remembers", [True, False])
def test_a_model_without_statistics_says_so(controller, segment, tmp_path, remembers):
    spec, path = untrained_spec("unet-small"), tmp_path / "model.safetensors"
    name = "down.0.running_mean" if remembers else "down.0.weight"
    save_file({name: torch.zeros(4)}, path, {"napari_unet": spec.model_dump_json()})
    controller.modelling.choose(ModelChoice(title="model", source=str(path), spec=spec))
    assert segment.adapt.isEnabled() is remembers
    assert ("no batch normalization" in segment.adapt.toolTip()) is not remembers


def test_a_program_of_others_cannot_be_adapted(controller, segment, trained):
    controller.modelling.choose(trained.model_copy(update={"can_train": False}))
    assert "no batch normalization" in segment.adapt.toolTip()


def test_a_model_that_learnt_from_corrections_is_not_thrown_away(controller, proposed, panel, qtbot):
    step = panel.steps["Segment"]
    assert isinstance(proposed.result, FinetuneResult)
    assert step.adapted.isHidden()
    assert not step.adapt.isEnabled()
    assert "waits for your decision in step 4" in step.adapt.toolTip()
    qtbot.mouseClick(step.adapt, Qt.MouseButton.LeftButton)
    controller.adapting.start()
    assert controller.state.proposal is proposed


def test_corrections_are_not_touched(viewer, controller, reviewed, panel, qtbot, idle):
    before = reviewed[0].data.copy()
    click(qtbot, panel.steps["Segment"].adapt)
    idle()
    assert np.array_equal(reviewed[0].data, before)
    assert viewer.layers.selection.active.name == reviewed[0].name
