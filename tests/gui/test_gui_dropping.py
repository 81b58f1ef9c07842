"""Weights files that are dropped onto napari itself."""

import gc
import zipfile

import h5py
import numpy as np
import pytest
import torch
from foreign_files import milesial
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_unet.gui.controller import controller_of
from napari_unet.gui.panels import Panel
from napari_unet.gui.reading import get_reader
from napari_unet.weights.bundled import bundled


def drop_onto(viewer, path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(20, 20), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    viewer.__wrapped__.window._qt_viewer.dropEvent(event)


def panels(viewer):
    return [widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, Panel)]


@pytest.fixture
def installed(npe2pm):
    """napari with no other plugin than this one."""
    with npe2pm.tmp_plugin(package="napari-unet"):
        yield


def test_a_dropped_file_opens_the_workbench_and_is_opened_there(installed, viewer, controller, idle, tmp_path):
    torch.save(milesial(), tmp_path / "carvana.pth")
    drop_onto(viewer, tmp_path / "carvana.pth")
    idle()
    (panel,) = panels(viewer)
    assert panel.controller is controller_of(viewer)
    assert controller.state.model.title == "carvana.pth"
    panel.show_step("Segment")
    drop_onto(viewer, next(iter(bundled().values())))
    idle()
    assert panels(viewer) == [panel]
    assert panel.pages.currentIndex() == 0
    assert controller.state.model.source == str(next(iter(bundled().values())))
    assert not viewer.layers
    del panel
    gc.collect()


def write_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"something")


def test_files_of_other_plugins_are_left_to_them(tmp_path):
    np.savez(tmp_path / "images.npz", image=np.zeros((8, 8)), labels=np.zeros((8, 8)))
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["raw"] = np.zeros((4, 8, 8))
    write_zip(tmp_path / "images.zip", ["1.tif", "2.tif"])
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    assert [get_reader(str(path)) for path in sorted(tmp_path.iterdir())] == [None] * 4


def test_weights_of_ambiguous_suffixes_are_taken(tmp_path):
    np.savez(tmp_path / "variables.npz", **{f"conv{n}/weights": np.zeros((3, 3)) for n in range(4)})
    with h5py.File(tmp_path / "unet.weights.h5", "w") as file:
        file.create_group("model_weights").attrs["layer_names"] = [b"conv2d"]
    write_zip(tmp_path / "package.zip", ["rdf.yaml", "weights.pt"])
    (tmp_path / "damaged.pt").write_bytes(b"")
    assert all(get_reader(str(path)) is not None for path in tmp_path.iterdir())
