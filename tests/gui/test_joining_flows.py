"""How near flows must end to be one object: a setting of models with flows, and of no others."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.gui.export_source import exported_layer, result_of
from napari_unet.gui.state import ModelChoice


@pytest.fixture
def flowing(trained):
    network = trained.spec.network.model_copy(update={"out_channels": 5})
    spec = trained.spec.model_copy(update={"network": network, "activation": "flows"})
    assert spec.outputs == (*spec.classes, "flow y", "flow x")
    return ModelChoice(title="flows", source="flows", spec=spec)


def test_it_is_shown_for_models_with_flows_alone(segmenting, controller, trained, flowing):
    controller.state.models = (flowing, *controller.state.models)
    for model, shown in ((flowing, True), (trained, False), (flowing, True)):
        controller.modelling.choose(model)
        assert segmenting.reach.isHidden() is not shown
        assert segmenting.tuning.labelForField(segmenting.reach).isHidden() is not shown


@pytest.fixture
def segmented(viewer, controller, flowing, idle, blobs):
    """An image that a model with flows has segmented."""
    controller.state.models = (flowing, *controller.state.models)
    controller.modelling.choose(flowing)
    viewer.add_image(blobs)
    controller.segmenting.segment()
    idle()


@pytest.mark.usefixtures("segmented")
def test_keys_change_it_and_objects_are_found_again_without_the_network(segmenting, controller, client, idle, qtbot):
    assert client.requests[-1].probabilities.shape[0] == 5
    before = segmenting.reach.value()
    qtbot.keyClick(segmenting.reach, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: client.requests[-1].kind == "objects")
    idle()
    assert [request.kind for request in client.requests] == ["segment", "objects"]
    assert client.requests[-1].objects.reach_px == before + 1 == controller.state.objects.reach_px
    assert client.requests[-1].spec.activation == "flows"
    controller.state.change_objects(reach_px=9)
    assert segmenting.reach.value() == 9


@pytest.mark.usefixtures("segmented")
def test_probabilities_to_be_saved_are_those_of_the_classes(controller, blobs):
    desk = controller._desk
    found = result_of(desk, exported_layer(desk), controller.segmenting.kept)
    assert found.channels == ("background", "interior", "border")
    assert np.asarray(found.probabilities).shape == (3, 1, 1, *blobs.shape)
