"""A model is saved or shared with a small dialog, clicked through as a user does."""

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_unet.export.package.card import LICENSES
from napari_unet.gui import sharing
from napari_unet.gui.panels import Workbench
from napari_unet.gui.widgets.share_dialog import ShareDialog


@pytest.fixture
def step(viewer, controller, qtbot):
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    panel.show()
    panel.show_step("Model")
    return panel.steps["Model"]


@pytest.fixture
def dialog(step, qtbot):
    """The dialog, opened by a click on its button."""

    def opened():
        qtbot.waitUntil(lambda: not step.findChildren(ShareDialog))
        click(qtbot, step.share)
        (found,) = step.findChildren(ShareDialog)
        qtbot.waitUntil(found.isVisible)
        return found

    return opened


@pytest.fixture
def file_dialog(monkeypatch, tmp_path):
    """Answers for the dialog of the system; tells what it was asked for."""
    asked = []

    def answer(parent, title, name, kinds):
        asked.append((name, kinds))
        return str(tmp_path / "shared"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    return asked


def choose(qtbot, radio):
    """Click on the circle: the rest of a wide radio button does not react."""
    qtbot.mouseClick(radio, Qt.MouseButton.LeftButton, pos=QPoint(8, radio.height() // 2))


def test_a_package_is_written_with_its_author(dialog, client, controller, idle, qtbot, file_dialog, tmp_path):
    window = dialog()
    choose(qtbot, window.formats["package"])
    assert not window.save.isEnabled()
    assert "at least one author" in window.reason.text()
    window.authors.setFocus()
    qtbot.keyClicks(window.authors, "Ada Author, Ben")
    assert not window.reason.isVisible()
    qtbot.keyClick(window.description, Qt.Key.Key_End)
    qtbot.keyClicks(window.description, " Of yeast.")
    click(qtbot, window.save)
    idle()
    request = client.requests[-1]
    assert (request.kind, request.path, request.image) == ("share", str(tmp_path / "shared.zip"), None)
    card = request.options.card
    assert card.authors == ("Ada Author", "Ben")
    assert card.description.endswith("Of yeast.")
    assert request.model == controller.state.model.ref
    assert (tmp_path / "shared.zip").exists()
    assert controller.state.message.text == f"Saved the model as {request.path}. Objects must be bright."
    assert file_dialog == [("blobs-shared.zip", "bioimage.io package (*.zip)")]


@pytest.mark.parametrize(("kind", "suffix"), [("model", ".safetensors"), ("torchscript", ".pt"), ("onnx", ".onnx")])
def test_other_formats_need_no_author(  # noqa: PLR0917
    dialog, client, idle, qtbot, file_dialog, tmp_path, kind, suffix
):
    window = dialog()
    choose(qtbot, window.formats[kind])
    assert not window.about.isVisible()
    click(qtbot, window.save)
    idle()
    request = client.requests[-1]
    assert (request.path, request.options.format) == (str(tmp_path / f"shared{suffix}"), kind)
    assert request.options.card is None


def test_author_licence_and_format_are_remembered(dialog, client, idle, qtbot, file_dialog):
    window = dialog()
    choose(qtbot, window.formats["package"])
    qtbot.keyClicks(window.authors, "Ada")
    window.license.setFocus()
    qtbot.keyClick(window.license, Qt.Key.Key_Down)
    click(qtbot, window.save)
    idle()
    again = dialog()
    assert again.formats["package"].isChecked()
    chosen = client.requests[-1].options.card.license
    assert chosen != LICENSES[0]
    assert (again.authors.text(), again.license.currentText()) == ("Ada", chosen)
    click(qtbot, again.cancel)
    assert len([request for request in client.requests if request.kind == "share"]) == 1


def test_the_chosen_image_is_shown_only_if_that_is_wanted(dialog, viewer, client, idle, qtbot, file_dialog):
    window = dialog()
    assert not window.picture.isEnabled()
    assert "No image" in window.picture.toolTip()
    click(qtbot, window.cancel)
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (40, 50)).astype("uint8"), name="mine")
    window = dialog()
    choose(qtbot, window.formats["package"])
    assert not window.picture.isChecked()
    choose(qtbot, window.picture)
    qtbot.keyClicks(window.authors, "Ada")
    click(qtbot, window.save)
    idle()
    image = client.requests[-1].image
    assert (image.name, image.axes, image.array.shape) == ("mine", "YX", (40, 50))


def test_what_cannot_be_shared_says_why(step, controller, trained, qtbot):
    assert step.share.isEnabled()
    controller.modelling.choose(next(choice for choice in controller.state.models if not choice.trained))
    assert not step.share.isEnabled()
    assert "random weights" in step.share.toolTip()
    controller.modelling.choose(trained.model_copy(update={"can_train": False}))
    assert not step.share.isEnabled()
    assert "program of another file" in step.share.toolTip()
    controller.modelling.choose(trained)
    assert step.share.isEnabled()


def test_onnx_needs_its_libraries(dialog, monkeypatch):
    monkeypatch.setattr(sharing, "ONNX_LIBRARIES", ("a_library_that_nobody_has",))
    window = dialog()
    assert not window.formats["onnx"].isEnabled()
    assert "pip install napari-unet[onnx]" in window.formats["onnx"].toolTip()
    assert window.formats["model"].isEnabled()


def test_a_failure_is_told_and_the_panel_goes_on(dialog, client, controller, idle, qtbot, file_dialog, tmp_path):
    client.fail = "The disk is full."
    window = dialog()
    choose(qtbot, window.formats["model"])
    click(qtbot, window.save)
    idle()
    assert controller.state.message.level == "error"
    assert controller.state.message.text == "The disk is full."
    assert not list(tmp_path.glob("shared*"))


def test_it_can_be_cancelled(dialog, client, controller, idle, qtbot, file_dialog, step):
    client.hold = True
    window = dialog()
    choose(qtbot, window.formats["torchscript"])
    click(qtbot, window.save)
    assert not step.share.isEnabled()
    qtbot.waitUntil(lambda: controller.state.cancellable)
    controller.cancel()
    idle()
    assert controller.state.message.text == "Cancelled."
    assert step.share.isEnabled()


def test_the_file_of_the_model_itself_is_not_replaced(dialog, controller, trained, qtbot, monkeypatch, tmp_path, idle):
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"mine")
    controller.modelling.choose(trained.model_copy(update={"source": str(path)}))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *words: (str(path), ""))
    window = dialog()
    choose(qtbot, window.formats["model"])
    click(qtbot, window.save)
    idle()
    assert "is the file of this model itself" in controller.state.message.text
    assert path.read_bytes() == b"mine"
