"""What counts as reviewed: the surroundings of edits, what is brushed over, and rectangles."""

import numpy as np
import pytest
from pointer import Pointer
from scipy import ndimage as ndi

from napari_unet.gui import layers
from napari_unet.gui.controller import Controller
from napari_unet.gui.margins import unseen
from napari_unet.gui.merging import replace_undoably


@pytest.fixture
def stack(viewer, controller, blobs):
    """A started correction of an anisotropic stack."""
    viewer.add_image(np.stack([blobs] * 5), scale=(2, 0.5, 0.5), translate=(1, 10, 20))
    controller.correcting.start()
    return controller._desk.correction()


@pytest.fixture
def patient(monkeypatch):
    """Work out marks at once, however busy the machine is."""
    monkeypatch.setattr("napari_unet.gui.margins.FIRST_S", 60.0)


def square(mask, margin):
    return ndi.maximum_filter(mask, size=(1, 2 * margin + 1, 2 * margin + 1))


def test_an_edit_marks_what_is_around_it(patient, controller, stack):
    correction, reviewed = stack
    correction.brush_size = 5
    with correction.block_history():
        for x in range(20, 60):
            correction.paint((2, 30, x), 3, refresh=False)
    assert np.array_equal(reviewed.data > 0, square(correction.data > 0, 8))
    controller.vouching.set_margin(2)
    correction.data_setitem((np.array([4, 4]), np.array([0, 90]), np.array([3, 120])), np.array([7, 8]))
    assert np.array_equal(reviewed.data[4] > 0, square(correction.data > 0, 2)[4])
    controller.vouching.set_margin(0)
    correction.paint((0, 50, 50), 3)
    assert not reviewed.data[0].any()


def test_only_pixels_that_change_are_marked(patient, controller, stack):
    correction, reviewed = stack
    controller.vouching.set_margin(1)
    correction.data_setitem((np.array([1]), np.array([40]), np.array([40])), 5)
    correction.brush_size = 9
    correction.preserve_labels = True
    correction.paint((1, 40, 46), 0)  # erases nothing
    assert np.argwhere(reviewed.data).min(axis=0).tolist() == [1, 39, 39]
    assert np.argwhere(reviewed.data).max(axis=0).tolist() == [1, 41, 41]


def test_a_ball_is_marked_in_its_slices(patient, controller, stack):
    correction, reviewed = stack
    correction.n_edit_dimensions, correction.brush_size = 3, 19
    controller.vouching.set_margin(4)
    correction.paint((2, 30, 30), 3)
    assert np.array_equal(reviewed.data > 0, square(correction.data > 0, 4))
    assert reviewed.data.any(axis=(1, 2)).sum() > 1


def test_undo_takes_the_mark_back_and_redo_brings_it_again(patient, stack):
    correction, reviewed = stack
    correction.paint((2, 30, 30), 3)
    first = reviewed.data.copy()
    correction.paint((2, 34, 34), 3)
    second = reviewed.data.copy()
    assert second.sum() > first.sum() > 0
    correction.undo()
    assert np.array_equal(reviewed.data, first)
    correction.undo()
    assert not reviewed.data.any()
    correction.redo()
    assert np.array_equal(reviewed.data, first)
    correction.redo()
    assert np.array_equal(reviewed.data, second)
    correction.undo()
    correction.paint((0, 60, 60), 3)
    correction.undo()
    assert np.array_equal(reviewed.data, first)


def test_what_somebody_vouched_for_is_never_taken_back(patient, viewer, controller, stack):
    correction, reviewed = stack
    correction.paint((2, 30, 30), 3)
    marked = reviewed.data.copy()
    reviewed.paint((2, 80, 80), 1)
    correction.undo()
    assert (reviewed.data >= marked).all()
    correction.redo()
    viewer.layers.selection.active = reviewed  # from now on it is the user's
    viewer.layers.selection.active = correction
    correction.undo()
    assert (reviewed.data >= marked).all()
    correction.paint((1, 30, 30), 3)
    controller.vouching.vouch(((1, 2), (25, 35), (25, 35)))  # all marked already
    correction.undo()
    assert reviewed.data[1, 25:35, 25:35].all()
    controller.vouching.set_margin(200)
    viewer.dims.set_point(0, 1 + 2 * 4)
    correction.paint((4, 30, 30), 3)
    controller.correcting.mark("plane")  # all marked already, too
    correction.undo()
    assert reviewed.data[4].all()


