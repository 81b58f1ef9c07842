"""Opening anybody's weights in the Model step, by hand as a user does."""

import os

import numpy as np
import pytest
import torch
from foreign_files import Trap, milesial, three_ways
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog

from napari_unet.errors import ModelError, UnansweredError
from napari_unet.events import Progress
from napari_unet.gui import layers
from napari_unet.gui.controller import Controller
from napari_unet.gui.panels import Workbench
from napari_unet.gui.remembering import opened_folder
from napari_unet.gui.state import Activity
from napari_unet.jobs import opening
from napari_unet.networks.registry import variants
from napari_unet.weights.file import read_spec
from napari_unet.weights.model import model_from_spec
from napari_unet.weights.recognition.recognised import Question
from napari_unet.weights.spec import untrained_spec

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def panel(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    made.resize(380, 900)
    made.show()
    return made


@pytest.fixture
def step(panel):
    return panel.steps["Model"]


@pytest.fixture
def with_image(viewer, blobs):
    return viewer.add_image(np.tile(blobs, (4, 4)))


@pytest.fixture
def theirs(tmp_path):
    """Save what a program of somebody else's would."""

    def save(name, content):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def click(qtbot, idle):
    """Click a widget with the mouse, and wait."""

    def click(widget):
        qtbot.mouseClick(widget, LEFT)
        idle()

    return click


@pytest.fixture
def open_by_button(step, click, monkeypatch):
    """Press the button, choose a file in the dialog, and wait."""

    def press(path):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args: (str(path), ""))
        click(step.open)

    return press


def test_weights_of_another_program_are_opened_recognised_and_predict(
    viewer, controller, step, open_by_button, click, theirs, blobs
):
    path = theirs("carvana.pth", milesial())
    viewer.add_image(blobs)
    open_by_button(path)
    model = controller.state.model
    assert (model.title, model.origin) == ("carvana.pth", str(path))
    assert read_spec(model.source) == model.spec
    assert step.title.text() == "carvana.pth"
    assert step.opening.isHidden()
    assert not step.report.isHidden()
    assert step.report.text.isHidden()
    click(step.report.fold)
    assert "milesial" in step.report.text.text()
    assert "each found its place" in step.report.text.text()
    assert step.models.tree.currentItem().text(0) == "carvana.pth"
    click(step.window().steps["Segment"].segment)
    assert list(layers.with_role(viewer, "prediction"))


def test_an_answer_is_given_by_clicking_its_picture_and_remembered(
    with_image, controller, client, step, open_by_button, click, theirs
):
    path = theirs("forgotten.pt", three_ways())
    before = controller.state.model
    open_by_button(path)
    assert controller.state.model == before
    assert not step.opening.isHidden()
    assert "features of encoder and decoder meet" in step.opening.question.text()
    assert [answer.keyword.text() for answer in step.opening.answers] == ["join = crop", "join = pad", "join = same"]
    (compared,) = [request for request in client.requests if request.kind == "compare"]
    assert [stop - start for start, stop in compared.region] == [1, 1, 256, 256]
    for answer in step.opening.answers:
        assert not answer.foreground.pixmap().isNull()
        assert not answer.image.pixmap().isNull()
    click(step.opening.answers[2])
    assert controller.state.model.spec.network.variant == "unet-batchnorm"
    assert step.opening.isHidden()
    assert "join" in step.report.text.text()
    open_by_button(path)
    assert step.opening.isHidden()
    assert controller.state.model.spec.network.variant == "unet-batchnorm"
    click(step.report.fold)
    click(step.report.again)
    assert len(step.opening.answers) == 3


def test_without_an_image_the_answers_are_described(controller, client, step, open_by_button, theirs):
    open_by_button(theirs("forgotten.pt", three_ways()))
    assert [request.kind for request in client.requests] == ["open"]
    assert step.opening.answers[1].text.text().startswith("Unpadded convolutions")
    assert step.opening.answers[1].foreground.pixmap().isNull()
    assert "With an image open" in step.opening.hint.text()


def test_an_answer_can_be_clicked_before_the_pictures_are_drawn(with_image, controller, step, idle, qtbot, theirs):
    controller.opening.open_file(str(theirs("forgotten.pt", three_ways())))
    qtbot.waitUntil(lambda: controller.state.activity is Activity.COMPARING)
    assert step.opening.answers[0].isEnabled()
    qtbot.mouseClick(step.opening.answers[0], LEFT)
    qtbot.waitUntil(lambda: controller.state.model.title == "forgotten.pt")
    assert controller.state.model.spec.network.variant == "unet-batchnorm-crop"
    idle()
    assert controller.state.opening is None


