"""Masks of other programs become corrections, which are kept like all others."""

import gc
import json
import zipfile

import numpy as np
import pytest
import tifffile
from clicking import click
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog

from napari_unet.export.rois import save_rois
from napari_unet.gui import layers
from napari_unet.gui.label_reading import get_reader
from napari_unet.gui.panels import Workbench
from napari_unet.session.recovery import restore


def cells(shape=(96, 128)):
    labels = np.zeros(shape, np.uint16)
    labels[5:15, 5:20], labels[30:50, 60:90] = 3, 8
    return labels


@pytest.fixture
def image(viewer, controller):
    return viewer.add_image(np.ones((96, 128), np.uint8), name="cells", scale=(0.5, 0.5), units=("um", "um"))


def write_seg(path, labels):
    np.save(path, {"masks": labels, "filename": "cells.tif"}, allow_pickle=True)


def write_tiff(path, labels):
    tifffile.imwrite(path, labels)


def write_rois(path, labels):
    save_rois(path, labels, "YX")


WRITERS = {"cells_seg.npy": write_seg, "cells_cp_masks.tif": write_tiff, "cells.zip": write_rois}


@pytest.mark.parametrize("name", WRITERS)
def test_masks_are_corrections_on_the_image(controller, image, idle, tmp_path, name):
    WRITERS[name](tmp_path / name, cells())
    controller.importing.open_masks(str(tmp_path / name))
    idle()
    correction, reviewed = controller._desk.correction()
    assert np.array_equal(correction.data > 0, cells() > 0)
    assert len(np.unique(correction.data)) == 3
    assert list(correction.scale) == [0.5, 0.5]
    assert not reviewed.data.any()
    assert controller.state.message.text.startswith(f"2 objects opened from “{name}”. Mark what is right")


def test_they_are_kept_on_the_disk_from_the_start(controller, image, idle, qtbot, tmp_path):
    write_seg(tmp_path / "cells_seg.npy", cells())
    controller.importing.open_masks(str(tmp_path / "cells_seg.npy"))
    idle()
    correction, _ = controller._desk.correction()
    correction.paint((70, 20), 9)
    qtbot.waitUntil(lambda: controller.state.keeping.saved, timeout=20_000)
    session = controller.keeper._kept[layers.layer_id(image)].session
    assert np.array_equal(restore(session.project).layers["correction"].array, correction.data)


def test_what_is_reviewed_stays_and_one_undo_brings_the_rest_back(controller, image, idle, tmp_path):
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    correction.data_setitem(np.nonzero(cells() == 3), 1)
    reviewed.data_setitem(np.nonzero(np.indices((96, 128))[0] < 20), 1)
    before = correction.data.copy()
    write_tiff(tmp_path / "masks.tif", cells())
    controller.importing.open_masks(str(tmp_path / "masks.tif"))
    idle()
    assert (correction.data[5:15, 5:20] == 1).all()
    assert correction.data[40, 70] > 1
    assert "reviewed kept" in controller.state.message.text
    correction.undo()
    assert np.array_equal(correction.data, before)


def test_masks_of_another_image_are_one_sentence_and_change_nothing(viewer, controller, image, idle, tmp_path):
    write_tiff(tmp_path / "other.tif", cells((120, 128)))
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    write_tiff(tmp_path / "empty.tif", np.zeros((96, 128), np.uint8))
    sentences = {"other.tif": "120 × 128", "broken.zip": "broken.zip", "empty.tif": "no objects"}
    for name, part in sentences.items():
        controller.importing.open_masks(str(tmp_path / name))
        idle()
        assert controller.state.message.level == "error"
        assert part in controller.state.message.text
    assert list(viewer.layers) == [image]


def test_no_image_is_one_sentence(controller, tmp_path):
    controller.importing.open_masks(str(tmp_path / "cells_seg.npy"))
    assert "No image is chosen" in controller.state.message.text


def test_the_button_opens_what_is_chosen(viewer, controller, image, idle, qtbot, monkeypatch, tmp_path):
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    panel.show_step("Correct")
    panel.show()
    write_seg(tmp_path / "cells_seg.npy", cells())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "cells_seg.npy"), ""))
    click(qtbot, panel.steps["Correct"].bring)
    idle()
    assert controller._desk.correction()[0].data.max() == 8
    assert panel.steps["Correct"].start.text() == "Go on correcting"


@pytest.fixture
def installed(npe2pm):
    """napari with no other plugin than this one."""
    with npe2pm.tmp_plugin(package="napari-unet"):
        yield


def drop_onto(viewer, path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(20, 20), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    viewer.__wrapped__.window._qt_viewer.dropEvent(event)


def test_dropped_masks_open_the_workbench_at_its_step(installed, viewer, controller, image, idle, tmp_path):
    write_rois(tmp_path / "cells.zip", cells())
    drop_onto(viewer, tmp_path / "cells.zip")
    idle()
    assert len(np.unique(controller._desk.correction()[0].data)) == 3
    (panel,) = [widget for widget in viewer.window.dock_widgets.values() if hasattr(widget, "titles")]
    assert panel.titles[panel.pages.currentIndex()] == "Correct"
    del panel
    gc.collect()


def test_masks_without_an_image_are_labels(installed, viewer, controller, tmp_path):
    write_seg(tmp_path / "cells_seg.npy", cells())
    drop_onto(viewer, tmp_path / "cells_seg.npy")
    (layer,) = viewer.layers
    assert type(layer).__name__ == "Labels"
    assert np.array_equal(layer.data, cells())


def test_archives_and_arrays_of_others_are_left_to_them(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("1.tif", b"something")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "plain_seg.npy", np.zeros((8, 8)))
    assert [get_reader(str(path)) for path in sorted(tmp_path.iterdir())] == [None] * 3
    (tmp_path / "cells.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert get_reader(str(tmp_path / "cells.geojson")) is not None
