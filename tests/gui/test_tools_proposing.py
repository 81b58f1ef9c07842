"""Smart fill, objects between slices, and filters, by the mouse and the keyboard of a viewer that is shown."""

import numpy as np
from qtpy.QtCore import Qt
from scenes import FLAT, SCALED, STACK

from napari_unet.gui.widgets.tool_bar import ToolBar

EMPTY = np.zeros_like(FLAT)


def test_smart_fill_without_a_network(scene):
    image = (FLAT > 0) * 100.0 + np.random.default_rng(0).normal(0, 3, FLAT.shape)
    s = scene(np.where(FLAT == 1, 1, 0).astype(np.uint32), image, **SCALED)
    before = s.labels
    s.hand.press("A")
    s.hand.click((75, 40))
    s.finish()
    assert s.controller.tools.bench().sketch.overlay.visible
    assert np.array_equal(s.labels, before)
    assert "Enter to take it" in s.said
    s.hand.press("Enter")
    after = s.one_step(before)
    assert not s.controller.tools.bench().sketch.overlay.visible
    assert ((after == 2) ^ (FLAT == 4)).sum() < 0.15 * (FLAT == 4).sum()
    s.hand.click((75, 100))
    s.finish()
    s.hand.click((75, 102))
    assert ((s.labels == 3) ^ (FLAT == 5)).sum() < 0.2 * (FLAT == 5).sum()
    s.hand.click((30, 30))
    assert "Another object is here" in s.said


def test_smart_fill_by_the_network_with_more_or_less_taken_in(scene):
    y, x = np.ogrid[:100, :140]
    cone = np.clip(1 - np.hypot(y - 50, x - 70) / 40, 0, 1)
    s = scene(EMPTY, (255 * cone).astype(np.uint8), **SCALED)
    s.keep(np.stack([1 - cone, cone, 0 * cone]))
    s.hand.press("A")
    s.hand.click((50, 60))
    s.hand.scroll((50, 60), 4)
    s.finish()
    assert s.controller.state.tooling.extent > 0.6
    s.qtbot.wait(50)
    s.hand.press("Escape")
    s.hand.press("Enter")
    assert "Nothing is proposed" in s.said
    sizes = []
    for extent in (0.3, 0.5, 0.7):
        s.controller.tools.set_extent(extent)
        s.hand.click((50, 70))
        s.finish()
        s.hand.press("Enter")
        sizes.append(np.count_nonzero(s.labels))
        assert abs(sizes[-1] - np.count_nonzero(cone >= 1 - extent)) < 0.05 * sizes[-1]
        s.hand.undo()
    assert sizes == sorted(sizes)


def test_splitting_follows_the_border_that_the_network_saw(scene):
    labels = np.zeros_like(FLAT)
    labels[20:80, 20:120] = 3
    s = scene(labels, **SCALED)
    border = np.zeros(FLAT.shape)
    border[:, 95:97] = 0.9
    s.keep(np.stack([0 * border, 1 - border, border]))
    s.hand.press("S")
    s.hand.click((50, 40))
    s.hand.click((50, 110))
    s.hand.press("Enter")
    after = s.labels
    assert (after[20:80, 20:95] == 3).all()
    assert (after[20:80, 97:120] > 3).all()


def test_smart_fill_in_a_volume(scene):
    s = scene(np.zeros_like(STACK), STACK.astype(float), scale=(2, 0.5, 0.25))
    s.layer.n_edit_dimensions = 3
    before = s.labels
    s.hand.press("A")
    s.hand.click((75, 40))
    s.finish()
    s.viewer.dims.set_current_step(0, 1)
    s.hand.press("Enter")
    after = s.one_step(before)
    assert ((after > 0) ^ (STACK == 4)).sum() < 0.15 * (STACK == 4).sum()


def test_between_slices(scene):
    labels = np.zeros_like(STACK)
    labels[1][FLAT == 1] = 7
    labels[4][np.roll(FLAT == 1, 9, axis=1)] = 7
    s = scene(labels, scale=(2, 0.5, 0.25), translate=(7, 100, -20))
    s.viewer.dims.set_current_step(0, 1)
    before = s.labels
    s.hand.move((30, 30))
    s.hand.press("I")
    after = s.one_step(before)
    assert np.array_equal(after[[0, 1, 4, 5]], labels[[0, 1, 4, 5]])
    for z, shift in ((2, 3), (3, 6)):
        assert ((after[z] == 7) ^ np.roll(FLAT == 1, shift, axis=1)).sum() < 60
    s.hand.press("I")
    assert "nothing to interpolate" in s.said


def test_copying_to_the_next_slice_goes_there(scene):
    labels = np.zeros_like(STACK)
    labels[4][FLAT == 1] = 7
    s = scene(labels, scale=(2, 0.5, 0.25), translate=(7, 100, -20))
    s.viewer.dims.set_current_step(0, 4)
    before = s.labels
    s.hand.move((30, 30))
    s.hand.press("C")
    after = s.one_step(before)
    assert np.array_equal(after[5], labels[4])
    s.qtbot.waitUntil(lambda: s.viewer.dims.current_step[0] == 5)
    s.hand.press("C")
    assert "last one" in s.said
    assert np.array_equal(s.labels, after)
    s.viewer.dims.set_current_step(0, 4)
    s.hand.press("C", Qt.KeyboardModifier.ShiftModifier)
    assert np.array_equal(s.labels[3], labels[4])
    s.qtbot.waitUntil(lambda: s.viewer.dims.current_step[0] == 3)


def test_filtering_counts_before_it_removes(scene):
    s = scene(**SCALED)
    s.layer.data_setitem((np.array([0, 0, 50]), np.array([20, 21, 70])), np.array([8, 8, 9]))
    bar = ToolBar(s.controller)
    s.qtbot.addWidget(bar)
    options, filtering = bar.filter, s.controller.state.tooling
    before = s.labels
    options.fold.click()
    s.qtbot.waitUntil(lambda: s.controller.state.tooling.filter.objects == 7)
    options.smaller.setValue(2)
    assert options.count.text() == "1 of 7 objects would be removed."
    options.border.click()
    assert options.count.text() == "2 of 7 objects would be removed."
    assert np.array_equal(s.layer.data, before)
    assert filtering.filter.smaller_px == 0
    options.remove.click()
    after = s.one_step(before)
    assert np.array_equal(after, np.where(before > 5, 0, before))
    s.hand.press("D")
    s.hand.click((30, 60))
    s.finish()
    options.relabel.click()
    s.finish()
    assert np.unique(s.labels).tolist() == [0, 1, 2, 3, 4]
    s.hand.undo()
    assert np.unique(s.labels).tolist() == [0, 1, 3, 4, 5]


def test_a_large_edit_is_written_little_by_little_and_undone_in_one_step(scene, monkeypatch):
    from napari_unet.gui.tools import bench, work

    monkeypatch.setattr(bench, "AT_ONCE_PX", 100)
    monkeypatch.setattr(work, "SLICE_S", 0.0)
    s = scene(STACK * 7, scale=(2, 0.5, 0.25))
    s.layer.n_edit_dimensions = 3
    s.layer.mode = "paint"
    before = s.labels
    s.controller.tools.filtering.relabel()
    s.layer.mode = "erase"
    assert np.array_equal(s.one_step(before), STACK)
    assert "1, 2, 3" in s.said
