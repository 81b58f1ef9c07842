"""After a crash: what is offered, and what each button does; nothing of it removes anything."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.saving_line import SavingLine
from napari_unet.session.project import Project
from napari_unet.session.recovery import restore

IMAGE = np.random.default_rng(0).integers(0, 999, (6, 96, 128)).astype(np.uint16)


@pytest.fixture
def crashed(viewer, client, controller, qtbot):
    """A line of the panel after a crash, its controller, and the corrections of the last snapshot and of the end."""
    viewer.add_image(IMAGE, name="cells", scale=(2, 0.5, 0.5))
    controller.correcting.start()
    state, keeper = controller.state, controller.keeper
    qtbot.waitUntil(lambda: state.keeping.saved, timeout=20_000)
    layer, _ = controller._desk.correction()
    session = keeper._kept[state.image].session
    layer.paint((0, 20, 20), 3)
    qtbot.waitUntil(lambda: state.keeping.saved and not keeper._kept[state.image].recorders[0].owes, timeout=20_000)
    session.snapshot()
    saved = layer.data.copy()
    qtbot.waitUntil(lambda: 3 in restore(session.project, journal=False).layers["correction"].array, timeout=20_000)
    for column in (40, 60, 80):
        layer.paint((0, 60, column), 5)
    end = layer.data.copy()
    qtbot.waitUntil(lambda: np.array_equal(restore(session.project).layers["correction"].array, end), timeout=20_000)
    session.project.lock.release()  # as when the program ends
    keeper._kept.clear()
    keeper.close()
    for old in list(viewer.layers):
        viewer.layers.remove(old)
    again = Controller(viewer, client)
    viewer.add_image(IMAGE, name="cells", scale=(2, 0.5, 0.5))
    line = SavingLine(again)
    qtbot.addWidget(line)
    line.show()
    qtbot.waitUntil(lambda: again.state.keeping.offer is not None, timeout=20_000)
    yield line, again, saved, end
    again.close()


def click(qtbot, button, controller):
    assert button.isVisible()
    assert button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controller.state.keeping.saved, timeout=20_000)


def project_of(controller):
    return controller.keeper._kept[controller.state.image].session.project


def put_aside(controller, monkeypatch):
    """What lies in the folder of earlier corrections, and nowhere else."""
    folder = project_of(controller).folder / "earlier"
    (aside,) = folder.iterdir()
    monkeypatch.setenv("NAPARI_UNET_HOME", str(aside))
    return restore(Project(aside, project_of(controller).file)).layers["correction"].array


def on_disk(controller):
    return restore(project_of(controller)).layers["correction"].array


def test_it_says_how_much_is_there(crashed):
    line, *_ = crashed
    assert "napari ended without closing this image" in line.offer.text()
    assert "3 edits of them made after the last snapshot" in line.offer.text()


def test_everything_comes_back(crashed, qtbot):
    line, controller, _, end = crashed
    click(qtbot, line.go_on, controller)
    assert np.array_equal(controller._desk.correction()[0].data, end)
    assert np.array_equal(on_disk(controller), end)
    assert not line.card.isVisible()


def test_the_last_snapshot_comes_back_and_the_rest_is_put_aside(crashed, qtbot, monkeypatch):
    line, controller, saved, end = crashed
    click(qtbot, line.saved, controller)
    layer, _ = controller._desk.correction()
    assert np.array_equal(layer.data, saved)
    with monkeypatch.context() as elsewhere:
        assert np.array_equal(put_aside(controller, elsewhere), end)
    layer.paint((2, 5, 5), 9)
    qtbot.waitUntil(lambda: 9 in on_disk(controller), timeout=20_000)
    assert np.array_equal(on_disk(controller), layer.data)


def test_both_are_kept(crashed, qtbot, viewer, monkeypatch):
    line, controller, saved, end = crashed
    click(qtbot, line.both, controller)
    layer, _ = controller._desk.correction()
    beside = viewer.layers["cells correction (last saved)"]
    assert np.array_equal(layer.data, end)
    assert np.array_equal(beside.data, saved)
    assert np.allclose(beside.scale, layer.scale)
    assert not beside.editable
    with pytest.raises(ValueError, match="read-only"):
        beside.data[0, 0, 0] = 1
    with monkeypatch.context() as elsewhere:
        assert np.array_equal(put_aside(controller, elsewhere), end)
    layer.paint((2, 5, 5), 9)
    qtbot.waitUntil(lambda: np.array_equal(on_disk(controller), layer.data), timeout=20_000)
    assert np.array_equal(beside.data, saved)
