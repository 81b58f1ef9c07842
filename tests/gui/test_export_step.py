"""The step Export with the mouse: what is ticked is written, all or nothing."""

import itertools
import json
import time

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_unet.errors import Cancelled
from napari_unet.events import Progress
from napari_unet.export import outputs
from napari_unet.gui import layers
from napari_unet.gui.export_choice import KINDS, recall_choice
from napari_unet.gui.exporting import _all_events, _Job
from napari_unet.gui.panels import ExportPanel
from napari_unet.gui.state import Activity
from napari_unet.imaging.reading import read_image

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def export(viewer, controller, idle, blobs, qtbot, monkeypatch, tmp_path):
    """The step, with a segmented image, and a folder to write to."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    viewer.add_image(blobs, name="well A/1", scale=(0.5, 0.25), units=("um", "um"))
    controller.segmenting.segment()
    idle()
    panel = ExportPanel(viewer)
    qtbot.addWidget(panel)
    panel.show()
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    return panel.steps["Export"], folder


def tick(qtbot, step, *kinds):
    """Tick just these."""
    for kind, box in step.boxes.items():
        if box.isEnabled() and box.isChecked() != (kind in kinds):
            qtbot.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_that_is_ticked_is_written(export, controller, idle, qtbot):
    step, folder = export
    everything = [kind for kind in KINDS if kind != "classes"]
    tick(qtbot, step, *everything)
    click(qtbot, step.export)
    idle(60_000)
    assert controller.state.message.text == f"Exported {len(everything)} files to {folder}."
    ends = ["binary.tif", "masks.ome.zarr", "masks.tif", "masks.tif.json", "objects.csv", "objects.geojson"]
    ends += ["objects.parquet", "overlay.png", "probabilities.tif", "rois.zip", "summary.html"]
    assert {f"well A_1_{end}" for end in ends} <= set(names(folder))
    masks = read_image(folder / "well A_1_masks.tif")
    prediction = next(layers.with_role(controller._desk.viewer, "prediction"))
    assert np.array_equal(np.asarray(masks.array).squeeze(), prediction.data)
    assert masks.pixel_size.along("YX") == pytest.approx((0.5, 0.25))
    assert "5" in (folder / "well A_1_summary.html").read_text()


def test_a_file_beside_says_where_the_masks_come_from(export, controller, idle, qtbot):
    step, folder = export
    tick(qtbot, step, "masks")
    controller.correcting.start()
    click(qtbot, step.export)
    idle()
    origin = json.loads((folder / "well A_1_masks.tif.json").read_text())
    assert origin["model"]["name"] == "blobs"
    assert origin["image"]["name"] == "well A/1"
    assert origin["image"]["pixel_size_um"] == [None, 0.5, 0.25]
    assert origin["corrected"] is True
    assert origin["objects"]["threshold"] == controller.state.objects.threshold


def test_what_cannot_be_written_says_why_and_cannot_be_ticked(viewer, export, controller, blobs):
    step, _ = export
    assert not step.boxes["classes"].isEnabled()
    assert "labels that are classes" in step.boxes["classes"].toolTip()
    assert step.boxes["probabilities"].isEnabled()
    others = viewer.add_labels((blobs > 0).astype(np.uint8), name="others")
    controller.state.export_layer = layers.layer_id(others)
    for kind in ("probabilities", "overlay", "summary"):
        assert not step.boxes[kind].isEnabled()
        assert step.boxes[kind].toolTip()
    assert step.stem.text() == "others"


def test_the_choice_is_remembered(export, qtbot):
    step, _ = export
    tick(qtbot, step, "rois", "summary")
    assert recall_choice().kinds == ("rois", "summary")
    tick(qtbot, step)
    assert not step.export.isEnabled()


def test_files_are_replaced_only_after_asking(export, idle, qtbot, monkeypatch):
    step, folder = export
    tick(qtbot, step, "masks")
    (folder / "well A_1_masks.tif").write_bytes(b"mine")
    asked = []

    def refuse(_parent, _title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", refuse)
    click(qtbot, step.export)
    idle()
    assert "well A_1_masks.tif" in asked[0]
    assert (folder / "well A_1_masks.tif").read_bytes() == b"mine"


def test_cancelling_leaves_nothing_behind(export, controller, idle, qtbot, monkeypatch):
    step, folder = export
    tick(qtbot, step, "masks", "table")

    def endless(*_):
        while True:
            time.sleep(0.01)
            yield Progress("Writing", 1, 2)

    monkeypatch.setattr(outputs, "write_outputs_events", endless)
    click(qtbot, step.export)
    qtbot.waitUntil(lambda: controller.state.advance.total == 2)
    assert controller.state.activity is Activity.WRITING
    assert controller.state.cancellable
    controller.cancel()
    idle()
    assert controller.state.message.text == "Cancelled."
    assert not names(folder)


def test_whenever_it_is_cancelled_there_is_nothing_new(export, controller, qtbot):
    step, folder = export
    tick(qtbot, step, "masks", "rois", "summary")
    former = folder / "well A_1_masks.tif"
    former.write_bytes(b"mine")
    exporting = controller.exporting
    job, result = _Job(folder, "well A_1", exporting.chosen, exporting._options()), exporting._result()
    for at in itertools.count(1):
        events = _all_events(job, result)
        if len(list(itertools.islice(events, at))) < at:
            break  # that was the end
        with pytest.raises(Cancelled):
            events.throw(Cancelled())
        assert names(folder) == [former.name]
        assert former.read_bytes() == b"mine"
    assert at > len(job.kinds)
    assert {"well A_1_rois.zip", "well A_1_summary.html"} <= set(names(folder))
    assert former.read_bytes() != b"mine"


def test_a_name_that_is_none_is_one_sentence(export, controller, qtbot):
    step, folder = export
    step.stem.setText("../elsewhere")
    click(qtbot, step.export)
    assert "is no name for files" in controller.state.message.text
    assert not names(folder)


def test_many_objects_name_the_program_that_will_not_open_them(viewer, export, controller, idle, qtbot):
    step, _ = export
    tick(qtbot, step, "masks")
    many = viewer.add_labels(np.full((8, 8), 70_000, np.uint32))
    controller.state.export_layer = layers.layer_id(many)
    click(qtbot, step.export)
    idle()
    assert "ImageJ's own reader" in step.warning.text()
    assert step.warning.isVisible()


def test_the_folder_can_be_shown(export, idle, qtbot, monkeypatch):
    step, folder = export
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    tick(qtbot, step, "masks")
    assert not step.show_folder.isVisible()
    click(qtbot, step.export)
    idle()
    click(qtbot, step.show_folder)
    assert opened[0].toLocalFile() == str(folder)


def test_a_new_prediction_is_what_gets_exported(export, controller, idle, viewer):
    prediction = next(layers.with_role(viewer, "prediction"))
    assert controller.state.export_layer == layers.layer_id(prediction)
