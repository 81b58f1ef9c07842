"""The table of objects follows the labels, and the viewer follows the table."""

import time

import numpy as np
import pytest
from pointer import Pointer
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDockWidget

from napari_unet.gui import controller as controller_module
from napari_unet.gui.controller import Controller
from napari_unet.gui.panels import CorrectPanel, ObjectsPanel
from napari_unet.gui.widgets.tool_bar import ToolBar

LEFT = Qt.MouseButton.LeftButton


def squares(depth=6):
    """Objects 1 to 12 on a grid, each in two slices; number n has a side of 4 + n."""
    labels = np.zeros((depth, 200, 300), np.uint32)
    for n in range(1, 13):
        y, x = 10 + 60 * ((n - 1) // 4), 10 + 70 * ((n - 1) % 4)
        z = (n - 1) % 3
        labels[z : z + 2, y : y + 4 + n, x : x + 4 + n] = n
    return labels


@pytest.fixture
def shown(make_napari_viewer, client, qtbot):
    """A viewer on the screen, its controller, the correction layer of a stack, and the table."""
    viewer = make_napari_viewer(show=True)
    controller = Controller(viewer, client)
    controller_module._CONTROLLERS[viewer] = controller
    labels = squares()
    viewer.add_image(labels.astype(np.uint16) * 10, name="cells", scale=(2, 0.5, 0.5), units=("um",) * 3)
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    correction.data[...] = labels
    correction.refresh()
    correction.mode = "pan_zoom"
    viewer.window.resize(1000, 700)
    panel = ObjectsPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Objects")
    table = panel.steps["Objects"]
    qtbot.waitUntil(lambda: table.list.listed.complete and table.list.rowCount() == 12, timeout=20_000)
    viewer.window._qt_viewer.canvas.native.setFocus()
    yield viewer, controller, correction, reviewed, table
    controller.close()


def texts(table, column):
    keys = [key for key, _, _ in table.list.columns]
    at = keys.index(column)
    return [table.list.index(row, at).data() for row in range(table.list.rowCount())]


def click_row(qtbot, table, row, modifier=Qt.KeyboardModifier.NoModifier):
    index = table.list.index(row, 0)
    table.view.scrollTo(index)
    where = table.view.visualRect(index).center()
    qtbot.mouseClick(table.view.viewport(), LEFT, modifier, pos=where)


def test_the_table_says_what_objects_are_like(shown):
    *_, table = shown
    assert [title for _, title, _ in table.list.columns] == ["Id", "Volume\nµm³", "Slices", "Mean", "Reviewed"]
    assert texts(table, "label") == [str(n) for n in range(1, 13)]
    assert texts(table, "size")[0] == f"{2 * 5 * 5 * 0.5:.1f}"
    assert texts(table, "slices")[:4] == ["0–1", "1–2", "2–3", "0–1"]
    assert texts(table, "mean")[:2] == ["10.0", "20.0"]
    assert set(texts(table, "reviewed")) == {"no"}


def test_a_click_on_a_row_goes_there(shown, qtbot):
    viewer, _, correction, _, table = shown
    click_row(qtbot, table, 6)
    assert correction.selected_label == 7
    assert viewer.dims.current_step[0] in {0, 1}
    y, x = viewer.scene.camera.center[-2:]
    assert correction.data[(viewer.dims.current_step[0], round(y / 0.5), round(x / 0.5))] == 7
    side, view = 11 * 0.5 * viewer.scene.camera.zoom, min(viewer.canvas.size)
    assert 0.04 * view <= side <= 0.6 * view
    qtbot.keyClick(table.view, Qt.Key.Key_Down)
    assert correction.selected_label == 8


def test_a_click_on_an_object_chooses_its_row(shown, qtbot):
    viewer, _, correction, _, table = shown
    viewer.dims.set_current_step(0, 1)
    pointer = Pointer(viewer, correction)
    pointer.click((13, 13))
    assert table.rows() == [0]
    correction.mode = "pick"
    pointer.click((14, 84))
    assert correction.selected_label == 2
    assert table.rows() == [1]
    zoom, centre = viewer.scene.camera.zoom, viewer.scene.camera.center
    assert (zoom, centre) == (viewer.scene.camera.zoom, viewer.scene.camera.center)


def test_painting_paints_and_the_table_follows(shown, qtbot):
    viewer, _, correction, _, table = shown
    viewer.dims.set_current_step(0, 3)
    correction.mode, correction.brush_size, correction.selected_label = "paint", 10, 40
    Pointer(viewer, correction).click((150, 150))
    assert correction.data[3, 150, 150] == 40
    qtbot.waitUntil(lambda: texts(table, "label")[-1] == "40", timeout=20_000)
    correction.undo()
    qtbot.waitUntil(lambda: table.list.rowCount() == 12, timeout=20_000)
    correction.fill((1, 13, 13), 0)
    qtbot.waitUntil(lambda: texts(table, "slices")[0] == "0", timeout=20_000)


def test_marking_as_reviewed_shows(shown, qtbot):
    viewer, controller, _, _, table = shown
    viewer.dims.set_current_step(0, 0)
    controller.correcting.mark("plane")
    qtbot.waitUntil(lambda: set(texts(table, "reviewed")) == {"no", "partly"}, timeout=20_000)
    controller.correcting.mark("everything")
    qtbot.waitUntil(lambda: set(texts(table, "reviewed")) == {"all"}, timeout=20_000)


def test_rows_are_sorted_copied_and_deleted(shown, qtbot):
    _, _, correction, _, table = shown
    header = table.view.horizontalHeader()
    for _ in range(2):
        where = header.sectionViewportPosition(1) + 10
        qtbot.mouseClick(header.viewport(), LEFT, pos=header.viewport().rect().center().__class__(where, 8))
    assert texts(table, "label")[:3] in (["12", "11", "10"], ["1", "2", "3"])
    descending = texts(table, "label")[0] == "12"
    click_row(qtbot, table, 0)
    click_row(qtbot, table, 2, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    copied = QGuiApplication.clipboard().text().splitlines()
    assert copied[0].split("\t")[:2] == ["Id", "Volume µm³"]
    assert [line.split("\t")[0] for line in copied[1:]] == (["12", "11", "10"] if descending else ["1", "2", "3"])
    steps = len(correction._undo_history)
    before = correction.data.copy()
    qtbot.keyClick(table.view, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: table.list.rowCount() == 9, timeout=20_000)
    gone = (10, 11, 12) if descending else (1, 2, 3)
    assert np.array_equal(correction.data, np.where(np.isin(before, gone), 0, before))
    assert len(correction._undo_history) == steps + 1
    correction.undo()
    assert np.array_equal(correction.data, before)
    qtbot.waitUntil(lambda: table.list.rowCount() == 12, timeout=20_000)


def test_the_table_shows_the_prediction_where_there_is_no_correction(viewer, controller, idle, blobs, qtbot):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    panel = ObjectsPanel(viewer)
    qtbot.addWidget(panel)
    table = panel.steps["Objects"]
    prediction = controller._desk.viewer.layers["blobs prediction"]
    qtbot.waitUntil(lambda: table.list.rowCount() == len(np.unique(prediction.data)) - 1, timeout=20_000)
    assert [key for key, _, _ in table.list.columns] == ["label", "size", "mean"]
    click_row(qtbot, table, 0)
    assert not table.remove.isEnabled()
    controller.correcting.start()
    qtbot.waitUntil(lambda: "reviewed" in [key for key, _, _ in table.list.columns], timeout=20_000)


def test_a_hundred_thousand_rows_stay_fluent(viewer, controller, qtbot):
    side = 320
    labels = np.kron(np.arange(1, side**2 + 1, dtype=np.uint32).reshape(side, side), np.ones((3, 3), np.uint32))
    viewer.add_image(np.zeros(labels.shape, np.uint8))
    controller.correcting.start()
    correction, _ = controller._desk.correction()
    correction.data = labels
    panel = ObjectsPanel(viewer)
    qtbot.addWidget(panel)
    panel.show()
    table = panel.steps["Objects"]
    qtbot.waitUntil(lambda: table.list.listed.complete and table.list.rowCount() == side**2, timeout=30_000)
    for act in (
        lambda: table.view.sortByColumn(1, Qt.SortOrder.DescendingOrder),
        lambda: table.find(0, 77_777),
        table.view.scrollToBottom,
        lambda: table._show(controller.objects.shown),
    ):
        begun = time.process_time()
        act()
        assert time.process_time() - begun < 0.15
    assert table.rows() == [table.list.row_of(0, 77_777)]


def test_outlines_of_the_objects_whose_rows_are_chosen(shown, qtbot):
    viewer, controller, correction, _, table = shown
    correction.data = correction.data.copy()  # else nobody has been told of what is in it
    bar = ToolBar(controller)
    qtbot.addWidget(bar)
    shrink = bar.shapes[1]
    assert shrink.isEnabled()
    bar.scope.setCurrentIndex(bar.scope.findData("chosen"))
    assert not shrink.isEnabled()
    assert "No row is chosen" in shrink.toolTip()
    qtbot.waitUntil(lambda: table.list.listed.complete and table.list.rowCount() == 12, timeout=20_000)
    qtbot.waitUntil(lambda: controller.tools.bench().known.index.complete)
    click_row(qtbot, table, 7)
    for row in (9, 10):  # objects 8 and 11 begin in slice 1, object 10 in slice 0
        click_row(qtbot, table, row, Qt.KeyboardModifier.ControlModifier)
    assert bar.scope.currentText() == "3 rows chosen in the table"
    assert "(Shift+G)" in shrink.toolTip()
    viewer.dims.set_current_step(0, 2)
    before, steps = correction.data.copy(), len(correction._undo_history)
    shrink.click()
    qtbot.waitUntil(lambda: not controller.tools.busy)
    changed = before != correction.data
    assert set(before[changed]) == {8, 11}
    assert not np.delete(changed, 2, 0).any()
    assert controller.state.message.text == "Shrank 2 chosen objects. 1 more is not in this slice."
    assert len(correction._undo_history) == steps + 1
    table.view.clearSelection()
    assert not shrink.isEnabled()


def test_outlines_of_all_reviewed_objects_need_a_reviewed_object(shown, qtbot):
    viewer, controller, *_ = shown
    bar = ToolBar(controller)
    qtbot.addWidget(bar)
    bar.scope.setCurrentIndex(bar.scope.findData("reviewed"))
    assert not any(one.isEnabled() for one in bar.shapes)
    assert "mark what you have checked" in bar.shapes[0].toolTip()
    viewer.dims.set_current_step(0, 0)
    controller.correcting.mark("plane")
    qtbot.waitUntil(lambda: all(one.isEnabled() for one in bar.shapes), timeout=20_000)


def test_a_button_opens_the_table(viewer, controller, qtbot, monkeypatch):
    window, asked = viewer.window, []
    dock = QDockWidget()
    qtbot.addWidget(dock)
    monkeypatch.setattr(window, "add_plugin_dock_widget", lambda *names: (asked.append(names), (dock, None))[1])
    panel = CorrectPanel(viewer)
    qtbot.addWidget(panel)
    qtbot.mouseClick(panel.steps["Correct"].objects, LEFT)
    assert asked == [("napari-unet", "Objects")]
    assert dock.isVisible()
