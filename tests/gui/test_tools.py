"""Tools on the correction layer, by the mouse and the keyboard of a viewer that is shown."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scenes import FLAT, SCALED, STACK

from napari_unet.gui import layers, redrawing
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.redrawing import draw_less_when_undoing
from napari_unet.gui.tools import shaped
from napari_unet.gui.tools.pane import pane_of
from napari_unet.objects.editing.changes import Change

SHIFT = Qt.KeyboardModifier.ShiftModifier


def test_merge_by_clicks(scene):
    s = scene(**SCALED)
    before = s.labels
    s.hand.press("J")
    assert s.controller.state.tooling.tool == "merge"
    assert "click the first object" in s.said
    s.hand.click((30, 60))
    assert "Click what belongs to object 2" in s.said
    s.hand.click((30, 105))
    after = s.one_step(before)
    assert np.array_equal(after, np.where(FLAT == 3, 2, FLAT))
    s.hand.click((75, 40))
    assert np.array_equal(s.labels, np.where(np.isin(FLAT, (3, 4)), 2, FLAT))
    s.hand.press("Escape")
    s.hand.press("Escape")
    assert s.controller.state.tooling.tool == ""


def test_merge_by_a_line(scene):
    s = scene(**SCALED)
    before = s.labels
    s.hand.press("J")
    s.hand.draw((30, 20), (30, 70))
    assert np.array_equal(s.one_step(before), np.where(FLAT == 2, 1, FLAT))
    assert s.said.startswith("Merged 2 objects into object 1")
    s.hand.draw((5, 5), (5, 40))
    assert "fewer than two objects" in s.said
    assert s.controller.state.message.level == "error"


def test_what_is_under_the_cursor_is_wiped_or_painted_on_with_one_key(scene):
    s = scene(**SCALED)
    before = s.labels
    s.hand.move((30, 60))
    s.hand.press("W")
    after = s.one_step(before)
    assert np.array_equal(after, np.where(FLAT == 2, 0, FLAT))
    s.layer.selected_label = 1
    s.hand.press("W")  # nothing is there any more: the label that is chosen is not meant
    assert np.array_equal(s.labels, after)
    assert "no object under the cursor" in s.said
    s.hand.move((75, 40))
    s.hand.press("Q")
    assert (s.layer.selected_label, s.layer.mode) == (4, "paint")


def test_split_by_a_line(scene):
    s = scene(**SCALED)
    before = s.labels
    s.hand.press("S")
    s.hand.draw((10, 30), (50, 30))
    after = s.one_step(before)
    assert np.array_equal(after > 0, FLAT > 0)
    assert np.array_equal(after[FLAT != 1], FLAT[FLAT != 1])
    pieces = set(np.unique(after[FLAT == 1]))
    assert 1 in pieces
    assert min(pieces - {1}) > 5
    assert after[30, 20] != after[30, 40]
    s.hand.draw((75, 34), (75, 44))
    assert "from one side" in s.said


def test_one_line_splits_neighbours(scene):
    s = scene(np.where(FLAT == 2, 0, FLAT) + np.roll(FLAT == 1, 29, axis=1) * np.uint32(2), **SCALED)
    s.hand.press("S")
    s.hand.draw((30, 5), (30, 85))
    after = s.labels
    assert len(np.unique(after[FLAT == 1])) == 2
    assert len(np.unique(after[np.roll(FLAT == 1, 29, axis=1)])) == 2


def test_split_by_seeds(scene):
    labels = np.where((FLAT == 1) | (FLAT == 2) | np.roll(FLAT == 1, 15, axis=1), 9, 0).astype(np.uint32)
    s = scene(labels, **SCALED)
    before = s.labels
    s.hand.press("S")
    s.hand.press("Enter")
    assert "Two parts are needed" in s.said
    s.hand.click((30, 24))
    assert "Click the next part" in s.said
    assert s.controller.tools.bench().sketch.overlay.visible
    s.hand.click((30, 66))
    s.hand.press("Enter")
    after = s.one_step(before)
    assert not s.controller.tools.bench().sketch.overlay.visible
    assert np.array_equal(after > 0, labels > 0)
    assert after[30, 20] == 9
    assert after[30, 70] > 9


def test_delete_by_a_click_and_by_a_line(scene):
    s = scene(**SCALED)
    before = s.labels
    s.hand.press("D")
    s.hand.click((75, 100))
    assert np.array_equal(s.one_step(before), np.where(FLAT == 5, 0, FLAT))
    s.hand.draw((30, 20), (30, 120))
    assert np.array_equal(s.labels, np.where(FLAT == 4, 4, 0))
    assert s.said == "Deleted 3 objects."
    s.hand.undo()
    assert np.array_equal(s.layer.data, np.where(FLAT == 5, 0, FLAT))
    s.hand.click((5, 5))
    assert "no object here" in s.said


def test_a_new_object_gets_a_free_id(scene):
    s = scene(**SCALED)
    s.hand.press("D")
    s.hand.press("N")
    s.finish()
    assert s.controller.state.tooling.tool == ""
    assert (s.layer.selected_label, s.layer.mode) == (6, "paint")
    s.hand.press("S")
    s.hand.draw((10, 30), (50, 30))
    assert set(np.unique(s.labels)) == {0, 1, 2, 3, 4, 5, 7}  # 6 is chosen, and may be painted at any time
    s.qtbot.wait(20)
    s.settle()
    s.hand.press("N")
    s.finish()
    assert s.layer.selected_label == 8


def test_outlines_of_the_object_under_the_cursor(scene):
    s = scene(**SCALED)
    hole = (74, 100)
    s.layer.data_setitem((np.arange(72, 77), np.full(5, 100)), 0)
    before = s.labels
    s.hand.move((75, 96))
    s.hand.press("H")
    filled = s.one_step(before)
    assert filled[hole] == 5
    s.hand.press("G")
    grown = s.one_step(filled)
    assert np.array_equal(grown[FLAT != 5], np.where(grown == 5, 5, FLAT)[FLAT != 5])
    assert (grown == 5).sum() > (filled == 5).sum()
    s.hand.press("G", SHIFT)
    assert ((s.labels == 5) & (FLAT == 5)).sum() == (s.labels == 5).sum()
    s.hand.move((30, 30))
    s.hand.press("G")
    assert (s.labels == 2).sum() == (FLAT == 2).sum()
    s.hand.press("K")
    assert s.said == "Object 1 is in one piece."


def test_outlines_of_all_reviewed_objects(scene):
    s = scene(**SCALED)
    reviewed = s.controller._desk.correction()[1]
    s.qtbot.wait(50)
    reviewed.data[:] = 0
    s.controller.tools.reshape_reviewed("shrink", 2)
    assert "No object is in the reviewed region" in s.said
    reviewed.data_setitem(np.nonzero(np.isin(FLAT, (1, 4))), 1)
    before = s.labels
    s.controller.tools.reshape_reviewed("shrink", 2)
    after = s.one_step(before)
    sizes, expected = np.bincount(after.ravel()), np.bincount(FLAT.ravel())
    assert (sizes[1:] < expected[1:]).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
def test_outlines_at_time_points_that_were_reviewed_or_chosen(scene, dtype):
    s = scene(STACK)
    large = -3 if dtype is np.int64 else 2**63 + 1
    s.layer.data = np.where(STACK == 1, np.array(large, dtype), STACK.astype(dtype))
    s.layer.metadata[layers.KEY]["axes"] = "TYX"
    s.layer.n_edit_dimensions = 3
    s.settle()
    bench, reviewed = s.controller.tools.bench(), s.controller._desk.correction()[1]
    reviewed.data[:] = 0
    reviewed.data[2, 30, (30, 60)] = 1
    before = s.layer.data.copy()
    for reshape in (
        lambda: shaped.reshape_reviewed(bench, "shrink"),
        lambda: shaped.reshape_chosen(bench, [(2, large), (2, 2)], "shrink"),
    ):
        reshape()
        changed = s.one_step(before) != before
        assert sorted(set(before[changed].tolist())) == sorted([2, large])
        assert not np.delete(changed, 2, 0).any()
        assert "Shrank 2 " in s.said
        s.hand.undo()


def test_a_tool_is_put_away_for_another_mode_or_layer(scene):
    s = scene(**SCALED)
    s.layer.mode = "paint"
    for key, mode in (("1", "erase"), ("6", "pan_zoom"), ("5", "pick"), ("F", "fill")):
        s.hand.press("M")
        s.hand.press("J")
        assert s.layer.mode == "pick"
        s.hand.press(key)
        assert (s.controller.state.tooling.tool, s.layer.mode) == ("", mode)
    before = s.labels
    s.hand.press("5")
    s.hand.click((30, 60))
    assert s.layer.selected_label == 2
    assert np.array_equal(s.labels, before)
    s.hand.press("J")
    s.viewer.layers.selection.active = s.viewer.layers[0]
    assert s.controller.state.tooling.tool == ""
    s.viewer.layers.selection.active = s.layer
    s.hand.press("2")
    s.hand.press("J")
    s.hand.press("J")
    assert s.layer.mode == "paint"


def test_space_moves_the_camera_and_keeps_the_tool(scene):
    from qtpy.QtTest import QTest

    s = scene(**SCALED)
    before = s.labels
    s.hand.press("D")
    centre = s.viewer.scene.camera.center
    QTest.keyPress(s.hand.native, Qt.Key.Key_Space)
    s.hand.draw((30, 30), (60, 60))
    QTest.keyRelease(s.hand.native, Qt.Key.Key_Space)
    assert np.array_equal(s.labels, before)
    assert s.viewer.scene.camera.center != centre
    assert s.controller.state.tooling.tool == "delete"
    s.hand.click((30, 30))
    assert not (s.labels == 1).any()


def test_a_plane_of_a_stack_or_all_of_it(scene):
    s = scene(STACK, scale=(2, 0.5, 0.25), translate=(7, 100, -20))
    s.viewer.dims.set_current_step(0, 2)
    before = s.labels
    s.hand.press("D")
    s.hand.click((30, 60))
    after = s.one_step(before)
    assert not (after[2] == 2).any()
    assert np.array_equal(np.delete(after, 2, 0), np.delete(STACK, 2, 0))
    s.hand.undo()
    s.layer.n_edit_dimensions = 3
    s.hand.click((30, 60))
    assert np.array_equal(s.one_step(before), np.where(STACK == 2, 0, STACK))


def test_another_pair_of_axes(scene):
    s = scene(STACK, scale=(2, 0.5, 0.25), translate=(7, 100, -20))
    s.viewer.dims.order = (1, 2, 0)
    s.viewer.dims.set_current_step(1, 30)
    s.viewer.dims.set_current_step(0, 30)
    s.viewer.reset_view()
    s.qtbot.wait(50)
    s.viewer.dims.set_point(1, s.layer.data_to_world((0, 30, 0))[1])
    before = s.labels
    s.hand.press("J")
    s.hand.draw((25, 3), (60, 3))  # along x and z
    after = s.one_step(before)
    assert np.array_equal(after[:, 30], np.where(STACK == 2, 1, STACK)[:, 30])
    assert np.array_equal(np.delete(after, 30, 1), np.delete(STACK, 30, 1))


def test_a_volume_seen_in_3d(scene):
    s = scene(STACK, scale=(2, 0.5, 0.5))
    s.viewer.dims.ndisplay = 3
    s.viewer.reset_view()
    s.qtbot.wait(100)
    before = s.labels
    s.hand.press("D")
    s.hand.click((0, 30, 60))
    assert np.array_equal(s.one_step(before), np.where(STACK == 2, 0, STACK))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 2, 0)])
def test_what_is_drawn_is_what_the_labels_are(order):
    rng = np.random.default_rng(1)
    viewer = ViewerModel()
    layer = viewer.add_labels(rng.integers(0, 9, (4, 20, 30)))
    viewer.dims.order = order
    changes = [Change(((0, 3), (2, 18), (4, 22)), rng.integers(0, 9, (3, 16, 18)))]
    viewer.dims.point = (1, 10, 10)
    redrawn = []
    layer.events.set_data.connect(lambda: redrawn.append(1))
    apply_changes(layer, changes)
    drawn = layer._slice.image.view.copy()
    assert not redrawn  # only the box
    layer.refresh()
    assert np.array_equal(drawn, layer._slice.image.view)
    assert np.array_equal(layer.data[0:3, 2:18, 4:22], changes[0].values)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
@pytest.mark.parametrize(("ndisplay", "contour"), [(2, 0), (2, 2), (3, 0)])
def test_undoing_draws_what_it_changes_and_nothing_else(dtype, ndisplay, contour):
    rng = np.random.default_rng(2)
    viewer = ViewerModel()
    layer = viewer.add_labels(np.kron(rng.integers(0, 9, (4, 5, 6)), np.ones((1, 6, 6))).astype(dtype))
    viewer.dims.ndisplay, layer.contour = ndisplay, contour
    viewer.dims.set_current_step(0, 1)
    draw_less_when_undoing(layer)
    before = layer.data.copy()
    apply_changes(layer, [Change(((0, 3), (2, 18), (4, 22)), rng.integers(0, 9, (3, 16, 18)))])
    after = layer.data.copy()
    redrawn = []
    layer.events.set_data.connect(lambda: redrawn.append(1))
    for step, expected in ((layer.undo, before), (layer.redo, after), (layer.undo, before)):
        step()
        assert np.array_equal(layer.data, expected)
        drawn = layer._slice.image.view.copy()
        assert not redrawn
        layer.refresh()
        redrawn.clear()
        assert np.array_equal(drawn, layer._slice.image.view)


def test_a_plane_that_napari_shows_coarser_is_drawn_once(monkeypatch):
    monkeypatch.setattr(redrawing, "BLOCK_PX", 50)
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((40, 30), np.uint32))
    redrawn = []
    layer.events.labels_update.connect(layer.refresh)  # as napari does with textures of another size
    layer.events.set_data.connect(lambda: redrawn.append(1))
    apply_changes(layer, [Change(((0, 40), (0, 30)), np.full((40, 30), 5, np.uint32))])
    assert len(redrawn) == 1
    assert (layer._slice.image.view > 0).all()


def test_a_layer_that_is_hidden_is_drawn_when_it_is_shown_again():
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((20, 30), np.uint32))
    draw_less_when_undoing(layer)
    layer.visible = False
    apply_changes(layer, [Change(((2, 9), (3, 12)), np.full((7, 9), 5, np.uint32))])
    layer.undo()
    layer.redo()
    layer.visible = True
    assert (layer._slice.image.view[2:9, 3:12] > 0).all()


def test_time_points_of_a_pane():
    viewer = ViewerModel()
    tag = {layers.KEY: {"axes": "TYX"}}
    layer = viewer.add_labels(np.zeros((3, 20, 30), np.uint32), scale=(5, 0.5, 0.5), metadata=tag)
    viewer.dims.set_current_step(0, 2)
    flat = pane_of(viewer, layer)
    assert (flat.spacing, flat.moments()) == ((0.5, 0.5), [flat])
    layer.n_edit_dimensions = 3
    deep = pane_of(viewer, layer)
    assert deep.spacing == (np.inf, 0.5, 0.5)
    assert [(one.dims, one.place[0]) for one in deep.moments()] == [((1, 2), 0), ((1, 2), 1), ((1, 2), 2)]


def test_a_key_stays_with_its_object_while_the_mouse_rests(scene):
    s = scene()
    s.layer.selected_label = 5
    before = s.labels
    s.hand.move((17, 30))
    s.hand.press("G", SHIFT)
    s.finish()
    s.hand.press("G", SHIFT)
    s.finish()
    assert s.labels[17, 30] == 0  # the outline is no longer under the mouse
    s.hand.press("G", SHIFT)
    after = s.labels
    assert (after == 1).sum() < 0.8 * (before == 1).sum()
    assert np.array_equal(after == 5, before == 5)
    s.hand.move((95, 10))
    s.hand.press("G", SHIFT)
    assert (s.labels == 5).sum() < (before == 5).sum()
