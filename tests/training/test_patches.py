"""Patches: where they come from and what varies."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from napari_unet.training.augmentation import cut_patch, vary_intensity
from napari_unet.training.pairs import Field
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.targets import class_targets, patch_targets, touching_weights


def make_field(shape, train):
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint32)
    labels[..., 40:60, 40:60] = 1
    image = (labels > 0).astype(np.float32)[None] + rng.normal(0, 0.01, (1, *shape)).astype(np.float32)
    return Field(image, labels, train, np.zeros(shape, bool))


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
    field.labels[~train] = 2  # a lie that must never be learnt
    field.labels[train] = 1
    sampler = PatchSampler([field], 64, 16, np.random.default_rng(0), "semantic")
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


@pytest.mark.parametrize("shape", [(3, 40, 50), (2, 9, 30, 30)])
def test_patches_are_taught_what_whole_images_are(shape):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 5, (*shape[:-2], shape[-2] // 5, shape[-1] // 5))
    labels = blocks.repeat(5, axis=-2).repeat(5, axis=-1).astype(np.uint32)
    target, weight = patch_targets(torch.from_numpy(labels.astype(np.float32)))
    assert target.dtype == torch.int64
    for patch, taught, weighed in zip(labels, target.numpy(), weight.numpy(), strict=True):
        assert np.array_equal(taught, class_targets(patch))
        assert np.array_equal(weighed, touching_weights(patch))


def test_a_turned_object_has_a_border_without_gaps():
    y, x = np.mgrid[:160, :160]
    disc = (((y - 80) ** 2 + (x - 80) ** 2) < 40**2).astype(np.uint32)
    field = Field(disc[None].astype(np.float32), disc, np.ones(disc.shape, bool), np.zeros(disc.shape, bool))
    batch = PatchSampler([field], 128, 16, np.random.default_rng(3)).batch(12)
    for target in batch.target.numpy():
        interior, background = target == 1, target == 0
        grown = ndi.binary_dilation(interior, np.ones((3, 3)))
        assert not (grown & background).any()  # a border lies everywhere between


def test_ids_that_float32_cannot_hold_stay_apart():
    labels = np.zeros((80, 80), np.uint32)
    labels[:, 20:40], labels[:, 40:60] = 2**24, 2**24 + 1
    field = Field(labels[None].astype(np.float32), labels, np.ones((80, 80), bool), np.zeros((80, 80), bool))
    batch = PatchSampler([field], 64, 16, np.random.default_rng(0)).batch(4)
    assert (batch.weight > 1).any()  # where the two touch


def test_parts_of_a_batch_know_which_patches_are_rehearsed():
    image, pixels = torch.zeros(3, 1, 4, 4), torch.ones(3, 4, 4)
    one = Batch(image, pixels.long(), pixels, image, pixels, pixels, ("a", "b", "c"))
    batch = one.followed_by(one)
    assert [part.rehearsed for part in batch.split(1)] == [3]
    assert [part.rehearsed for part in batch.split(2)] == [0, 3]
    assert [part.rehearsed for part in batch.split(4)] == [0, 1, 1, 1]
    assert sum(part.rehearsed for part in batch.split(9)) == 3


def test_a_patch_knows_what_nobody_has_reviewed():
    train, held_out = np.zeros((2, 90, 90), bool)
    train[:, :40], held_out[:, 50:60] = True, True  # between them a gap, which was reviewed
    image = np.zeros((1, 90, 90), np.float32)
    image[0, :, 60:] = 1
    unreviewed = image[0] == 1
    field = Field(image, np.ones((90, 90), np.uint32), train, held_out, unreviewed=unreviewed)
    batch = PatchSampler([field], 64, 16, np.random.default_rng(0)).batch(12)
    assert batch.unreviewed.any()
    assert not (batch.unreviewed.bool() & (batch.weight > 0)).any()
    assert (batch.plain[:, 0][batch.unreviewed.bool()] > 0.4).all()  # half at most comes from beside it
    assert not batch.unreviewed.bool().all()
    assert set(batch.plain.unique().tolist()) >= {0.0, 1.0}
    assert not torch.equal(batch.plain, batch.image)


def test_what_is_wholly_reviewed_or_beyond_the_edge_is_not_unreviewed():
    field = make_field((40, 40), np.ones((40, 40), bool))
    batch = PatchSampler([field], 64, 16, np.random.default_rng(0)).batch(4)
    assert not batch.unreviewed.any()
    field = replace(field, train=~np.ones((40, 40), bool), unreviewed=np.ones((40, 40), bool))
    field.train[20, 20] = True
    batch = PatchSampler([field], 64, 16, np.random.default_rng(0)).batch(8)
    assert 0 < batch.unreviewed.sum(dim=(1, 2)).max() <= 40 * 40 * 1.3**2 * 1.1


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
