"""A network with other channels than it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from napari_unet.networks.base import Network
from napari_unet.networks.registry import build
from napari_unet.networks.spec import NetworkSpec

Stem = Literal["new", "sum", "repeat"]


def with_channels(
    network: Network, old: NetworkSpec, new: NetworkSpec, stem: Stem | Literal["middle"] = "new", seed: int = 0
) -> tuple[Network, tuple[str, ...]]:
    """Return a network with other channels in or out that keeps all other weights.

    Parameters
    ----------
    network : Network
        Is not changed.
    old, new : NetworkSpec
        What it is, and what is wanted; they differ in channels only.
    stem : "new" | "sum" | "repeat" | "middle"
        Where the number of input channels differs: random weights; one channel that is given the sum
        of all; as many as are wanted, the old ones repeated and scaled so that the sum stays; or the old ones in the
        middle of more, which count for nothing.
    seed : int
        Of random weights.

    Returns
    -------
    network : Network
    made : tuple of str
        Names of the tensors that have random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build(new)
    kept, fresh = dict(network.state_dict()), dict(made.state_dict())
    random: list[str] = []
    for name, tensor in fresh.items():
        if kept[name].shape == tensor.shape:
            fresh[name] = kept[name].clone()
        elif stem != "new" and _is_stem(kept[name], tensor, old, new):
            fresh[name] = _spread(kept[name], new.in_channels, stem)
        else:
            random.append(name)
    made.load_state_dict(fresh)
    return made.train(network.training), tuple(random)


def _is_stem(kept: Tensor, fresh: Tensor, old: NetworkSpec, new: NetworkSpec) -> bool:
    if kept.ndim < 3 or (kept.shape[0], *kept.shape[2:]) != (fresh.shape[0], *fresh.shape[2:]):
        return False
    return (kept.shape[1], fresh.shape[1]) == (old.in_channels, new.in_channels)


def _spread(weight: Tensor, channels: int, stem: str) -> Tensor:
    """Make the weight (out, in, *kernel) of a stem take another number of channels."""
    if stem == "middle":
        spread = weight.new_zeros((weight.shape[0], channels, *weight.shape[2:]))
        spread.narrow(1, (channels - weight.shape[1]) // 2, weight.shape[1]).copy_(weight)
        return spread
    if stem == "sum":
        total = weight.sum(dim=1, keepdim=True)
        return total.repeat(1, channels, *(1,) * (weight.ndim - 2)) / channels
    source = torch.arange(channels) % weight.shape[1]
    return weight[:, source] * (weight.shape[1] / channels)


def shapes_of(spec: NetworkSpec) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a network, without making it."""
    with torch.device("meta"):
        network = build(spec)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
