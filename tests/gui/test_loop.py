"""The loop through the controller, with a background process that is none."""

import numpy as np

from napari_unet.gui import layers


def ours(viewer, role):
    (found,) = layers.with_role(viewer, role)
    return found


def test_segment_makes_a_prediction_that_sits_on_the_image(viewer, controller, idle, blobs):
    image = viewer.add_image(blobs, scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"), axis_labels=("y", "x"))
    controller.segmenting.segment()
    idle()
    prediction = ours(viewer, "prediction")
    assert prediction.data.dtype == np.uint32
    assert len(np.unique(prediction.data)) == 6
    for name in ("scale", "translate", "units", "axis_labels"):
        assert np.array_equal(getattr(prediction, name), getattr(image, name))
    assert not ours(viewer, "probability").visible
    assert controller.state.message.text.startswith("5 objects in ")
    assert "tiles exact" in controller.state.message.text


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
