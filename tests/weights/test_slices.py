"""Models that are shown neighbouring slices: their description, their file, and how they are made of others."""

import json

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ChannelError, ModelError
from napari_unet.weights.slices import with_slices
from napari_unet.weights.spec import ModelSpec, changed_spec

SMALL = {"width": 4, "depth": 2}


def trained(variant="unet", in_channels=1, **options):
    """A model that passes for a trained one."""
    return nu.new_model(variant, in_channels, **options).with_spec(trained=True)


def logits(model, image):
    with torch.inference_mode():
        return model.network.eval().on_grid(image)


def test_a_new_model_has_a_channel_for_each_slice():
    model = nu.new_model("unet", in_channels=2, slices=3, **SMALL)
    assert (model.spec.slices, model.spec.image_channels, model.network.in_channels) == (3, 2, 6)


def test_a_model_file_remembers_the_slices(tmp_path):
    model = nu.new_model("unet", slices=5, **SMALL)
    found = nu.load_model(model.save(tmp_path / "slices.safetensors"))
    assert found.spec == model.spec
    assert found.spec.slices == 5


def test_descriptions_of_single_slices_are_written_as_they_always_were():
    spec = nu.new_model("unet", **SMALL).spec
    assert "slices" not in json.loads(spec.model_dump_json())
    assert "slices" not in spec.model_dump()
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(changed_spec(nu.new_model("unet", slices=3, **SMALL).spec).model_dump_json())["slices"] == 3


@pytest.mark.parametrize("slices", [0, 2, 4, 11, -1, "3"])
def test_the_slices_are_an_odd_number(slices):
    with pytest.raises(ModelError, match=r"Choose an odd number from 1 to 9"):
        nu.new_model("unet", slices=slices, **SMALL)


def test_networks_for_volumes_are_not_shown_neighbours():
    with pytest.raises(ModelError, match="for volumes sees all slices"):
        nu.new_model("unet-3d", slices=3, width=4, depth=1)
    with pytest.raises(ModelError, match="for volumes sees all slices"):
        with_slices(trained("unet-3d", width=4, depth=1), 3)


def test_a_description_that_contradicts_itself_is_refused():
    with pytest.raises(ModelError, match="1 input channels cannot be those of 3 slices"):
        nu.new_model("unet", **SMALL).with_spec(slices=3)


@pytest.mark.parametrize(
    "name",
    [
        "unet",
        "unet-valid",
        "unet-torch-em",
        "residual-unet",
        "attention-r2-unet",
        "unet3+",
        "convnext-unet",
        "resnet18-unet",
    ],
)
def test_a_trained_model_says_the_same_whatever_the_neighbours(name):
    model = trained(name, in_channels=2)
    changed = with_slices(model, 3)
    assert changed.spec.slices == 3
    assert changed.spec.trained
    image = torch.randn((1, 6, 96, 64), generator=torch.Generator().manual_seed(1))
    expected = logits(model, image[:, 2:4])
    assert torch.allclose(logits(changed, image), expected, atol=1e-5 * float(expected.abs().max()))


def test_more_slices_keep_what_fewer_ones_told():
    model = with_slices(trained(**SMALL), 3)
    with torch.no_grad():
        model.network.encoder[0][0].conv.weight.normal_()
    changed = with_slices(model, 7)
    image = torch.randn((1, 7, 32, 32), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(logits(changed, image), logits(model, image[:, 2:5]), atol=1e-5)


def test_the_same_slices_change_nothing():
    model = trained(**SMALL)
    assert with_slices(model, 1) is model
    changed = with_slices(model, 3)
    assert with_slices(changed, 3) is changed


def test_fewer_slices_are_refused():
    with pytest.raises(ModelError, match="learnt from 3 slices at once, and 1 would be too few"):
        with_slices(with_slices(trained(**SMALL), 3), 1)


def test_an_untrained_model_is_made_anew():
    changed = with_slices(nu.new_model("unet", **SMALL), 3)
    assert not changed.trained
    assert changed.sha256 == nu.new_model("unet", slices=3, **SMALL).sha256
    weight = changed.network.encoder[0][0].conv.weight
    assert bool((weight != 0).all())


def test_a_network_that_mixes_its_channels_before_is_refused(monkeypatch):
    model = trained(**SMALL)
    honest = type(model.network).forward

    def mixing(self, image):
        return honest(self, image - image.mean(dim=1, keepdim=True))

    monkeypatch.setattr(type(model.network), "forward", mixing)
    with pytest.raises(ModelError, match="mixes its input channels"):
        with_slices(model, 3)


def test_channels_of_an_image_are_counted_without_the_slices():
    model = nu.new_model("unet", in_channels=2, slices=3, **SMALL)
    image = np.random.default_rng(0).normal(size=(2, 4, 16, 16))
    assert nu.predict(model, image, axes="CZYX").shape == (3, 4, 16, 16)
    with pytest.raises(ChannelError, match="The model takes 2 channels, and 1 of"):
        nu.predict(model, image[0])


def test_a_file_of_slices_is_not_opened_with_other_channels(tmp_path):
    path = nu.new_model("unet", slices=3, **SMALL).save(tmp_path / "slices.safetensors")
    assert nu.load_model(path, in_channels=1).network.in_channels == 3
    assert nu.load_model(path, classes=("background", "cell")).network.in_channels == 3
    with pytest.raises(ModelError, match="is shown 3 slices at once, so the number of its channels"):
        nu.load_model(path, in_channels=2)
