"""Adapting a model to images without labels."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ImageError, ModelError
from napari_unet.events import finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.training.adaptation import WINDOWS, adapt_events, choose_windows

AS_IT_IS = Normalization(method="fixed", low=(0.0,), high=(1.0,))


@pytest.fixture(scope="module")
def model():
    made = nu.new_model("unet", width=4, depth=2)
    return made.with_spec(trained=True, name="cells", normalization=AS_IT_IS)


@pytest.fixture
def image():
    return np.random.default_rng(0).random((64, 96), dtype=np.float32)


def statistics(model):
    layers = [one for one in model.network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    return [(layer.running_mean, layer.running_var) for layer in layers]


def test_without_a_prior_each_layer_gets_the_statistics_that_training_on_the_image_would_give(model, image):
    adapted = nu.adapt(model, image, prior=0)
    reference = nu.adapt(model, image, prior=1).network.train()
    for layer in reference.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    reference.on_grid(torch.from_numpy(image)[None, None])
    for (mean, variance), layer in zip(
        statistics(adapted), [one for one in reference.modules() if isinstance(one, torch.nn.BatchNorm2d)], strict=True
    ):
        assert torch.allclose(mean, layer.running_mean, atol=1e-4)
        assert torch.allclose(variance, layer.running_var, rtol=0.01, atol=1e-5)


def test_an_adapted_model_does_not_mind_another_contrast(model, image):
    one, other = (nu.predict(nu.adapt(model, pixels, prior=0), pixels) for pixels in (image, 5 * image))
    assert np.allclose(one, other, atol=0.01)
    assert not np.allclose(nu.predict(model, image), nu.predict(model, 5 * image), atol=0.1)


def test_the_prior_says_how_many_windows_the_old_statistics_are_worth(model, image):
    (old, _), (found, _), (mixed, _) = (
        statistics(one)[0] for one in (model, nu.adapt(model, image, prior=0), nu.adapt(model, image, prior=0.5))
    )
    windows = image.size / 256**2
    share = windows / (0.5 + windows)
    assert torch.allclose(mixed, (1 - share) * old + share * found, atol=1e-6)


def test_images_are_normalized_as_for_a_prediction(model, image):
    relative = model.with_spec(normalization=Normalization())
    one, other = (nu.adapt(relative, pixels, prior=0) for pixels in (image, 100 * image))
    for (mean, _), (same, _) in zip(statistics(one), statistics(other), strict=True):
        assert torch.allclose(mean, same, atol=1e-4)


def test_only_the_statistics_and_the_provenance_change(model, image, tmp_path):
    before = model.sha256
    adapted = nu.adapt(model, image)
    assert model.sha256 == before
    assert adapted.spec.name == "cells, adapted"
    assert nu.adapt(adapted, image).spec.name == "cells, adapted"
    assert adapted.spec.provenance.parent_sha256 == before
    assert "without labels" in adapted.spec.provenance.notes
    kept = {"name": "", "provenance": ""}
    assert adapted.spec.model_copy(update=kept) == model.spec.model_copy(update=kept)
    for (name, old), new in zip(model.network.state_dict().items(), adapted.network.state_dict().values(), strict=True):
        assert torch.equal(old, new) or "running" in name
    again = nu.load_model(adapted.save(tmp_path / "adapted.safetensors"))
    assert again.sha256 == adapted.sha256


def test_several_images_are_taken_together(model, image):
    both = nu.adapt(model, [image, image + 1], prior=0)
    single = [nu.adapt(model, one, prior=0) for one in (image, image + 1)]
    (mean, _), (first, _), (second, _) = (statistics(one)[0] for one in (both, *single))
    assert torch.allclose(mean, (first + second) / 2, atol=1e-5)


def test_a_colour_stack_is_read_with_the_channels_and_the_diameter_that_are_given(model):
    stack = np.random.default_rng(0).random((2, 3, 40, 48, 3), dtype=np.float32)
    sized = model.with_spec(diameter_px=20.0)
    adapted = nu.adapt(sized, stack, axes="TZYXC", channels=[1], diameter=10, prior=0)
    plain = nu.adapt(sized, stack[..., 1], axes="TZYX", diameter=10, prior=0)
    assert adapted.sha256 == plain.sha256
    assert adapted.sha256 != nu.adapt(sized, stack[..., 1], axes="TZYX", prior=0).sha256


def test_volumes(image):
    volumes = nu.new_model("unet", width=4, depth=2, dims=3).with_spec(trained=True, normalization=AS_IT_IS)
    stack = np.stack([image[:32, :32]] * 8) + 2
    adapted = nu.adapt(volumes, stack)
    assert adapted.sha256 != volumes.sha256
    assert np.isfinite(nu.predict(adapted, stack)).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_of_a_large_image_few_windows_are_looked_at_all_over_it(dims):
    sizes = {"T": 30, "Z": 100, "Y": 30_000, "X": 50_001}
    windows = choose_windows(sizes, dims, 16, WINDOWS)
    assert len(windows) == WINDOWS
    assert len({t for t, _ in windows}) == 8
    for number, axis in enumerate("ZYX"):
        spans = [region[number] for _, region in windows]
        side = (256 if axis != "Z" else 1) if dims == 2 else 64
        assert {span.stop - span.start for span in spans} == {side}
        assert all(0 <= span.start < span.stop <= sizes[axis] for span in spans)
        middles = np.array([span.start + span.stop for span in spans]) / 2 / sizes[axis]
        assert middles.min() < 0.35
        assert middles.max() > 0.65


def test_all_of_a_small_image_is_looked_at_but_nothing_is_filled_up():
    ((t, region),) = choose_windows({"T": 1, "Z": 1, "Y": 70, "X": 97}, 2, 16, WINDOWS)
    assert t == 0
    assert region == (slice(0, 1), slice(3, 67), slice(0, 96))


def test_a_model_that_remembers_nothing_is_refused_in_a_sentence(model, image):
    instance = nu.new_model("unet", width=4, depth=2, norm="instance").with_spec(trained=True)
    with pytest.raises(ModelError, match="no batch normalization"):
        nu.adapt(instance, image)
    with pytest.raises(ModelError, match="not learnt anything"):
        nu.adapt(nu.new_model("unet", width=4, depth=2), image)
    with pytest.raises(ImageError, match="at least one"):
        nu.adapt(model, [])


def test_it_can_be_ended_at_every_window(model):
    before = model.sha256
    work = adapt_events(model, [open_image(np.ones((600, 600), np.float32), "YX")])
    next(work)
    next(work)
    work.close()
    assert model.sha256 == before
    assert all(not layer._forward_pre_hooks for layer in model.network.modules())
    assert finish(adapt_events(model, [open_image(np.ones((64, 64), np.float32), "YX")])).sha256 != before
