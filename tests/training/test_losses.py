"""Losses that ignore what nobody has reviewed."""

import pytest
import torch

from napari_unet.training.losses import agreement_loss, segmentation_loss


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 16, 16, generator=generator, requires_grad=True)
    target = torch.randint(0, 3, (2, 16, 16), generator=generator)
    weight = (torch.rand(2, 16, 16, generator=generator) > 0.5).float()
    return logits, target, weight


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_ignored_pixels_have_no_gradient(example, activation):
    logits, target, weight = example
    classes = target if activation == "softmax" else target.clamp_max(3)
    segmentation_loss(logits, classes, weight, activation).backward()
    ignored = (weight == 0)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_what_lies_in_ignored_pixels_does_not_change_the_loss(example, activation):
    logits, target, weight = example
    loss = segmentation_loss(logits, target, weight, activation)
    other = torch.where((weight == 0)[:, None], logits + 5, logits)
    relabelled = torch.where(weight == 0, (target + 1) % 3, target)
    assert torch.allclose(loss, segmentation_loss(other, relabelled, weight, activation))


def test_the_loss_does_not_depend_on_how_much_is_ignored(example):
    """Padding a batch with ignored pixels changes nothing: both terms average over defined pixels."""
    logits, target, _ = example
    weight = torch.ones(2, 16, 16)
    padded = torch.nn.functional.pad(logits, (0, 16))
    loss = segmentation_loss(
        padded, torch.nn.functional.pad(target, (0, 16)), torch.nn.functional.pad(weight, (0, 16)), "softmax"
    )
    assert torch.allclose(loss, segmentation_loss(logits, target, weight, "softmax"))


def test_nothing_reviewed_is_no_nan(example):
    logits, target, weight = example
    loss = segmentation_loss(logits, target, weight * 0, "softmax")
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_the_truth_has_nearly_no_loss(example):
    _, target, weight = example
    sure = torch.nn.functional.one_hot(target, 3).movedim(-1, 1) * 30.0
    assert segmentation_loss(sure, target, weight, "softmax") < 1e-4
    assert segmentation_loss(-sure, target, weight, "softmax") > 1


def test_a_single_output_learns_foreground_from_background():
    target = (torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).long()
    sure, weight = (target[:, None] - 0.5) * 60, torch.ones(2, 16, 16)
    assert segmentation_loss(sure, target, weight, "none") < 1e-4
    assert segmentation_loss(-sure, target, weight, "none") > 1


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_only_what_another_network_is_sure_of_is_learnt_from_it(activation):
    said = torch.tensor([2.0, 0.1]) if activation == "sigmoid" else torch.tensor([[3.0, 0.2], [0.0, 0.0]])
    seen = said.reshape(1, -1, 1, 2)  # sure in the first pixel, not in the second
    logits = torch.zeros_like(seen, requires_grad=True)
    agreement_loss(logits, seen, torch.ones(1, 1, 2), activation).backward()
    assert (logits.grad[..., 0] != 0).all()
    assert not logits.grad[..., 1].any()
    assert logits.grad[0, 0, 0, 0] < 0  # towards the class that the other saw


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_another_network_is_not_heeded_elsewhere(activation):
    seen = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 10
    logits = torch.zeros_like(seen, requires_grad=True)
    where = torch.zeros(2, 8, 8)
    assert agreement_loss(logits, seen, where, activation) == 0
    where[0, :4] = 1
    agreement_loss(logits, seen, where, activation).backward()
    assert logits.grad[0, :, :4].any()
    assert not logits.grad[0, :, 4:].any()
    assert not logits.grad[1].any()
