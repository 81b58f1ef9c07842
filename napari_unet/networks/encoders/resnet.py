"""Residual networks, also with grouped convolutions and squeeze-and-excitation."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from napari_unet.networks.encoders.parts import ConvNorm, Encoder, SqueezeExcite
from napari_unet.networks.encoders.plans import ResNetPlan

REDUCTION = 16


class ResNetEncoder(Encoder):
    """The encoder of a residual network.

    Parameters
    ----------
    in_channels : int
    plan : ResNetPlan
    depth : int
        How often the resolution is halved, 1 to 5.

    References
    ----------
    He et al. (2016), https://doi.org/10.1109/CVPR.2016.90; with groups Xie et al. (2017),
    https://doi.org/10.1109/CVPR.2017.634. The stride is where torchvision's networks have it, or Caffe's.
    """

    def __init__(self, in_channels: int, plan: ResNetPlan, depth: int) -> None:
        stem = ConvNorm(in_channels, plan.width, 7, 2, act=nn.ReLU(inplace=True))
        super().__init__([stem, *(_level(plan, level) for level in range(depth - 1))])


def _level(plan: ResNetPlan, level: int) -> nn.Module:
    before, after = plan.features[level : level + 2]
    blocks = nn.Sequential()
    for n in range(plan.blocks[level]):
        blocks.append(Residual(after if n else before, plan, level, stride=2 if level and n == 0 else 1))
    if level:
        return nn.Sequential(OrderedDict(blocks=blocks))
    pool = nn.MaxPool2d(3, 2, ceil_mode=True) if plan.ceil else nn.MaxPool2d(3, 2, padding=1)
    return nn.Sequential(OrderedDict(pool=pool, blocks=blocks))


class Residual(nn.Module):
    """Convolutions, and what comes in added to what they give.

    Parameters
    ----------
    in_channels : int
    plan : ResNetPlan
    level : int
        0 for the first that has blocks.
    stride : int
    """

    def __init__(self, in_channels: int, plan: ResNetPlan, level: int, stride: int) -> None:
        super().__init__()
        after, inner = plan.features[level + 1], plan.inner * 2**level
        if plan.bottleneck:
            first, second = (stride, 1) if plan.early else (1, stride)
            units = [
                ConvNorm(in_channels, inner, 1, first, act=nn.ReLU(inplace=True)),
                ConvNorm(inner, inner, 3, second, plan.groups, act=nn.ReLU(inplace=True)),
                ConvNorm(inner, after),
            ]
        else:
            units = [ConvNorm(in_channels, inner, 3, stride, act=nn.ReLU(inplace=True)), ConvNorm(inner, after, 3)]
        self.units = nn.Sequential(*units)
        squeezed = max(1, after // REDUCTION)
        self.squeeze = SqueezeExcite(after, squeezed, nn.ReLU(inplace=True)) if plan.squeeze else nn.Identity()
        direct = stride == 1 and in_channels == after
        self.project = nn.Identity() if direct else ConvNorm(in_channels, after, 1, stride)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, Y, X) to the features of the block."""
        out: Tensor = self.act(self.squeeze(self.units(x)) + self.project(x))
        return out