def test_pictures_show_one_by_one(with_image, controller, client, step, idle, qtbot, theirs):
    client.hold_at = "compare"
    controller.opening.open_file(str(theirs("forgotten.pt", three_ways())))
    qtbot.waitUntil(lambda: client.hold)
    client.hold = False

    def drawn():
        return [not answer.foreground.pixmap().isNull() for answer in step.opening.answers]

    qtbot.waitUntil(lambda: drawn() == [True, False, False])
    assert "Trying each answer" in step.opening.hint.text()
    idle()
    assert drawn() == [True, True, True]


def test_a_dangerous_file_is_refused_in_a_sentence_and_never_run(
    controller, step, open_by_button, trained, click, theirs, tmp_path
):
    marker = tmp_path / "was-run"
    open_by_button(theirs("trap.pt", {**milesial(), "extra": Trap(marker)}))
    assert not marker.exists()
    assert "mkdir" in step.opening.refusal.text()
    assert step.opening.partial.isHidden()
    assert controller.state.model == trained
    click(step.opening.leave)
    assert step.opening.isHidden()
    assert not controller.browsing._memory.recent


def test_what_fits_of_an_almost_known_network_is_opened_on_request(controller, step, open_by_button, click, theirs):
    state = milesial()
    del state["up1.up.bias"]
    open_by_button(theirs("almost.pt", state))
    assert "up1.up.bias" in step.opening.refusal.text()
    assert "partial=" not in step.opening.refusal.text()
    click(step.opening.partial)
    assert controller.state.model.title == "almost.pt"
    assert "random weights" in step.random.text()
    open_by_button(controller.state.model.origin)
    assert not step.opening.isHidden()


def test_opening_can_be_cancelled(controller, trained, click, theirs, panel):
    controller.opening.open_file(str(theirs("carvana.pth", milesial())))
    assert controller.state.activity is Activity.OPENING
    click(panel.status.cancel)
    assert controller.state.message.text == "Cancelled."
    assert controller.state.model == trained
    assert not opened_folder().exists()


def drop(widget, *paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    place, actions, keys = QPointF(20, 20), Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    entered = QDragEnterEvent(place.toPoint(), actions, mime, LEFT, keys)
    QApplication.sendEvent(widget, entered)
    if entered.isAccepted():
        QApplication.sendEvent(widget, QDropEvent(place, actions, mime, LEFT, keys))


def test_a_file_dropped_onto_the_step_is_opened(controller, step, idle, theirs):
    drop(step, theirs("carvana.pth", milesial()))
    idle()
    assert controller.state.model.title == "carvana.pth"


def test_recent_files_and_the_folder_outlive_the_session(
    client, step, open_by_button, click, qtbot, theirs, monkeypatch
):
    path, gone = theirs("carvana.pth", milesial()), theirs("gone.pth", milesial())
    (path.parent / "notes.txt").write_text("no weights")
    open_by_button(gone)
    open_by_button(path)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(path.parent))
    click(step.folder)
    gone.unlink()
    model = ViewerModel()
    again = Controller(model, type(client)())
    shelves = {shelf.title: [item.title for item in shelf.items] for shelf in again.state.shelves}
    assert shelves["Recent"] == ["carvana.pth"]
    assert shelves[f"Folder: {path.parent.name}"] == ["carvana.pth"]
    (listed,) = next(shelf.items for shelf in again.state.shelves if shelf.title == "Recent")
    again.opening.open_file(listed.path)
    qtbot.waitUntil(lambda: not again.state.busy)
    assert again.state.model.title == "carvana.pth"
    again.close()


def test_a_recent_file_is_opened_by_clicking_it(controller, step, idle, qtbot, theirs, click_model):
    controller.browsing.add_recent(str(theirs("carvana.pth", milesial())))
    click_model(qtbot, step, "carvana.pth")
    idle()
    assert controller.state.model.title == "carvana.pth"


def test_a_damaged_memory_is_forgotten(client, own_home):
    (own_home / "browser.json").write_text('{"recent": 3')
    model = ViewerModel()
    made = Controller(model, client)
    assert "Recent" not in [shelf.title for shelf in made.state.shelves]
    made.close()


def test_searching_shows_what_has_the_words(step, qtbot):
    tree = step.models.tree
    qtbot.keyClicks(step.models.search, "volumes")
    shown = [item.text(0) for item in step.models._items() if not item.isHidden()]
    assert "unet-3d" in shown
    assert "unet-small" not in shown
    assert step.models.item("unet-3d").parent().isExpanded()
    qtbot.keyClicks(step.models.search, " nonsense")
    assert all(tree.topLevelItem(n).isHidden() for n in range(tree.topLevelItemCount()))
    assert not step.models.nothing.isHidden()


def test_every_variant_is_in_one_group(controller):
    listed = [item.title for shelf in controller.state.shelves if shelf.title.startswith("New") for item in shelf.items]
    assert sorted(listed) == sorted(variants())


