"""Plain convolutions and pooling: VGG."""

from __future__ import annotations

from torch import nn

from napari_unet.networks.encoders.parts import ConvNorm, Encoder
from napari_unet.networks.encoders.plans import VGGPlan


class VGGEncoder(Encoder):
    """The encoder of a VGG network; its first features have the full resolution.

    Parameters
    ----------
    in_channels : int
    plan : VGGPlan
    depth : int
        How often the resolution is halved, 1 to 5.

    References
    ----------
    Simonyan and Zisserman (2015), https://arxiv.org/abs/1409.1556.
    """

    def __init__(self, in_channels: int, plan: VGGPlan, depth: int) -> None:
        stages = []
        for level, count in enumerate(plan.convs[: depth + 1]):
            stage = nn.Sequential()
            if level:
                stage.add_module("pool", nn.MaxPool2d(2))
            before = plan.features[level - 1] if level else in_channels
            for n in range(count):
                stage.add_module(str(n), _unit(plan.features[level] if n else before, plan.features[level], plan))
            stages.append(stage)
        super().__init__(stages)


def _unit(in_channels: int, out_channels: int, plan: VGGPlan) -> nn.Module:
    unit = ConvNorm(in_channels, out_channels, 3, act=nn.ReLU(inplace=True))
    unit.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    if not plan.norm:
        unit.norm = nn.Identity()
    return unit
