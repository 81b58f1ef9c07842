"""What cannot be done is one sentence, and the buttons wait."""

import numpy as np
import pytest

from napari_unet.gui.panels import Workbench


@pytest.fixture
def panel(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made


def refused(panel, words):
    step = panel.steps["Segment"]
    return not step.segment.isEnabled() and not step.preview.isEnabled() and words in step.obstacle.text()


def test_no_image(panel, controller):
    assert refused(panel, "No image is chosen")
    controller.segmenting.segment()
    assert "No image is chosen" in controller.state.message.text
    controller.segmenting.preview()
    controller.correcting.start()
    assert controller.state.message.level == "error"


@pytest.mark.parametrize(
    ("axes", "words"),
    [("ZYX", "name 3 dimensions"), ("YY", "twice"), ("QX", "contain Q"), ("ZX", "lack Y or X"), ("", "lack Y or X")],
)
def test_wrong_axes(viewer, panel, controller, blobs, axes, words):
    viewer.add_image(blobs)
    field = panel.steps["Segment"].axes
    field.setText(axes)
    field.editingFinished.emit()
    assert refused(panel, words)
    field.setText("yx")
    field.editingFinished.emit()
    assert field.text() == "YX"
    assert panel.steps["Segment"].segment.isEnabled()


def test_channels_that_do_not_fit(viewer, panel, controller, blobs):
    viewer.add_image(np.stack([blobs] * 2))
    assert refused(panel, "Choose which channels")
    chooser = panel.steps["Segment"].channels
    (box,) = chooser.boxes
    assert [box.itemText(i) for i in range(box.count())] == ["Choose…", "1 of 2", "2 of 2"]
    box.setCurrentIndex(2)
    box.activated.emit(2)
    assert controller.state.channels == (1,)
    assert panel.steps["Segment"].segment.isEnabled()


def test_a_model_without_weights(viewer, panel, controller, blobs):
    viewer.add_image(blobs)
    controller.modelling.choose(next(m for m in controller.state.models if not m.trained))
    assert refused(panel, "has no weights yet")
    assert panel.steps["Correct"].start.isEnabled()


def test_a_model_for_volumes_on_a_plane(viewer, panel, controller, trained, blobs):
    viewer.add_image(blobs)
    volumes = trained.model_copy(update={"spec": trained.spec.model_copy(update={"dims": 3})})
    controller.modelling.choose(volumes)
    assert refused(panel, "single slice")


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_model(controller, idle, tmp_path, trained, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    controller.opening.open_file(str(path))
    idle()
    assert controller.state.message.level == "error"
    assert "weights.safetensors" in controller.state.message.text
    assert "weights.safetensors" in controller.state.opening.refusal
    assert controller.state.model == trained


def test_nothing_reviewed(viewer, panel, controller, qtbot, blobs):
    step = panel.steps["Fine-tune"]
    assert "no correction layer yet" in step.obstacle.text()
    viewer.add_image(blobs)
    controller.correcting.start()
    qtbot.waitUntil(lambda: len(controller.state.counts) == 1)
    assert not step.start.isEnabled()
    assert "Nothing is marked as reviewed" in step.obstacle.text()


def test_classes_without_a_background(controller, panel):
    controller.modelling.choose(next(m for m in controller.state.models if not m.trained))
    controller.modelling.describe_new("semantic", "cell", 1)
    assert "at least two different classes" in controller.state.message.text
    controller.modelling.describe_new("semantic", "background, cell, debris", 2)
    spec = controller.state.model.spec
    assert (spec.classes, spec.meaning) == (("background", "cell", "debris"), "semantic")
    assert spec.network.in_channels == 2


def test_a_full_disk_is_one_sentence_and_nothing_changes(viewer, controller, idle, blobs, monkeypatch):
    from napari_unet.errors import ExportError

    def full(*_, **__):
        raise ExportError("The temporary folder has 0.1 MB free, and 5.0 MB are needed.")

    viewer.add_image(blobs)
    monkeypatch.setattr(controller._desk.scratch, "array", full)
    controller.segmenting.segment()
    idle()
    assert "MB are needed" in controller.state.message.text
    assert len(viewer.layers) == 1
    monkeypatch.undo()
    controller.segmenting.segment()
    idle()
    assert controller.state.message.level == "info"


def test_a_gpu_shows_its_free_memory(panel, controller):
    from napari_unet.jobs.requests import Device

    controller.state.devices = (
        *controller.state.devices,
        Device(name="cuda:0", title="NVIDIA A100", free_bytes=38_000_000_000),
    )
    devices = panel.steps["Segment"].devices
    assert devices.itemText(devices.count() - 1) == "NVIDIA A100 · 38.0 GB free"
    devices.setCurrentIndex(devices.count() - 1)
    devices.activated.emit(devices.count() - 1)
    assert controller.state.device == "cuda:0"
