"""Fine-tuning from the panel, with a background process that is none."""

import numpy as np
import pytest

from napari_unet.gui import layers
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
