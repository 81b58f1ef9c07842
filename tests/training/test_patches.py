"""Patches: where they come from and what varies."""

import numpy as np
import pytest
import torch

from napari_unet.training.augmentation import cut_patch, vary_intensity
from napari_unet.training.pairs import Field
from napari_unet.training.patches import PatchSampler
from napari_unet.training.targets import class_targets, touching_weights


def make_field(shape, train):
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint32)
    labels[..., 40:60, 40:60] = 1
    target = class_targets(labels)
    image = target.astype(np.float32)[None] + rng.normal(0, 0.01, (1, *shape)).astype(np.float32)
    return Field(image, labels, target, np.ones(shape, np.float32), train, np.zeros(shape, bool))


@pytest.mark.parametrize(("shape", "expected"), [((100, 120), (64, 64)), ((20, 100, 120), (16, 64, 64))])
def test_patches_have_the_size_asked_for(shape, expected):
    sampler = PatchSampler([make_field(shape, np.ones(shape, bool))], 64, 16, np.random.default_rng(0))
    batch = sampler.batch(3)
    assert batch.image.shape == (3, 1, *expected)
    assert batch.target.shape == batch.weight.shape == (3, *expected)
    assert batch.target.dtype == torch.int64


def test_only_reviewed_pixels_carry_weight_and_every_patch_has_some():
    train = np.zeros((200, 200), bool)
    train[50:70, 50:70] = True
    field = make_field((200, 200), train)
    field.target[~train] = 2  # a lie that must never be learnt
    field.target[train] = 1
    sampler = PatchSampler([field], 64, 16, np.random.default_rng(0))
    for _ in range(10):
        batch = sampler.batch(4)
        assert (batch.weight.sum(dim=(1, 2)) > 0).all()
        assert (batch.target[batch.weight > 0] == 1).all()


def test_beyond_the_edge_nothing_counts():
    field = make_field((30, 30), np.ones((30, 30), bool))
    batch = PatchSampler([field], 64, 16, np.random.default_rng(0)).batch(8)
    assert batch.weight.sum(dim=(1, 2)).max() <= 30 * 30 * 1.3**2 * 1.1
    assert torch.isfinite(batch.image).all()


def test_labels_follow_the_image_through_every_turn_and_zoom():
    """The image shows its own target, so they must still agree after augmentation."""
    y, x = np.mgrid[:200, :200]
    picture = torch.from_numpy(((y // 20 + x // 33) % 2).astype(np.float32))
    rng = np.random.default_rng(0)
    for _ in range(20):
        image, labels = cut_patch(picture[None], torch.stack([picture, torch.ones_like(picture)]), (64, 64), rng)
        assert ((image[0] > 0.5).float() - labels[0]).abs().mean() < 0.03


def test_a_seed_repeats_a_batch():
    field = make_field((100, 100), np.ones((100, 100), bool))
    a, b = (PatchSampler([field], 64, 16, np.random.default_rng(7)).batch(2) for _ in range(2))
    assert torch.equal(a.image, b.image)
    c = PatchSampler([field], 64, 16, np.random.default_rng(8)).batch(2)
    assert not torch.equal(a.image, c.image)


def test_intensities_vary_but_stay_in_reason():
    rng = np.random.default_rng(0)
    image = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    varied = [vary_intensity(image, rng) for _ in range(20)]
    assert all(v.dtype == np.float32 and np.isfinite(v).all() and v.min() > -0.6 and v.max() < 2.5 for v in varied)
    assert np.std([v.mean() for v in varied]) > 0.02


def test_pixels_between_near_objects_weigh_more():
    labels = np.zeros((20, 30), np.uint32)
    labels[5:15, 2:10], labels[5:15, 10:18], labels[5:15, 24:28] = 1, 2, 3
    weights = touching_weights(labels)
    assert (weights[8, 9:11] == 3).all()
    assert weights[8, 5] == weights[8, 26] == weights[0, 0] == 1
