"""Fine-tuning from the panel, with a background process that is none."""

import numpy as np
import pytest
from clicking import click, preview

from napari_unet.gui import layers
from napari_unet.gui.verdicts import told
from napari_unet.jobs.finetuned import Measured
from napari_unet.jobs.requests import FinetuneResult
from napari_unet.weights.bundled import own


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
    qtbot.waitUntil(lambda: bool(client.requests) and client.requests[-1].kind == "merge", timeout=30_000)
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
