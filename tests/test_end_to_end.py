"""The whole loop in a real window, with real mouse events and the real background process.

Half of an image that the bundled model gets wrong is corrected from the truth; the other half must
get better. The same test with a fit that does nothing must fail.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_unet.gui import controller as controllers
from napari_unet.gui import layers
from napari_unet.gui.panels import Panel
from napari_unet.imaging.reading import read_image
from napari_unet.jobs.client import JobClient

pytestmark = pytest.mark.gui

PLUGIN = "napari-unet"
LEFT = Qt.MouseButton.LeftButton
BETTER_BY = 0.05
BUDGET_MIN = 0.4
IDLE_WORKER = Path(__file__).parent / "idle_worker.py"


class User:
    """Somebody in front of the window, who has a mouse, a keyboard and patience."""

    def __init__(self, viewer, panel, qtbot):
        self.viewer, self.panel, self.qtbot = viewer, panel, qtbot
        self.state = panel.controller.state
        self.canvas = viewer.__wrapped__.window._qt_viewer.canvas

    def go_to(self, title):
        """Click a step's tab and return the step."""
        tab = self.panel._group.button(self.panel.titles.index(title))
        self.qtbot.mouseClick(tab, LEFT)
        return self.panel.steps[title]

    def click(self, button):
        self.qtbot.waitUntil(lambda: button.isEnabled() and button.isVisible(), timeout=20_000)
        self.qtbot.mouseClick(button, LEFT)

    def wait(self, seconds=240):
        self.qtbot.waitUntil(lambda: not self.state.busy, timeout=1000 * seconds)
        assert self.state.message.level != "error", self.state.message.text

    def look_at(self, center, zoom):
        self.viewer.scene.camera.center = center
        self.viewer.scene.camera.zoom = zoom
        self.qtbot.wait(200)

    def drag(self, start, stop):
        """Press, move and release the mouse over the canvas; world coordinates (y, x)."""
        native = self.canvas.native
        a, b = self._pixel(*start), self._pixel(*stop)
        self.qtbot.mousePress(native, LEFT, pos=a)
        for share in np.linspace(0, 1, 6):
            self.qtbot.wait(15)  # vispy drops moves that follow each other faster than 10 ms
            point = QPointF(a) + (QPointF(b) - QPointF(a)) * float(share)
            move = QMouseEvent(
                QEvent.Type.MouseMove,
                point,
                QPointF(native.mapToGlobal(point.toPoint())),
                Qt.MouseButton.NoButton,
                LEFT,
                Qt.KeyboardModifier.NoModifier,
            )
            QApplication.sendEvent(native, move)
        self.qtbot.mouseRelease(native, LEFT, pos=b)

    def _pixel(self, y, x):
        point = self.canvas.view.scene.transform.map([x, y, 0, 1])
        return QPoint(round(point[0] / point[3]), round(point[1] / point[3]))


@pytest.fixture
def user(make_napari_viewer_proxy, npe2pm, qtbot):
    """Open napari with the workbench; an argument gives another background process."""
    opened = []

    def open_napari(command=None):
        viewer = make_napari_viewer_proxy(show=True)
        viewer.window.resize(1300, 850)
        raw = viewer.__wrapped__
        opened.append(controllers.Controller(raw, JobClient(command)))
        controllers._CONTROLLERS[raw] = opened[-1]
        _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "U-Net workbench")
        assert isinstance(panel, Panel)
        return User(viewer, panel, qtbot)

    with npe2pm.tmp_plugin(package=PLUGIN):
        yield open_napari
    for controller in opened:
        controller.close()


def dice(labels, truth):
    """Overlap of everything that is not background."""
    found, wanted = labels > 0, truth > 0
    return 2 * (found & wanted).sum() / (found.sum() + wanted.sum())


def the(viewer, role):
    (layer,) = layers.with_role(viewer, role)
    return layer


