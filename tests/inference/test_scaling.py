"""Weights tell how the images of their training were scaled."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.synthetic import nuclei_stack


@pytest.fixture(scope="module")
def image():
    scaled = nuclei_stack((4, 128, 128), seed=3).image.astype(np.float64)
    return (scaled / scaled.max() * 200).astype(np.uint8)[2]


def model_that_saw(image, normalization):
    """A network whose batch normalization has seen the image under a normalization."""
    torch.manual_seed(0)
    model = nu.new_model("unet", width=4, depth=2).with_spec(normalization=normalization)
    inputs = normalized(image, normalization)
    network = model.network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(inputs)
    network.eval()
    return model


def normalized(image, normalization):
    low, high = {
        "dtype": (0, 255),
        "z-score": (image.mean(), image.mean() + image.std()),
        "fixed": (0, 1),
    }[normalization.method]
    return torch.from_numpy(((image - low) / (high - low)).astype(np.float32))[None, None]


@pytest.mark.parametrize(
    "truth",
    [
        Normalization(method="dtype"),
        Normalization(method="z-score"),
        Normalization(method="fixed", low=(0.0,), high=(1.0,)),
    ],
)
def test_the_scaling_of_the_training_is_found(image, truth):
    model = model_that_saw(image, truth).with_spec(
        normalization=Normalization(method="fixed", low=(0.0,), high=(4000.0,))
    )
    scaling = nu.suggest_normalization(model, image)
    assert scaling.normalization.method == truth.method
    assert scaling.decisive
    assert scaling.distances[scaling.best] < 0.1


def test_what_fits_already_is_left_alone(image):
    scaling = nu.suggest_normalization(model_that_saw(image, Normalization(method="dtype")), image)
    assert not scaling.decisive


def test_without_batch_normalization_there_is_nothing_to_tell_by(image):
    assert nu.suggest_normalization(nu.new_model("unet-plain", width=2), image) is None


def test_the_network_is_left_as_it_was(image):
    model = model_that_saw(image, Normalization(method="dtype"))
    before = model.sha256
    nu.suggest_normalization(model, image)
    assert model.sha256 == before
    assert not any(module._forward_pre_hooks for module in model.network.modules())
