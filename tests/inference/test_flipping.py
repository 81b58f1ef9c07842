"""Fields are flipped and predicted: where the answer depends on the direction, it is not stable."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.flipping import flip_events
from napari_unet.networks.base import Network
from napari_unet.objects.reviewing import divide, instability_of


@pytest.fixture
def model():
    return nu.new_model("unet-small", classes=("background", "cell"), width=4)


class Leaning(Network):
    """Sees what is brighter than its left neighbour, if that is bright at all."""

    def forward(self, image):
        step = image - image.roll(1, dims=-1)
        return torch.cat([torch.zeros_like(step), 100 * step * (image > 0.5)], dim=1)


def flip(model, image, fields, axes="YX"):
    out = np.zeros((len(fields), 2 + len(model.spec.classes)), np.float32)
    finish(flip_events(model, open_image(image, axes), InferenceConfig(device="cpu"), fields, out))
    return out


def test_what_depends_on_the_direction_is_not_stable(model):
    model = replace(model, network=Leaning(1, 2, model.network.geometry))
    image = np.zeros((64, 128), np.float32)
    image[20:40, 80:100] = 1
    image[0, 0] = 0.1
    found = flip(model, image, divide((1, 1, 64, 128), 64))
    assert found[0, 0] == 0
    assert found[1, 0] > 0
    assert found[:, 1:].sum(axis=1) == pytest.approx([1, 1])


def test_a_field_counts_by_itself_whatever_its_size(model):
    image = np.random.default_rng(0).random((3, 70, 50), np.float32)
    fields = divide((1, 3, 70, 50), 32)
    found = flip(model, image, fields, "ZYX")
    assert found[:, 1:].sum(axis=1) == pytest.approx(np.ones(len(fields)))
    again = flip(model, image, fields[4:5], "ZYX")
    assert again[0] == pytest.approx(found[4])


def test_a_volume_and_objects_without_background_are_flipped_too():
    image = np.random.default_rng(0).random((9, 40, 40), np.float32)
    volume = nu.new_model("unet-3d", classes=("background", "cell"), width=4, depth=2)
    assert flip(volume, image, divide((1, 9, 40, 40), 40)[3:5], "ZYX")[:, 1:].sum(axis=1) == pytest.approx([1, 1])
    plain = nu.new_model("unet-small", classes=("cell", "vessel"), width=4).with_spec(activation="sigmoid")
    assert flip(plain, image[0], divide((1, 1, 40, 40)))[0, 1:].sum() == pytest.approx(1)


def test_raw_values_cannot_be_compared(model):
    with pytest.raises(ModelError, match="no probabilities"):
        flip(model.with_spec(activation="none"), np.zeros((8, 8), np.float32), divide((1, 1, 8, 8)))


def test_instability_is_the_share_of_pixels_that_change():
    answers = np.zeros((4, 2, 10, 10))
    answers[:, 0] = 1
    answers[0, :, :2] = answers[0, ::-1, :2].copy()
    gain = instability_of(answers)
    assert gain.uncertainty == pytest.approx(0.2 / 4)
    assert gain.classes == (1, 0)