def close_the_loop(user):
    """Segment, correct the left half, fine-tune, segment again.

    Returns
    -------
    before, after : float
        Dice of the prediction in the right half.
    """
    viewer = user.viewer
    viewer.open_sample(PLUGIN, "membranes")
    image, truth = viewer.layers["membranes"], viewer.layers["membranes truth"].data
    _, width = truth.shape
    unseen = np.s_[:, width // 2 + 20 :]

    user.click(user.go_to("Segment").segment)
    user.wait()
    before = dice(the(viewer, "prediction").data[unseen], truth[unseen])

    user.click(user.go_to("Correct").start)
    paint_one_cell(user, truth)
    correct_from_truth(user, truth, np.s_[:, : width // 2 + 10])
    mark_left_half(user, image)
    reviewed = the(viewer, "reviewed").data > 0
    assert reviewed[:, : width // 2 - 10].all()
    assert not reviewed[unseen].any()  # edits mark their surroundings too, to a margin of a few pixels
    vouched = the(viewer, "correction").data[reviewed].copy()

    step = user.go_to("Fine-tune")
    step.minutes.setValue(BUDGET_MIN)
    user.click(step.start)
    user.wait()
    assert step.verdict.isVisible()
    user.click(step.verdict.again)
    user.wait()
    assert np.array_equal(the(viewer, "correction").data[reviewed], vouched)
    return before, dice(the(viewer, "prediction").data[unseen], truth[unseen])


def paint_one_cell(user, truth):
    """Paint a stroke inside a cell, take it back with Ctrl+Z, and paint it again."""
    viewer, correction = user.viewer, the(user.viewer, "correction")
    height, width = truth.shape
    cell = truth[height // 2, width // 4] or truth[truth > 0][0]
    rows, columns = np.nonzero(truth == cell)
    y, x = int(np.median(rows)), int(np.median(columns))
    viewer.layers.selection.active = correction
    to_world = correction.data_to_world
    user.look_at(to_world((y, x)), 4 / correction.scale[-1])
    correction.brush_size = 4
    correction.selected_label = int(cell)
    before = correction.data.copy()
    user.drag(to_world((y, x - 4)), to_world((y, x + 4)))
    painted = correction.data != before
    assert correction.data[y, x] == cell
    assert 10 < painted.sum() < 400
    user.qtbot.keyClick(user.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    user.qtbot.waitUntil(lambda: np.array_equal(correction.data, before))
    user.drag(to_world((y, x - 4)), to_world((y, x + 4)))
    assert correction.data[y, x] == cell


def correct_from_truth(user, truth, part):
    """Do with one edit what would take a patient user many strokes."""
    correction = the(user.viewer, "correction")
    wanted = correction.data.copy()
    wanted[part] = truth[part]
    changed = np.nonzero(correction.data != wanted)
    correction.data_setitem(changed, wanted[changed])


def mark_left_half(user, image):
    """Move the view so that it ends in the middle of the image, and press the button."""
    height, width = image.data.shape
    canvas_height, canvas_width = user.viewer.canvas.size
    zoom = 0.95 * canvas_height / (height * image.scale[-2])
    middle = width / 2 - canvas_width / (2 * zoom * image.scale[-1])
    user.look_at(image.data_to_world((height / 2, middle)), zoom)
    user.click(user.go_to("Correct").visible)


def assert_better(before, after):
    assert after >= before + BETTER_BY


def test_the_loop_makes_unseen_pixels_better(user, tmp_path, monkeypatch):
    someone = user()
    before, after = close_the_loop(someone)
    assert before < 0.8  # visibly wrong
    assert_better(before, after)

    target = tmp_path / "masks.tif"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    someone.click(someone.go_to("Export").masks)
    someone.wait()
    saved = read_image(target)
    assert np.array_equal(np.asarray(saved.array).squeeze(), the(someone.viewer, "correction").data)


def test_the_same_with_a_fit_that_does_nothing_fails(user):
    before, after = close_the_loop(user([sys.executable, str(IDLE_WORKER)]))
    with pytest.raises(AssertionError):
        assert_better(before, after)
