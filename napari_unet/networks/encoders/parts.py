"""What several encoders are made of."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Stages one after another, the features of each are kept.

    Parameters
    ----------
    stages : iterable of Module
        Each but a first one at full resolution halves the resolution.
    """

    def __init__(self, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """From an image (N, C, Y, X) to the features after each stage."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class ConvNorm(nn.Sequential):
    """A convolution without bias, batch normalization, and perhaps an activation.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel, stride, groups : int
    act : Module, optional
    padding : (int, int), optional
        Zeros before and after, along each axis; half the kernel on both sides by default.
    """

    def __init__(  # mirrors a convolution
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: nn.Module | None = None,
        padding: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        before, after = padding or (kernel // 2, kernel // 2)
        if before != after:
            self.add_module("pad", nn.ZeroPad2d((before, after, before, after)))
        inside = before if before == after else 0
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, inside, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        if act is not None:
            self.act = act


class SqueezeExcite(nn.Module):
    """Weigh the channels by what the whole image shows.

    Parameters
    ----------
    channels : int
    squeezed : int
        Channels in between.
    act : Module
        Between the two convolutions.

    References
    ----------
    Hu, Shen and Sun (2018), https://doi.org/10.1109/CVPR.2018.00745.
    """

    def __init__(self, channels: int, squeezed: int, act: nn.Module) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = act
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, Y, X) to the same, each channel times a number from 0 to 1."""
        weights: Tensor = self.expand(self.act(self.reduce(x.mean(dim=(2, 3), keepdim=True))))
        return x * torch.sigmoid(weights)
