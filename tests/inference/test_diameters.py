"""The size of objects is found in the image."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.imaging.synthetic import nuclei_stack
from napari_unet.inference.diameters import estimate_diameter, median_diameter


@pytest.fixture(scope="module")
def model():
    return nu.load_model("nuclei")


def discs(diameter, shape=(128, 160), pitch=1.8):
    """Bright discs in a row and column each, on a dark noisy background."""
    step = diameter * pitch
    y, x = np.indices(shape)
    apart = np.hypot((y % step) - step / 2, (x % step) - step / 2)
    return (np.clip(diameter / 2 - apart, 0, 1) * 180 + np.random.default_rng(0).normal(20, 3, shape)).astype(np.uint8)


@pytest.mark.parametrize("diameter", [12, 20, 40])
def test_the_diameter_of_discs_is_found(model, diameter):
    assert estimate_diameter(model, discs(diameter)) == pytest.approx(diameter, rel=0.15)


def test_half_the_size_is_told(model):
    stack = nuclei_stack((3, 192, 192), seed=1).image.max(axis=0)
    whole = estimate_diameter(model, stack)
    halved = stack.reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert estimate_diameter(model, halved) == pytest.approx(whole / 2, rel=0.25)


@pytest.mark.filterwarnings("ignore:.*is constant")
def test_nothing_is_told_of_an_empty_image(model):
    assert estimate_diameter(model, np.zeros((64, 64), np.uint8)) is None


def test_a_model_without_objects_tells_nothing():
    semantic = nu.new_model("unet", width=4, depth=1, classes=("background", "cell"))
    assert estimate_diameter(semantic, np.random.default_rng(0).normal(100, 1, (32, 32))) is None


def test_the_middle_of_a_stack_is_looked_at(model):
    stack = np.zeros((3, 128, 160), np.uint8)
    stack[1] = discs(20)
    assert estimate_diameter(model, stack) == pytest.approx(20, rel=0.15)


def test_the_median_of_areas():
    labels = np.zeros((8, 8), int)
    labels[:4, :4], labels[6:, 6:] = 1, 2
    assert median_diameter(labels) == pytest.approx(np.sqrt(4 / np.pi) * 3)
    assert median_diameter(np.zeros((4, 4), int)) is None
