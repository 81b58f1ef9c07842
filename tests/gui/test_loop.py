"""The loop through the controller, with a background process that is none."""

import numpy as np
import pytest

from napari_unet.gui import layers
from napari_unet.gui.state import Activity


def ours(viewer, role):
    (found,) = layers.with_role(viewer, role)
    return found


def test_segment_makes_a_prediction_that_sits_on_the_image(viewer, controller, idle, blobs):
    image = viewer.add_image(blobs, scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"), axis_labels=("y", "x"))
    controller.segmenting.segment()
    idle()
    prediction = ours(viewer, "prediction")
    assert prediction.name == f"{image.name} prediction"
    assert prediction.data.dtype == np.uint32
    assert len(np.unique(prediction.data)) == 6
    for name in ("scale", "translate", "units", "axis_labels"):
        assert np.array_equal(getattr(prediction, name), getattr(image, name))
    assert not ours(viewer, "probability").visible
    assert controller.state.message.text.startswith("5 objects in ")
    assert "· exact" in controller.state.message.text


def test_tiles_show_while_the_network_runs(viewer, controller, client, qtbot, idle, blobs):
    viewer.add_image(blobs)
    client.hold_after = 2
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: controller.state.advance.done == 2)
    shown = ours(viewer, "probability")
    assert shown.visible
    assert shown.data[:64].max() == 1
    assert shown.data[64:].max() == 0
    assert controller.state.activity is Activity.SEGMENTING
    assert (controller.state.advance.done, controller.state.advance.total) == (2, 3)
    client.hold = False
    idle()