def test_a_mark_that_comes_during_a_stroke_is_a_step_of_its_own(patient, stack):
    correction, reviewed = stack
    reviewed._begin_stroke()  # as napari does when the mouse is pressed
    reviewed.paint((2, 80, 100), 1)
    correction.paint((2, 30, 40), 3)
    assert reviewed.data[2, 30, 40] == 1
    correction.undo()
    assert reviewed.data[2, 30, 40] == 0
    reviewed.paint((2, 90, 100), 1)
    reviewed._commit_stroke()
    assert (reviewed.data[2, (80, 90), 100] == 1).all()


def test_a_prediction_is_not_vouched_for(patient, stack):
    correction, reviewed = stack
    correction.paint((2, 30, 30), 3)
    marked = reviewed.data.copy()
    with unseen(correction):
        replace_undoably(correction, np.full_like(correction.data, 9))
    assert np.array_equal(reviewed.data, marked)
    correction.undo()
    assert np.array_equal(reviewed.data, marked)
    correction.undo()
    assert not reviewed.data.any()


def test_segmenting_again_marks_nothing(viewer, controller, idle, blobs):
    viewer.add_image(blobs)
    controller.correcting.start()
    _, reviewed = controller._desk.correction()
    controller.segmenting.segment()
    idle()
    correction, _ = controller._desk.correction()
    assert correction.data.any()
    assert not reviewed.data.any()


def test_a_huge_edit_is_marked_a_little_at_a_time(viewer, controller, qtbot):
    viewer.add_image(np.zeros((4096, 4096), np.uint8))
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    margins = next(iter(controller.vouching._margins.values()))
    places = (np.array([0, 4000]), np.array([0, 4000]))
    correction.data_setitem(places, 1)  # one atom as large as the image
    qtbot.waitUntil(lambda: not margins._work)
    assert reviewed.data.sum() == 9 * 9 + 17 * 17
    reviewed.undo()
    assert not reviewed.data.any()


def test_rectangles_and_brush_by_hand(make_napari_viewer_proxy, qtbot, client, blobs):
    viewer = make_napari_viewer_proxy(show=True)
    controller = Controller(viewer.__wrapped__, client)
    viewer.add_image(np.stack([np.tile(blobs, (3, 3))] * 6), scale=(2, 0.5, 0.5), translate=(1, 100, 200))
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    qtbot.wait(100)
    hand = Pointer(viewer.__wrapped__, reviewed)
    controller.vouching.rectangle()
    assert controller.state.review.marking == "rectangle"
    before = tuple(viewer.scene.camera.center)
    hand.draw((40, 50), (120, 200))
    assert tuple(viewer.scene.camera.center) == before
    marked = np.argwhere(reviewed.data)
    place = int(marked[0][0])
    assert marked.min(axis=0).tolist() == pytest.approx([place, 40, 50], abs=2)
    assert marked.max(axis=0).tolist() == pytest.approx([place, 120, 200], abs=2)
    assert reviewed.data.sum() == np.prod(np.ptp(marked, axis=0)[1:] + 1)
    hand.undo()
    assert not reviewed.data.any()
    controller.vouching.brush()
    assert (reviewed.mode, controller.state.review.marking) == ("paint", "brush")
    hand.draw((100, 100), (100, 150))
    assert reviewed.data.any()
    assert not correction.data.any()
    controller.vouching.correct()
    assert viewer.layers.selection.active == correction
    assert correction.mode == "paint"
    assert controller.state.review.marking == ""
    controller.close()


def test_choosing_a_mode_puts_the_rectangle_away(viewer, controller, stack):
    _, reviewed = stack
    controller.vouching.rectangle()
    reviewed.mode = "fill"
    assert controller.state.review.marking == ""
    controller.vouching.rectangle()
    viewer.layers.selection.active = next(layers.with_role(viewer, "correction"))
    assert controller.state.review.marking == ""
    assert reviewed.mouse_pan


def test_what_is_filtered_out_of_sight_is_not_vouched_for(patient, controller, stack, qtbot):
    correction, reviewed = stack
    correction.data[:, 40:42, 40:42] = 5
    correction.data[:, 60:90, 60:90] = 6
    filtering = controller.tools.filtering
    filtering.look(smaller_px=10)
    qtbot.waitUntil(lambda: controller.state.tooling.filter.unwanted == 1)
    filtering.remove()
    qtbot.waitUntil(lambda: (correction.data == 5).any(axis=(1, 2)).sum() < 5)  # in the slice on the screen
    assert (correction.data == 6).any()
    assert not reviewed.data.any()
