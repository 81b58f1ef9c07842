"""Models with flows: their description, their file, and how they are made of others."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.training.fit import with_classes
from napari_unet.weights.flows import with_flows, without_flows
from napari_unet.weights.spec import FLOWS, INSTANCE_CLASSES

SMALL = {"width": 4, "depth": 2}


@pytest.fixture
def image():
    return torch.rand((1, 1, 40, 40), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variant", ["unet", "unet++", "resnet18-unet"])
def test_classes_stay_and_nothing_moves_at_first(variant, image):
    options = SMALL if variant == "unet" else {}
    old = nu.new_model(variant, **options)
    new = with_flows(old)
    with torch.inference_mode():
        before, after = (one.network.eval().on_grid(image) for one in (old, new))
    assert torch.allclose(before, after[:, :3], atol=1e-5)
    assert not after[:, 3:].any()
    assert new.spec.classes == INSTANCE_CLASSES
    assert new.spec.outputs == (*INSTANCE_CLASSES, *FLOWS)
    assert old.spec.outputs == INSTANCE_CLASSES


def test_a_model_with_flows_is_not_given_more_of_them():
    model = with_flows(nu.new_model("unet", **SMALL))
    assert with_flows(model) is model


def test_a_model_file_remembers_the_flows(tmp_path):
    model = with_flows(nu.new_model("unet", **SMALL))
    found = nu.load_model(model.save(tmp_path / "flows.safetensors"))
    assert found.spec == model.spec
    assert found.network.out_channels == 5


def test_flows_survive_another_number_of_input_channels(tmp_path):
    path = with_flows(nu.new_model("unet", **SMALL)).save(tmp_path / "flows.safetensors")
    found = nu.load_model(path, in_channels=3, stem="sum")
    assert (found.spec.activation, found.network.in_channels, found.network.out_channels) == ("flows", 3, 5)


def test_other_classes_take_the_place_of_flows(tmp_path):
    path = with_flows(nu.new_model("unet", **SMALL)).save(tmp_path / "flows.safetensors")
    found = nu.load_model(path, classes=["background", "cell", "debris"])
    assert (found.spec.activation, found.spec.meaning, found.network.out_channels) == ("softmax", "semantic", 3)


@pytest.mark.parametrize("activation", ["none", "softmax"])
def test_another_activation_leaves_flows_out(activation, tmp_path, image):
    model = with_flows(nu.new_model("unet", **SMALL))
    found = nu.load_model(model.save(tmp_path / "flows.safetensors"), activation=activation)
    assert (found.spec.activation, found.spec.outputs) == (activation, INSTANCE_CLASSES)
    with torch.inference_mode():
        said, wanted = (one.network.eval().on_grid(image) for one in (found, model))
    assert torch.allclose(said, wanted[:, :3], atol=1e-5)


def test_as_many_classes_as_there_were_outputs_get_a_new_head(tmp_path):
    model = with_flows(nu.new_model("unet", **SMALL))
    names = ("background", "one", "two", "three", "four")
    found = nu.load_model(model.save(tmp_path / "flows.safetensors"), classes=list(names))
    tuned = with_classes(model, names)
    for changed in (found, tuned):
        assert (changed.spec.classes, changed.spec.activation, changed.spec.meaning) == (names, "softmax", "semantic")
        assert not torch.equal(changed.network.head.weight, model.network.head.weight)
        assert changed.network.head.weight[3:].any()


def test_without_flows_a_model_is_what_it_was():
    model = nu.new_model("unet", **SMALL)
    again = without_flows(with_flows(model))
    assert again.spec == model.spec
    assert again.sha256 == model.sha256
    assert without_flows(model) is model


def test_volumes_and_classes_have_no_flows():
    with pytest.raises(ModelError, match="finds objects in volumes"):
        with_flows(nu.new_model("unet-3d", width=4, depth=1))
    with pytest.raises(ModelError, match="finds classes"):
        with_flows(nu.new_model("unet", classes=("background", "cell"), **SMALL))


def test_flows_cannot_be_asked_of_a_network_that_gives_none(tmp_path):
    path = nu.new_model("unet", **SMALL).save(tmp_path / "classes.safetensors")
    with pytest.raises(ModelError, match=r"'flows' was given\. Choose one of: 'none', 'sigmoid', 'softmax'\."):
        nu.load_model(path, activation="flows")


def test_probabilities_are_those_of_the_classes_alone():
    model = with_flows(nu.new_model("unet", **SMALL))
    pixels = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    found = nu.predict(model, pixels)
    assert found.shape == (3, 50, 60)
    assert found.sum(axis=0) == pytest.approx(1, abs=1e-5)
