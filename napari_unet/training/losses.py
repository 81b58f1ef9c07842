"""Losses that ignore what nobody has reviewed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.weights.spec import ClassActivation

EPSILON = 1e-6
# A probability from which on a network's own prediction is taken for the truth
SURE = 0.7


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor, activation: ClassActivation) -> Tensor:
    """Cross-entropy plus soft Dice over the pixels that count.

    Ignored pixels are masked after the softmax, never in the logits (a masked logit would still
    count as a probability of one half), and both terms are averaged over the defined pixels only.

    Parameters
    ----------
    logits : (N, K, [Z,] Y, X)
        Raw output.
    target : (N, [Z,] Y, X) int64
        Class ids, 0 is background.
    weight : (N, [Z,] Y, X) float
        Of each pixel; 0 means ignored.
    activation : "softmax" | "sigmoid" | "none"
        With "sigmoid" the K outputs are the classes 1 to K, and none is the background; so is a single output.
        "none" is trained as "softmax".

    Returns
    -------
    scalar
        0, with a gradient of 0, if no pixel counts.

    References
    ----------
    Milletari et al. (2016), https://doi.org/10.1109/3DV.2016.79 (Dice).
    """
    logits = logits.float()
    if activation == "sigmoid" or logits.shape[1] == 1:
        truth = one_hot(target, logits.shape[1] + 1)[:, 1:]
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1)
        return masked_mean(entropy, weight) + dice_loss(torch.sigmoid(logits), truth, weight > 0)
    truth = one_hot(target, logits.shape[1])
    entropy = F.cross_entropy(logits, target, reduction="none")
    return masked_mean(entropy, weight) + dice_loss(torch.softmax(logits, dim=1)[:, 1:], truth[:, 1:], weight > 0)


def imitation_loss(logits: Tensor, known: Tensor) -> Tensor:
    """How far probabilities are from those of a model that is to be imitated, as Kullback-Leibler divergence.

    Parameters
    ----------
    logits, known : (N, K, [Z,] Y, X)
        Raw output of the network that learns, and of the one that is imitated.

    Returns
    -------
    scalar
        Mean over pixels; 0 if both say the same.

    References
    ----------
    Li and Hoiem (2016), Learning without forgetting, https://doi.org/10.1007/978-3-319-46493-0_37.
    """
    said, wanted = (torch.log_softmax(one.float(), dim=1) for one in (logits, known))
    return F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1).mean()


def agreement_loss(logits: Tensor, seen: Tensor, where: Tensor, activation: ClassActivation) -> Tensor:
    """Cross-entropy with what another network says, where that is sure of it.

    Parameters
    ----------
    logits, seen : (N, K, [Z,] Y, X)
        Raw output of the network that learns, and of the other.
    where : (N, [Z,] Y, X) float
        1 for pixels that count, else 0.
    activation : "softmax" | "sigmoid" | "none"
        As for `segmentation_loss`.

    Returns
    -------
    scalar
        Mean over the pixels of `where`, of which those count as 0 of which nobody is sure.

    References
    ----------
    Sohn et al. (2020), FixMatch, https://arxiv.org/abs/2001.07685 (only what is sure, of an image that is varied less).
    """
    logits, seen = logits.float(), seen.float()
    if activation == "sigmoid" or logits.shape[1] == 1:
        said = torch.sigmoid(seen)
        sure = torch.maximum(said, 1 - said) > SURE
        entropy = (F.binary_cross_entropy_with_logits(logits, said.round(), reduction="none") * sure).mean(dim=1)
    else:
        surest, classes = torch.softmax(seen, dim=1).max(dim=1)
        entropy = F.cross_entropy(logits, classes, reduction="none") * (surest > SURE)
    return masked_mean(entropy, where)


def one_hot(target: Tensor, classes: int) -> Tensor:
    """From class ids (N, ...) to (N, classes, ...) float."""
    return F.one_hot(target, classes).movedim(-1, 1).float()


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (N, ...) weighted by (N, ...); 0 where nothing counts."""
    return (values * weight).sum() / weight.sum().clamp_min(EPSILON)


def dice_loss(probabilities: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """One minus the soft Dice, averaged over the classes that occur in the truth.

    Parameters
    ----------
    probabilities, truth : (N, K, ...) float
    counts : (N, ...) bool
        Pixels that count.
    """
    mask = counts[:, None].float()
    axes = (0, *range(2, truth.ndim))
    shared = (probabilities * truth * mask).sum(dim=axes)
    total = ((probabilities + truth) * mask).sum(dim=axes)
    present = ((truth * mask).sum(dim=axes) > 0).float()
    loss = 1 - 2 * shared / total.clamp_min(EPSILON)
    return (loss * present).sum() / present.sum().clamp_min(1)
