"""Fine-tuning from the panel, with a background process that is none."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.errors import NapariUnetError
from napari_unet.gui import layers
from napari_unet.gui.controller import Controller
from napari_unet.gui.halting import trainings
from napari_unet.gui.live_view import capped
from napari_unet.gui.panels import Workbench
from napari_unet.gui.verdicts import told
from napari_unet.jobs.finetuned import Measured
from napari_unet.jobs.requests import FinetuneResult
from napari_unet.weights.bundled import own


@pytest.fixture
def reviewed(viewer, controller, qtbot, blobs):
    """An image whose correction is reviewed in its upper half."""
    viewer.add_image(blobs)
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    correction.data_setitem(tuple(np.nonzero(blobs[:48] > 0)), 7)
    reviewed.data_setitem(tuple(np.nonzero(np.ones((48, 128)))), 1)
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in controller.state.counts))
    return correction, reviewed


@pytest.fixture
def proposed(controller, idle, reviewed):
    controller.finetuning.start()
    idle()
    return controller.state.proposal


def test_the_job_gets_its_own_copy_of_what_is_reviewed(controller, client, idle, reviewed):
    correction, region = reviewed
    controller.finetuning.start()
    request = []
    copy = correction.data.copy()
    correction.data[:] = 99
    original = client._finetune

    def look(asked):
        from napari_unet.jobs.scratch import open_array

        (pair,) = asked.pairs
        request.append((np.array(open_array(pair.labels)[0, 0]), np.array(open_array(pair.reviewed)[0, 0])))
        return original(asked)

    client._finetune = look
    idle()
    assert np.array_equal(request[0][0], copy)
    assert np.array_equal(request[0][1] > 0, region.data > 0)
    assert client.requests[-1].config.seconds == 120


def test_loss_and_score_are_told_while_it_runs(controller, proposed):
    curve = controller.state.curve
    assert [loss for _, loss in curve.loss] == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert curve.score == ((5.5, 0.7),)
    assert proposed.result.sentence == "Better: 0.70, was 0.50."


def test_using_the_new_model_keeps_its_file_and_all_settings(controller, proposed, idle):
    controller.state.change_objects(threshold=0.3)
    controller.finetuning.use(segment_again=False)
    idle()
    model = controller.state.model
    assert controller.state.proposal is None
    assert model.title.endswith("(own)")
    assert list(map(str, own().values())) == [model.source]
    assert model in controller.state.models
    assert controller.state.objects.threshold == 0.3


def test_using_and_segmenting_again_leaves_reviewed_pixels(viewer, controller, client, proposed, idle, qtbot, reviewed):
    correction, region = reviewed
    before = correction.data.copy()
    controller.finetuning.use(segment_again=True)
    qtbot.waitUntil(lambda: bool(client.requests) and client.requests[-1].kind == "merge")
    idle()
    vouched = region.data > 0
    assert np.array_equal(correction.data[vouched], before[vouched])
    assert (correction.data != before).any()
    assert len(list(layers.with_role(viewer, "prediction"))) == 1
    assert client.requests[-2].model.source == controller.state.model.source


def test_saving_keeps_the_proposal(controller, proposed, idle, tmp_path):
    controller.finetuning.save_as(str(tmp_path / "mine"))
    idle()
    assert (tmp_path / "mine.safetensors").exists()
    assert controller.state.proposal is proposed


def test_discarding_keeps_the_old_model(controller, proposed, trained):
    controller.finetuning.discard()
    assert controller.state.proposal is None
    assert controller.state.model == trained
    assert not own()
    assert not controller.state.curve.loss


def test_two_used_models_have_two_files(controller, proposed, idle):
    controller.finetuning.use(segment_again=False)
    idle()
    controller.finetuning.start()
    idle()
    controller.finetuning.use(segment_again=False)
    idle()
    assert len(own()) == 2


def test_an_unwritable_home_keeps_the_proposal(controller, proposed, idle, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "file"))
    controller.finetuning.use(segment_again=False)
    idle()
    assert controller.state.proposal is proposed
    assert controller.state.message.level == "error"
    assert "cannot be made" in controller.state.message.text


def test_an_untrained_model_is_trained_from_scratch(controller, client, idle, reviewed):
    new = next(choice for choice in controller.state.models if not choice.trained)
    controller.modelling.choose(new)
    controller.finetuning.start()
    idle()
    assert client.requests[-1].model.untrained == new.spec
    assert client.requests[-1].model.source is None


def test_skipped_pairs_are_not_trained_on(controller, client, reviewed):
    correction, _ = reviewed
    controller.finetuning.skip(layers.layer_id(correction), skipped=True)
    controller.finetuning.start()
    assert not client.requests
    assert "Nothing is marked as reviewed" in controller.state.message.text


def test_several_images_train_together(viewer, controller, client, idle, qtbot, reviewed, blobs):
    second = viewer.add_image(blobs[::-1], name="second")
    controller.choosing.choose_image(layers.layer_id(second))
    controller.correcting.start()
    controller.correcting.mark("everything")
    qtbot.waitUntil(lambda: [bool(count.reviewed_px) for count in controller.state.counts] == [True, True])
    controller.finetuning.start()
    idle()
    assert [pair.image.name for pair in client.requests[-1].pairs] == ["blobs", "second"]


def test_strokes_are_counted_before_they_are_trained_on(controller, client, idle, reviewed):
    """The list may be a moment old; what is trained on is not."""
    _, region = reviewed
    region.data_setitem(tuple(np.nonzero(np.ones(region.data.shape))), 0)
    controller.finetuning.start()
    assert not client.requests
    assert "Nothing is marked as reviewed" in controller.state.message.text


# -- while it trains ------------------------------------------------------------


@pytest.fixture
def step(viewer, controller, qtbot):
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    return panel.steps["Fine-tune"]


@pytest.fixture
def training(controller, client, reviewed, step, qtbot):
    """A training that stands still after its third step."""
    client.best_so_far, client.hold_at_step = True, 3
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: client.hold)
    return step


def click(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def preview(viewer):
    return next(layers.with_role(viewer, "preview"), None)


def test_a_training_is_paused_and_goes_on(controller, client, training, qtbot, idle):
    bar = training.training
    assert not bar.isHidden()
    assert training.start.isHidden()
    click(qtbot, bar.pause)
    assert client.paused
    assert bar.pause.text() == "Go on"
    assert bar.sentence.text().startswith("Paused at step 3")
    assert controller.state.advance.stage == "Paused at step 3"
    client.hold = False
    assert len(controller.state.curve.loss) == 3
    click(qtbot, bar.pause)
    assert not client.paused
    assert bar.pause.text() == "Pause"
    idle()
    assert len(controller.state.curve.loss) == 5
    assert bar.isHidden()
    assert not training.start.isHidden()


def test_a_paused_training_is_stopped_and_kept(controller, client, training, qtbot, idle):
    click(qtbot, training.training.pause)
    click(qtbot, training.training.keep)
    assert training.training.sentence.text() == "Stopping…"
    assert not training.training.keep.isEnabled()
    idle()
    assert controller.state.proposal is not None
    assert len(controller.state.curve.loss) == 3


def test_a_training_that_is_stopped_and_discarded_leaves_everything_as_it_was(
    viewer, controller, training, qtbot, idle, reviewed
):
    correction, _ = reviewed
    trained = controller.state.model
    before, names = correction.data.copy(), {layer.name for layer in viewer.layers} - {preview(viewer).name}
    click(qtbot, training.training.discard)
    idle()
    state = controller.state
    assert state.proposal is None
    assert state.model == trained
    assert "thrown away" in state.message.text
    assert not state.curve.loss
    assert not list(controller._desk.scratch.folder.glob("candidate*"))
    assert np.array_equal(correction.data, before)
    assert {layer.name for layer in viewer.layers} == names


def test_discarding_a_training_leaves_the_model_that_was_proposed_before(
    controller, client, proposed, step, qtbot, idle
):
    client.best_so_far, client.hold_at_step = True, 3
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: client.hold)
    click(qtbot, step.training.discard)
    idle()
    assert controller.state.proposal is proposed
    click(qtbot, step.verdict.compare.before)
    assert controller.state.compared == "before"


def test_the_score_of_the_old_model_is_drawn_beside_the_new_ones(controller, training):
    assert controller.state.curve.old_score == 0.5
    assert "old model 0.500" in training.plot.legend.text()


# -- what is seen of it ---------------------------------------------------------


def test_what_is_seen_is_shown_as_it_is_learnt_and_nothing_else_changes(viewer, controller, training, reviewed):
    correction, _ = reviewed
    shown = preview(viewer)
    assert shown.name == "blobs preview"
    assert (shown.data[:, :24] == 3).all()
    assert not shown.data[:, 24:].any()
    assert np.allclose(shown.data_to_world((0, 0)), viewer.layers["blobs"].data_to_world((0, 0)))
    assert viewer.layers.selection.active.name == correction.name


def test_a_preview_that_is_removed_while_it_trains_does_not_come_back(viewer, controller, client, training, idle):
    viewer.layers.remove(preview(viewer))
    client.hold = False
    idle()
    assert preview(viewer) is None
    assert controller.state.proposal is not None
    assert controller.state.compared == ""


def test_nothing_is_shown_where_nobody_wants_to_see_it(viewer, controller, client, step, reviewed, qtbot, idle):
    step.live.click()
    click(qtbot, step.start)
    idle()
    assert client.requests[-1].watch.live is False
    assert preview(viewer) is None
    assert not step.verdict.compare.isHidden()


def test_an_image_that_is_hidden_is_not_watched(viewer, controller, client, reviewed, idle):
    viewer.layers["blobs"].visible = False
    controller.finetuning.start()
    idle()
    assert client.requests[-1].watch is None
    assert preview(viewer) is None


@pytest.mark.parametrize(
    ("size", "most"), [((1, 1, 4000, 4000), 2**18), ((1, 40, 900, 700), 2**18), ((1, 1, 3, 90_000), 2**18)]
)
def test_a_large_view_is_cut_to_its_middle(size, most):
    region = capped(tuple((5, 5 + n) for n in size), most)
    lengths = [stop - start for start, stop in region]
    assert most / 2 < np.prod(lengths) <= most
    for (start, stop), n in zip(region, size, strict=True):
        assert abs((start - 5) - (5 + n - stop)) <= 1


# -- before and after -----------------------------------------------------------


def test_before_and_after_are_flipped(viewer, controller, client, step, reviewed, qtbot, idle):
    correction, _ = reviewed
    click(qtbot, step.start)
    idle()
    compare = step.verdict.compare
    assert compare.after.isChecked()
    assert (preview(viewer).data == 91).all()
    click(qtbot, compare.before)
    assert (preview(viewer).data == 90).all()
    assert compare.before.isChecked()
    assert not compare.after.isChecked()
    click(qtbot, compare.before)
    assert not preview(viewer).visible
    assert not compare.before.isChecked()
    viewer.layers.remove(preview(viewer))
    click(qtbot, compare.after)
    assert (preview(viewer).data == 91).all()
    assert viewer.layers.selection.active.name == correction.name
    assert compare.count.text() == "1 → 2 objects in view"
    click(qtbot, step.verdict.discard)
    assert preview(viewer) is None


def test_using_the_new_model_takes_the_view_away(viewer, controller, proposed, idle):
    controller.finetuning.use(segment_again=False)
    idle()
    assert preview(viewer) is None
    assert controller.state.compared == ""


def test_comparing_without_the_image_is_a_sentence(viewer, controller, proposed):
    viewer.layers.remove("blobs preview")
    viewer.layers.remove("blobs")
    controller.finetuning.compare("before")
    assert controller.state.message.level == "error"
    assert controller.state.compared == ""


MEASURED = Measured(value=0.71, low=0.65, high=0.78, objects=12, pixels=34_000)
WORSE = MEASURED.model_copy(update={"value": 0.52, "low": 0.45, "high": 0.6})


def test_the_verdict_has_its_numbers(controller, client, step, reviewed, qtbot, idle):
    client.result |= {"old": WORSE, "new": MEASURED}
    click(qtbot, step.start)
    idle()
    verdict = step.verdict
    texts = [[label.text() for label in row] for row in verdict.scores]
    assert texts == [["Before", "0.52", "0.45 to 0.60"], ["After", "0.71", "0.65 to 0.78"]]
    assert "12 objects, 34,000 pixels" in verdict.basis.text()
    assert verdict.again.property("primary")


@pytest.mark.parametrize(
    ("result", "title", "text"),
    [
        ({"accepted": False, "old": MEASURED, "new": WORSE}, "The new model is not better", "old model stays"),
        ({"accepted": False, "old": WORSE, "new": MEASURED}, "Not surely better", "may be chance"),
        (
            {"accepted": False, "old": WORSE, "new": MEASURED, "replay": (0.84, 0.7)},
            "Better here, but it has forgotten",
            "other images",
        ),
        ({"accepted": None, "sentence": "Too little is reviewed."}, "A new model, not judged", "Too little"),
    ],
)
def test_a_verdict_in_words(result, title, text):
    known = {"old_score": None, "new_score": None, "sentence": "", "held_out_px": 0, "steps": 1, "seconds": 1.0}
    said = told(FinetuneResult(candidate="", **(known | result)), "instances")
    assert said.title == title
    assert text in said.text
    assert bool(said.rows) is ("new" in result)


def test_whoever_is_not_judged_for_decides_with_both_pictures(controller, client, step, reviewed, qtbot, idle):
    client.result = {"accepted": None, "old_score": None, "new_score": None, "sentence": "Too little is reviewed."}
    click(qtbot, step.start)
    idle()
    verdict = step.verdict
    assert not verdict.compare.isHidden()
    assert verdict.compare.before.isEnabled()
    assert verdict.use.isEnabled()
    assert not verdict.again.property("primary")
    assert not verdict.discard.property("primary")


# -- what goes wrong ------------------------------------------------------------


def test_a_training_that_fails_says_so_and_leaves_the_layers(viewer, controller, client, step, reviewed, qtbot, idle):
    correction, _ = reviewed
    before, names = correction.data.copy(), {layer.name for layer in viewer.layers}
    client.fail_at_step = 3
    click(qtbot, step.start)
    idle()
    assert controller.state.message.level == "error"
    assert {layer.name for layer in viewer.layers} == names
    assert np.array_equal(correction.data, before)
    assert controller.state.proposal is None
    assert step.training.isHidden()
    client.fail_at_step = 0
    click(qtbot, step.start)
    idle()
    assert controller.state.proposal is not None


def checkpoint(path, steps=120, elapsed_s=58.0):
    """A checkpoint as the background process writes it, without its weights."""
    told = json.dumps({"steps": steps, "elapsed_s": elapsed_s})
    header = json.dumps({"__metadata__": {"napari_unet_training": told}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def interrupted(controller, client, reviewed, step, qtbot, idle):
    """A training whose background process was killed after it had saved."""
    client.fail_at_step, client.error = 3, NapariUnetError("The background process was killed.")
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: bool(client.requests))
    checkpoint(Path(client.requests[-1].checkpoint))
    idle()
    client.fail_at_step = 0
    return step


def test_an_interrupted_training_is_told_of_and_goes_on(controller, client, interrupted, qtbot, idle):
    path = client.requests[-1].checkpoint
    assert "“Fine-tune” goes on from" in controller.state.message.text
    card = interrupted.halted
    assert not card.isHidden()
    assert "of blobs on blobs was interrupted at step 120, after 58 s of 2 min" in card.text.text()
    assert "“Fine-tune” goes on with it" in card.text.text()
    assert card.go_on.isHidden()
    click(qtbot, interrupted.start)
    assert card.isHidden()
    idle()
    assert client.requests[-1].checkpoint == path
    assert card.isHidden()
    assert not list(trainings().iterdir())


def test_an_interrupted_training_is_forgotten(client, interrupted, qtbot):
    click(qtbot, interrupted.halted.forget)
    assert interrupted.halted.isHidden()
    assert not Path(client.requests[-1].checkpoint).exists()


def test_another_time_begins_anew_unless_the_user_goes_on(controller, client, interrupted, qtbot, idle):
    controller.state.minutes = 5
    card = interrupted.halted
    assert "begins anew" in card.text.text()
    click(qtbot, card.go_on)
    assert controller.state.minutes == 2
    idle()
    assert client.requests[-1].config.seconds == 120
    assert controller.state.proposal is not None


def test_other_corrections_begin_anew_and_the_old_checkpoint_is_gone(
    controller, client, interrupted, reviewed, qtbot, idle
):
    _, region = reviewed
    region.data_setitem(tuple(np.nonzero(np.ones((60, 128)))), 1)
    qtbot.waitUntil(lambda: "corrections have changed" in interrupted.halted.text.text())
    assert interrupted.halted.go_on.isHidden()
    client.hold_at_step = 1
    click(qtbot, interrupted.start)
    qtbot.waitUntil(lambda: client.hold)
    assert not Path(client.requests[-1].checkpoint).exists()
    client.hold = False
    idle()


def test_a_training_of_another_window_is_not_offered(controller, client, interrupted, monkeypatch):
    path = Path(client.requests[-1].checkpoint).with_suffix(".json")
    begun = json.loads(path.read_text()) | {"pid": os.getppid()}
    path.write_text(json.dumps(begun))
    controller.halting.look()
    assert interrupted.halted.isHidden()


def test_a_home_that_cannot_be_written_costs_the_checkpoint_only(
    controller, client, reviewed, idle, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "file"))
    controller.finetuning.start()
    idle()
    assert client.requests[-1].checkpoint == ""
    assert controller.state.proposal is not None


# -- lineage --------------------------------------------------------------------


def again(controller, idle):
    controller.finetuning.start()
    idle()
    controller.finetuning.use(segment_again=False)
    idle()


def test_every_model_of_the_lineage_can_be_chosen_again(controller, step, reviewed, qtbot, idle, trained):
    assert step.lineage.isHidden()
    for _ in range(2):
        again(controller, idle)
    newest, first, origin = step.lineage.rows
    assert controller.state.model.title == newest.title.text()
    assert not newest.current.isHidden()
    assert newest.back.isHidden()
    assert "score 0.70, before 0.50" in newest.about.text()
    assert origin.about.text() == "Its file is gone"  # the fixture's model has none
    assert not origin.back.isEnabled()
    controller.state.change_objects(threshold=0.3)
    click(qtbot, first.back)
    assert controller.state.model.title == step.lineage.rows[1].title.text()
    assert not step.lineage.rows[1].current.isHidden()
    assert controller.state.objects.threshold == 0.3
    assert "is in use again" in controller.state.message.text
    click(qtbot, step.lineage.rows[0].back)
    assert controller.state.model.title == step.lineage.rows[0].title.text()


def test_a_model_from_scratch_leads_back_to_no_weights(controller, step, reviewed, qtbot, idle):
    new = next(choice for choice in controller.state.models if not choice.trained)
    controller.modelling.choose(new)
    again(controller, idle)
    origin = step.lineage.rows[-1]
    assert origin.title.text() == f"Untrained {new.variant}"
    click(qtbot, origin.back)
    assert not controller.state.model.trained
    assert controller.state.model.variant == new.variant


def test_a_lineage_is_there_again_when_the_image_is_opened_again(
    make_napari_viewer_proxy, controller, client, reviewed, qtbot, idle, blobs
):
    again(controller, idle)
    project = controller.keeper.project(controller.state.image)
    qtbot.waitUntil(lambda: len(project.file.models) == 1)
    title = controller.state.model.title
    controller.keeper.close()
    for path in own().values():
        path.unlink()
    other = make_napari_viewer_proxy()
    second = Controller(other.__wrapped__, client)
    other.add_image(blobs, name="blobs")
    qtbot.waitUntil(lambda: len(second.state.lineage) == 2)
    newest = second.state.lineage[0]
    assert newest.title == title
    assert newest.source.startswith(str(project.folder))  # the copy of the project
    second.lineage.go_back(newest)
    assert second.state.model.source == newest.source
    second.close()


def test_a_lineage_is_shown_of_a_project_that_can_only_be_read(
    make_napari_viewer_proxy, controller, client, reviewed, qtbot, idle, blobs
):
    again(controller, idle)
    project = controller.keeper.project(controller.state.image)
    qtbot.waitUntil(lambda: len(project.file.models) == 1)
    other = make_napari_viewer_proxy()
    second = Controller(other.__wrapped__, client)
    other.add_image(blobs, name="blobs")
    qtbot.waitUntil(lambda: second.state.keeping.offer is not None)
    second.keeper.go_on()
    assert "not saved" in second.state.message.text
    assert second.state.lineage[0].title == controller.state.model.title
    second.close()


def test_a_model_whose_file_goes_meanwhile_is_a_sentence(controller, step, reviewed, qtbot, idle):
    for _ in range(2):
        again(controller, idle)
    row = step.lineage.rows[1]
    source = Path(row.ancestor.source)
    qtbot.waitUntil(lambda: len(controller.keeper.project(controller.state.image).file.models) == 2)
    for path in (source, controller.keeper.project(controller.state.image).models / source.name):
        path.unlink()
    controller.state.models = tuple(one for one in controller.state.models if one.source != str(source))
    click(qtbot, row.back)
    assert controller.state.message.level == "error"
    assert step.lineage.rows[1].about.text() == "Its file is gone"