def test_downloading_asks_for_a_name_and_says_what_went_wrong(controller, client, step, click, monkeypatch):
    monkeypatch.setattr(QInputDialog, "getText", lambda *args: ("affable-shark", True))
    client.fail = "bioimage.io cannot be reached. Connect to the internet, or open a file."
    click(step.download)
    assert [(request.kind, request.name) for request in client.requests] == [("download", "affable-shark")]
    assert controller.state.message.text == client.fail


def test_a_downloaded_package_is_opened_and_stays_in_the_list(controller, step, click, own_home, theirs, monkeypatch):
    path = theirs("weights.pt", milesial())

    def download(name):
        yield Progress(f"Downloading {name}", 1, 2)
        return path

    monkeypatch.setattr(QInputDialog, "getText", lambda *args: (" affable-shark ", True))
    monkeypatch.setattr(opening.collection, "download_events", download)
    click(step.download)
    assert controller.state.model.title == "weights.pt"
    (own_home / "bioimage.io" / "affable-shark").mkdir(parents=True)
    (own_home / "bioimage.io" / "affable-shark" / "rdf.yaml").write_text("type: model")
    controller.browsing.show()
    assert step.models.item("affable-shark").parent().text(0) == "From bioimage.io"


def test_a_file_that_has_changed_is_opened_again(client, step, open_by_button, idle, qtbot, theirs, click_model):
    path = theirs("carvana.pth", milesial())
    open_by_button(path)
    click_model(qtbot, step, "unet-small")
    click_model(qtbot, step, "carvana.pth")
    assert [request.kind for request in client.requests] == ["open"]
    theirs("carvana.pth", milesial(width=8))
    os.utime(path, ns=(1, 1))
    click_model(qtbot, step, "unet-small")
    click_model(qtbot, step, "carvana.pth")
    idle()
    assert step.state.model.spec.network.options["width"] == 8


def test_a_program_can_only_predict(controller, step, trained, viewer, blobs):
    viewer.add_image(blobs)
    controller.modelling.add(trained.model_copy(update={"title": "net.onnx", "can_train": False}))
    assert not step.only_predicts.isHidden()
    controller.finetuning.start()
    assert "can only predict" in controller.state.message.text


def test_a_program_runs_only_after_a_plain_yes(with_image, client, step, open_by_button, click, theirs, monkeypatch):
    asked = Question("trust", {True: "run it: I know who made it"}, "It is a program and not only weights.")
    given = []

    def load(path, **answers):
        given.append(answers)
        if answers.get("trust") is not True:
            raise UnansweredError("It is not run.", [asked])
        return model_from_spec(untrained_spec("unet-small", width=4, depth=1))

    monkeypatch.setattr(opening, "load_model", load)
    path = theirs("script.pt", {})
    open_by_button(path)
    assert step.opening.question.objectName() == "warning"
    assert "not only weights" in step.opening.question.text()
    assert [request.kind for request in client.requests] == ["open"]
    click(step.opening.leave)
    assert step.opening.isHidden()
    assert given == [{}]
    open_by_button(path)
    (yes,) = step.opening.answers
    assert yes.text() == "Run it: I know who made it"
    click(yes)
    assert given == [{}, {}, {"trust": True}]
    assert step.state.model.title == "script.pt"


def test_an_answer_that_cannot_be_drawn_says_why(with_image, step, open_by_button, theirs, monkeypatch):
    real = opening.load_model

    def load(path, **answers):
        if answers.get("join") == "pad":
            raise ModelError("This needs a package that is not installed.")
        return real(path, **answers)

    monkeypatch.setattr(opening, "load_model", load)
    open_by_button(theirs("forgotten.pt", three_ways()))
    drawn = [not answer.foreground.pixmap().isNull() for answer in step.opening.answers]
    assert drawn == [True, False, True]
    assert step.opening.answers[1].why_not.text() == "This needs a package that is not installed."


def test_the_size_of_a_new_network_can_be_changed(controller, step, click_model, qtbot):
    click_model(qtbot, step, "unet-small")
    form = step.form
    assert (form.width.value(), form.depth.value()) == (16, 4)
    qtbot.keyClick(form.depth, Qt.Key.Key_Down)
    form.dims.setCurrentIndex(1)
    form.dims.activated.emit(1)
    spec = controller.state.model.spec
    assert (spec.network.options, spec.dims) == ({"depth": 3, "dims": 3}, 3)
    assert not step.untrained.isHidden()
    click_model(qtbot, step, "resnet18-unet")
    assert form.width.isHidden()
    assert not form.depth.isHidden()
    assert controller.state.model.spec.network.options == {}


def test_every_variant_can_be_chosen(controller, step):
    for choice in controller.state.models:
        if not choice.trained:
            controller.modelling.choose(choice)
            assert step.title.text() == choice.variant
            assert controller.state.model.spec.network.variant == choice.variant
            assert step.models.tree.currentItem().text(0) == choice.variant
