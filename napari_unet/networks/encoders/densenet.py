"""Densely connected networks."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from napari_unet.networks.encoders.parts import ConvNorm, Encoder
from napari_unet.networks.encoders.plans import DensePlan

# Inside a layer there are so many times the channels that it adds.
BOTTLENECK = 4


class DenseEncoder(Encoder):
    """The encoder of a densely connected network.

    The features of a level are those after the normalization and activation with which the
    transition to the next level begins.

    Parameters
    ----------
    in_channels : int
    plan : DensePlan
    depth : int
        How often the resolution is halved, 1 to 5.

    References
    ----------
    Huang et al. (2017), https://doi.org/10.1109/CVPR.2017.243.
    """

    def __init__(self, in_channels: int, plan: DensePlan, depth: int) -> None:
        stem = ConvNorm(in_channels, plan.width, 7, 2, act=nn.ReLU(inplace=True))
        super().__init__([stem, *(_level(plan, level) for level in range(depth - 1))])


def _level(plan: DensePlan, level: int) -> nn.Module:
    before, after = plan.features[level : level + 2]
    stage = nn.Sequential()
    if level:
        channels = max(1, before // 2)
        stage.add_module("conv", nn.Conv2d(before, channels, 1, bias=False))
        stage.add_module("pool", nn.AvgPool2d(2))
    else:
        channels = before
        stage.add_module("pool", nn.MaxPool2d(3, 2, padding=1))
    layers = (DenseLayer(channels + n * plan.growth, plan.growth) for n in range(plan.blocks[level]))
    stage.add_module("layers", nn.Sequential(*layers))
    stage.add_module("norm", nn.BatchNorm2d(after))
    if level < len(plan.blocks) - 1:
        stage.add_module("act", nn.ReLU(inplace=True))
    return stage


class DenseLayer(nn.Module):
    """Adds channels to those that there are.

    Parameters
    ----------
    in_channels, growth : int
    """

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        inside = BOTTLENECK * growth
        self.added = nn.Sequential(
            OrderedDict(
                norm=nn.BatchNorm2d(in_channels),
                act=nn.ReLU(inplace=True),
                first=nn.Conv2d(in_channels, inside, 1, bias=False),
                inner_norm=nn.BatchNorm2d(inside),
                inner_act=nn.ReLU(inplace=True),
                second=nn.Conv2d(inside, growth, 3, padding=1, bias=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, Y, X) to (N, in_channels + growth, Y, X)."""
        return torch.cat([x, self.added(x)], dim=1)
