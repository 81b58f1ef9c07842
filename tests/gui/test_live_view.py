"""What is seen of a model while it learns, and of both models afterwards."""

import numpy as np
import pytest
from clicking import click, preview

from napari_unet.gui.live_view import capped


def test_what_is_seen_is_shown_as_it_is_learnt_and_nothing_else_changes(viewer, controller, training, reviewed):
    correction, _ = reviewed
    shown = preview(viewer)
    assert shown.name == "blobs preview"
    assert (shown.data[:, :24] == 3).all()
    assert not shown.data[:, 24:].any()
    assert np.allclose(shown.data_to_world((0, 0)), viewer.layers["blobs"].data_to_world((0, 0)))
    assert viewer.layers.selection.active.name == correction.name


def test_a_preview_that_is_removed_while_it_trains_does_not_come_back(viewer, controller, client, training, idle):
    viewer.layers.remove(preview(viewer))
    client.hold = False
    idle()
    assert preview(viewer) is None
    assert controller.state.proposal is not None
    assert controller.state.compared == ""


def test_nothing_is_shown_where_nobody_wants_to_see_it(viewer, controller, client, step, reviewed, qtbot, idle):
    step.live.click()
    click(qtbot, step.start)
    idle()
    assert client.requests[-1].watch.live is False
    assert preview(viewer) is None
    assert not step.verdict.compare.isHidden()


def test_an_image_that_is_hidden_is_not_watched(viewer, controller, client, reviewed, idle):
    viewer.layers["blobs"].visible = False
    controller.finetuning.start()
    idle()
    assert client.requests[-1].watch is None
    assert preview(viewer) is None


@pytest.mark.parametrize(
    ("size", "most"), [((1, 1, 4000, 4000), 2**18), ((1, 40, 900, 700), 2**18), ((1, 1, 3, 90_000), 2**18)]
)
def test_a_large_view_is_cut_to_its_middle(size, most):
    region = capped(tuple((5, 5 + n) for n in size), most)
    lengths = [stop - start for start, stop in region]
    assert most / 2 < np.prod(lengths) <= most
    for (start, stop), n in zip(region, size, strict=True):
        assert abs((start - 5) - (5 + n - stop)) <= 1


def test_before_and_after_are_flipped(viewer, controller, client, step, reviewed, qtbot, idle):
    correction, _ = reviewed
    click(qtbot, step.start)
    idle()
    compare = step.verdict.compare
    assert compare.after.isChecked()
    assert (preview(viewer).data == 91).all()
    click(qtbot, compare.before)
    assert (preview(viewer).data == 90).all()
    assert compare.before.isChecked()
    assert not compare.after.isChecked()
    click(qtbot, compare.before)
    assert not preview(viewer).visible
    assert not compare.before.isChecked()
    viewer.layers.remove(preview(viewer))
    click(qtbot, compare.after)
    assert (preview(viewer).data == 91).all()
    assert viewer.layers.selection.active.name == correction.name
    assert compare.count.text() == "1 → 2 objects in view"
    click(qtbot, step.verdict.discard)
    assert preview(viewer) is None


def test_using_the_new_model_takes_the_view_away(viewer, controller, proposed, idle):
    controller.finetuning.use(segment_again=False)
    idle()
    assert preview(viewer) is None
    assert controller.state.compared == ""


def test_comparing_without_the_image_is_a_sentence(viewer, controller, proposed):
    viewer.layers.remove("blobs preview")
    viewer.layers.remove("blobs")
    controller.finetuning.compare("before")
    assert controller.state.message.level == "error"
    assert controller.state.compared == ""
