"""The size of objects is found in the image."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.events import Notice, Progress, finish
from napari_unet.imaging.image import open_image
from napari_unet.imaging.synthetic import nuclei_stack
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.diameters import diameter_events, estimate_diameter, estimated_events, median_diameter


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


def test_only_the_estimate_is_told(model):
    events = list(estimated_events(model, open_image(discs(12, (64, 80))), InferenceConfig()))
    assert {type(event) for event in events} == {Progress, Notice}
    assert [event.text for event in events if isinstance(event, Notice)] == [events[-1].text]
    assert events[-1].text.startswith('The diameter of the objects in "image" was estimated as 11.')


def test_it_is_looked_at_around_what_somebody_sees(model):
    picture = np.random.default_rng(0).normal(20, 3, (1600, 80)).astype(np.uint8)
    picture[1500:1596] = discs(20, (96, 80))
    image, config = open_image(picture), InferenceConfig()
    seen = ((0, 1), (0, 1), (1560, 1570), (0, 80))
    assert finish(diameter_events(model, image, config, seen)) == pytest.approx(20, rel=0.15)
    assert finish(diameter_events(model, image, config, ((0, 1), (0, 1), (0, 10), (0, 80)))) is None


def test_auto_is_the_same_as_giving_the_estimate(model):
    image = discs(10, (64, 80))
    estimate = estimate_diameter(model, image)
    with pytest.warns(UserWarning, match=rf"estimated as {estimate:.1f} pixels"):
        labels = nu.segment(model, image, diameter="auto")
    np.testing.assert_array_equal(labels, nu.segment(model, image, diameter=estimate))
    with pytest.warns(UserWarning, match="estimated as"):
        probabilities = nu.predict(model, image, diameter="auto")
    np.testing.assert_array_equal(probabilities, nu.predict(model, image, diameter=estimate))


def test_auto_says_why_nothing_is_estimated():
    ignorant = nu.new_model("unet", width=4, depth=1)
    image = np.random.default_rng(0).normal(100, 1, (32, 32))
    with pytest.warns(UserWarning, match="none is used.* does not know the size"):
        probabilities = nu.predict(ignorant, image, diameter="auto")
    np.testing.assert_array_equal(probabilities, nu.predict(ignorant, image))


def test_another_word_than_auto_is_refused(model):
    with pytest.raises(nu.NapariUnetError, match="diameter"):
        nu.segment(model, discs(20), diameter="large")


def test_small_objects_are_kept_where_they_are_told_to_be_small(model):
    picky = model.with_spec(objects=model.spec.objects.model_copy(update={"min_size_px": 100}))
    image = discs(8, (64, 80))
    assert nu.segment(picky, image).max() == 0
    assert nu.segment(picky, image, diameter=8).max() > 10