def test_settings_for_objects_apply_without_the_network(viewer, controller, client, idle, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.state.change_objects(min_size_px=100)
    controller.segmenting.find_objects()
    idle()
    assert [request.kind for request in client.requests] == ["segment", "objects"]
    assert len(np.unique(ours(viewer, "prediction").data)) == 5
    assert controller.state.segmented.objects == 4


def test_settings_changed_while_busy_apply_afterwards(viewer, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.segmenting.segment()
    controller.state.change_objects(min_size_px=100)
    controller.segmenting.find_objects()
    qtbot.waitUntil(lambda: [r.kind for r in client.requests] == ["segment", "segment", "objects"])
    idle()
    assert controller.state.segmented.objects == 4


def test_preview_covers_what_is_seen_and_goes_with_the_next_run(viewer, controller, client, idle, qtbot, blobs):
    image = viewer.add_image(np.tile(blobs, (4, 4)), scale=(2, 2), translate=(5, 5))
    image.corner_pixels = np.array([[100, 130], [199, 229]])
    controller.state.change_objects(min_size_px=0)
    controller.segmenting.preview()
    idle()
    preview = ours(viewer, "preview")
    assert client.requests[0].region == ((0, 1), (0, 1), (100, 200), (130, 230))
    assert preview.data.shape == (100, 100)
    assert np.allclose(preview.data_to_world((0, 0)), image.data_to_world((100, 130)))
    assert np.array_equal(preview.data > 0, image.data[100:200, 130:230] > 100)
    controller.segmenting.segment()
    idle()
    assert not list(layers.with_role(viewer, "preview"))


def test_a_plane_of_a_stack_is_previewed_where_the_slider_stands(viewer, controller, client, idle, blobs):
    viewer.add_image(np.stack([blobs] * 6))
    viewer.dims.set_current_step(0, 4)
    controller.segmenting.preview()
    idle()
    assert client.requests[0].region[1] == (4, 5)
    assert ours(viewer, "preview").data.shape[0] == 1


def test_a_stack_with_channels_in_the_middle(viewer, controller, client, idle, blobs):
    stack = np.stack([np.stack([blobs, blobs // 4])] * 5)
    viewer.add_image(stack, axis_labels=("z", "c", "y", "x"))
    assert "Choose which channels" in controller.state.obstacle
    controller.state.channels = (0,)
    assert controller.state.image_sentence == "5 slices, channel 1 of 2, 96 × 128 pixels"
    controller.segmenting.segment()
    idle()
    assert client.requests[0].inference.channels == (0,)
    assert ours(viewer, "prediction").data.shape == (5, 1, 96, 128)


def test_cancel_leaves_everything_as_it_was(viewer, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    before = ours(viewer, "prediction").data.copy()
    names = [layer.name for layer in viewer.layers]
    client.hold_after = 1
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: controller.state.advance.done == 1)
    controller.cancel()
    assert controller.state.activity is Activity.CANCELLING
    idle()
    assert np.array_equal(ours(viewer, "prediction").data, before)
    assert set(names) >= {layer.name for layer in viewer.layers}
    assert controller.state.message.text.startswith("Cancelled")


def test_a_crash_is_one_sentence_and_the_next_run_works(viewer, controller, client, idle, blobs):
    viewer.add_image(blobs)
    client.fail = "The background process ended unexpectedly."
    controller.segmenting.segment()
    idle()
    assert controller.state.message.text == client.fail
    assert controller.state.message.level == "error"
    assert [layer.name for layer in viewer.layers] == ["blobs"] or len(viewer.layers) == 1
    client.fail = ""
    controller.segmenting.segment()
    idle()
    assert len(np.unique(ours(viewer, "prediction").data)) == 6


def test_scratch_files_do_not_pile_up(viewer, controller, idle, blobs):
    viewer.add_image(blobs)
    for _ in range(3):
        controller.segmenting.segment()
        idle()
    left = list(controller._desk.scratch.folder.glob("*.raw"))
    assert len(left) == 1  # the probabilities that are kept


def test_removing_the_image_during_a_run_does_no_harm(viewer, controller, client, idle, qtbot, blobs):
    image = viewer.add_image(blobs)
    client.hold_after = 1
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: controller.state.advance.done == 1)
    viewer.layers.remove(image)
    client.hold = False
    idle()
    assert "was removed meanwhile" in controller.state.message.text
    assert not list(layers.with_role(viewer, "probability"))


@pytest.mark.parametrize("seed", range(6))
def test_predicting_again_keeps_what_is_reviewed_and_is_undone_in_one_step(viewer, controller, idle, blobs, seed):
    rng = np.random.default_rng(seed)
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    controller.vouching.set_margin(0)  # otherwise the strokes below are reviewed, and nothing is left to be predicted
    correction, reviewed = ours(viewer, "correction"), ours(viewer, "reviewed")
    correction.paint((20, 20), 40)
    correction.paint((80, 100), 41)
    y, x = rng.integers(0, 60, 2)
    reviewed.data[y : y + 30, x : x + 30] = 1
    if seed == 5:
        reviewed.data[:] = 0
    before = correction.data.copy()
    controller.segmenting.segment()
    idle()
    vouched = reviewed.data > 0
    assert np.array_equal(correction.data[vouched], before[vouched])
    for label in np.unique(before[vouched])[1:]:
        assert np.all(correction.data[before == label] == label)
    correction.undo()
    assert np.array_equal(correction.data, before)


def test_a_stroke_during_the_merge_is_not_lost(viewer, controller, client, idle, qtbot, blobs):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.correcting.start()
    correction, reviewed = ours(viewer, "correction"), ours(viewer, "reviewed")
    reviewed.data[80:96, 90:128] = 1
    client.hold_at = "merge"
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: client.hold)
    correction.data_setitem((np.arange(85, 90), np.full(5, 100)), 77)
    client.hold = False
    idle()
    assert np.all(correction.data[85:90, 100] == 77)
    assert [r.kind for r in client.requests][-2:] == ["merge", "merge"]


def test_lazy_and_multiscale_images_are_read_at_full_resolution(viewer, controller, idle, blobs):
    import dask.array as da

    big = da.from_array(np.tile(blobs, (2, 2)), chunks=50)
    viewer.add_image([big, big[::2, ::2]], multiscale=True, contrast_limits=(0, 255))
    controller.segmenting.segment()
    idle()
    assert ours(viewer, "prediction").data.shape == big.shape
    assert len(np.unique(ours(viewer, "prediction").data)) == 21


def test_a_volume_shown_in_3d_is_previewed_whole(viewer, controller, client, idle, blobs):
    viewer.add_image(np.stack([blobs] * 6))
    viewer.dims.ndisplay = 3
    controller.segmenting.preview()
    idle()
    assert client.requests[0].region == ((0, 1), (0, 6), (0, 96), (0, 128))


def test_a_correction_of_another_shape_is_not_touched(viewer, controller, idle, blobs):
    viewer.add_image(np.stack([blobs] * 6))
    controller.correcting.start()
    correction = ours(viewer, "correction")
    correction.paint((0, 20, 20), 3)
    before = correction.data.copy()
    controller.choosing.set_axes("TYX")
    controller.segmenting.segment()
    idle()
    assert "Set the axes as they were" in controller.state.message.text
    assert np.array_equal(correction.data, before)


def test_a_cancelled_file_is_there_whole_or_not_at_all(viewer, controller, idle, blobs, tmp_path):
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()
    controller.exporting.save_masks(str(tmp_path / "masks.tif"))
    controller.cancel()
    assert controller.state.activity is Activity.CANCELLING
    idle()
    said = controller.state.message.text
    assert said.startswith("Saved") if (tmp_path / "masks.tif").exists() else said == "Cancelled."
    assert len(list(tmp_path.iterdir())) <= 1
