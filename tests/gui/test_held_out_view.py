"""What a training is judged on is told, and marked on demand, by the mouse."""

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QPoint, Qt

from napari_unet.events import HeldOut
from napari_unet.gui import layers
from napari_unet.gui.held_out import marked

QUARTER = HeldOut(
    "Held out: the right quarter of “blobs”; 12 objects.", (("blobs", ((0, 1), (0, 1), (0, 96), (96, 128))),)
)


def tick(qtbot, box):
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def marks(viewer):
    return list(layers.with_role(viewer, "held-out"))


@pytest.fixture
def judged(controller, client, step, reviewed, qtbot, idle):
    """A new model that waits for the decision, and what it was judged on."""
    client.result |= {"held_out": QUARTER}
    click(qtbot, step.start)
    idle()
    return step


def test_it_is_told_in_one_line_before_the_first_step(controller, client, step, reviewed, qtbot, idle):
    client.result |= {"held_out": QUARTER}
    client.hold_at_step = 1
    assert step.held_out.isHidden()
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: client.hold)
    line = step.held_out
    assert not line.isHidden()
    assert line.told.text() == QUARTER.sentence
    assert QUARTER.sentence in line.told.toolTip()
    assert "never learned from" in line.told.toolTip()
    client.hold = False
    idle()
    assert not line.isHidden()


def test_it_is_marked_and_unmarked_by_the_box_and_nothing_else_changes(viewer, controller, judged, qtbot, reviewed):
    correction, region = reviewed
    before, vouched = correction.data.copy(), region.data.copy()
    names = [layer.name for layer in viewer.layers]
    active = viewer.layers.selection.active.name
    tick(qtbot, judged.held_out.show_it)
    (mark,) = marks(viewer)
    assert mark.name == "blobs held-out"
    seen = np.asarray(mark.data)
    assert seen[:, 96:].all()
    assert not seen[:, :96].any()
    assert not mark.editable
    assert viewer.layers.selection.active.name == active
    assert mark.name not in [choice.name for choice in controller.state.labels]
    tick(qtbot, judged.held_out.show_it)
    assert [layer.name for layer in viewer.layers] == names
    assert np.array_equal(correction.data, before)
    assert np.array_equal(region.data, vouched)


def test_the_mark_goes_with_the_proposal(viewer, controller, judged, qtbot, idle):
    tick(qtbot, judged.held_out.show_it)
    assert marks(viewer)
    click(qtbot, judged.verdict.discard)
    assert not marks(viewer)
    assert judged.held_out.isHidden()


def test_the_mark_goes_when_the_new_model_is_used(viewer, controller, judged, qtbot, idle):
    tick(qtbot, judged.held_out.show_it)
    controller.finetuning.use(segment_again=False)
    idle()
    assert not marks(viewer)
    assert not controller.state.apart.shown


def test_a_mark_that_is_removed_by_hand_unticks_the_box(viewer, controller, judged, qtbot):
    tick(qtbot, judged.held_out.show_it)
    viewer.layers.remove(marks(viewer)[0].name)
    assert not judged.held_out.show_it.isChecked()
    tick(qtbot, judged.held_out.show_it)
    assert marks(viewer)


def test_the_next_training_moves_the_mark(viewer, controller, client, judged, qtbot, idle):
    tick(qtbot, judged.held_out.show_it)
    client.result |= {
        "held_out": HeldOut("Held out: the upper half.", (("blobs", ((0, 1), (0, 1), (0, 48), (0, 128))),))
    }
    click(qtbot, judged.start)
    idle()
    (mark,) = marks(viewer)
    assert np.asarray(mark.data)[:48].all()
    assert not np.asarray(mark.data)[48:].any()
    assert judged.held_out.show_it.isChecked()


def test_a_training_that_is_thrown_away_leaves_no_mark(viewer, controller, client, training, qtbot, idle):
    controller.finetuning.held_out.tell(QUARTER)
    tick(qtbot, training.held_out.show_it)
    assert marks(viewer)
    click(qtbot, training.training.discard)
    idle()
    assert not marks(viewer)


def test_an_image_that_is_gone_is_a_sentence(viewer, controller, judged, qtbot):
    viewer.layers.remove("blobs")
    tick(qtbot, judged.held_out.show_it)
    assert controller.state.message.level == "error"
    assert not judged.held_out.show_it.isChecked()


@pytest.mark.parametrize("shape", [(1, 8, 60, 70), (5, 3, 20, 30)])
def test_planes_and_strips_take_no_memory(shape):
    t, z, y, x = ((0, n) for n in shape)
    planes = marked(shape, [(t, (1, 2), y, x)])
    assert planes.shape == shape
    assert planes[:, 1].all()
    assert planes.sum() == planes[:, 1].size
    strips = marked(shape, [(t, z, y, (4, 9)), (t, z, y, (12, 13))])
    assert strips.sum() == np.prod(shape[:3]) * 6
    assert max(array.base.size for array in (planes, strips)) < 100
    assert marked(shape, [(t, z, y, (4, 9)), (t, (0, 1), y, x)])[:, 0].all()


def test_it_lies_where_a_scaled_stack_lies(scene, qtbot):
    """Slices in 2D, and the whole volume in 3D."""
    stack = np.zeros((6, 60, 80), np.uint8)
    made = scene(np.ones(stack.shape, np.uint32), image=stack, scale=(2, 0.5, 0.25), translate=(10, 100, -20))
    qtbot.waitUntil(lambda: bool(made.controller.state.counts))
    view = made.controller.finetuning.held_out
    image = made.viewer.layers["stack"] if "stack" in made.viewer.layers else made.viewer.layers[0]
    view.know(image.name, layers.layer_id(image))
    view.tell(HeldOut("Held out: 2 of 6 slices.", ((image.name, ((0, 1), (2, 4), (0, 60), (0, 80))),)))
    view.show(True)
    (mark,) = marks(made.viewer)
    assert np.allclose(mark.extent.world, image.extent.world)
    assert mark.data[2:4].all()
    assert mark.data.sum() == 2 * 60 * 80
    made.viewer.dims.ndisplay = 3
    made.viewer.dims.ndisplay = 2
    assert not mark.editable
    view.show(False)
    assert not marks(made.viewer)
    qtbot.wait(300)  # what is reviewed is counted meanwhile
