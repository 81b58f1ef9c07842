"""The models of an image, and the way back to each."""

from pathlib import Path

from clicking import click

from napari_unet.gui.controller import Controller
from napari_unet.weights.bundled import own


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
