"""Inverted residuals: MobileNetV2 and the EfficientNets."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from napari_unet.networks.encoders.parts import ConvNorm, Encoder, SqueezeExcite
from napari_unet.networks.encoders.plans import MobilePlan, Row

# Squeezing keeps this share of the channels that come into a block.
SHARE = 4


class MobileEncoder(Encoder):
    """The encoder of a MobileNetV2 or an EfficientNet.

    While training, blocks are not dropped at random, as those who trained EfficientNets did.

    Parameters
    ----------
    in_channels : int
    plan : MobilePlan
    depth : int
        How often the resolution is halved, 1 to 5.

    References
    ----------
    Sandler et al. (2018), https://doi.org/10.1109/CVPR.2018.00474; Tan and Le (2019),
    https://arxiv.org/abs/1905.11946. The padding is that of TensorFlow for the image side of the
    publication (lukemelas EfficientNet-PyTorch), or symmetric (timm, torchvision).
    """

    def __init__(self, in_channels: int, plan: MobilePlan, depth: int) -> None:
        stages = [nn.Sequential() for _ in range(depth)]
        padding, side = same_padding(3, 2, plan.side)
        side = side if plan.halves else plan.side
        stages[0].append(ConvNorm(in_channels, plan.width, 3, 2, act=_act(plan), padding=padding))
        for n, block in enumerate(_blocks(plan, side)):
            level = sum(n > end for end in plan.ends)
            if level < depth:
                stages[level].append(block)
        if plan.last and depth == len(plan.ends):
            stages[-1].append(ConvNorm(plan.block_channels[-1], plan.last, act=_act(plan)))
        super().__init__(stages)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = plan.eps, plan.momentum


def _act(plan: MobilePlan) -> nn.Module:
    return nn.SiLU(inplace=True) if plan.silu else nn.ReLU6(inplace=True)


def _blocks(plan: MobilePlan, side: int) -> Iterator[nn.Module]:
    """Build all blocks; the image that padding is computed for has `side` pixels after the stem."""
    channels = plan.width
    for row in plan.rows:
        for n in range(row.repeats):
            stride = 1 if n else row.stride
            padding, next_side = same_padding(row.kernel, stride, side)
            yield InvertedResidual(channels, plan, row, stride, padding)
            channels, side = row.channels, next_side if plan.halves else side


def same_padding(kernel: int, stride: int, side: int) -> tuple[tuple[int, int], int]:
    """Return the zeros before and after an image of a side as TensorFlow has them, and the next side.

    With a side of 0 they are symmetric.

    >>> same_padding(5, 2, 14), same_padding(5, 2, 15), same_padding(5, 2, 0)
    (((1, 2), 7), ((2, 2), 8), ((2, 2), 0))
    """
    if not side:
        return (kernel // 2, kernel // 2), 0
    after = -(-side // stride)
    total = max((after - 1) * stride + kernel - side, 0)
    return (total // 2, total - total // 2), after


class InvertedResidual(nn.Module):
    """More channels, a convolution of each alone, fewer channels; what comes in is added where it fits.

    Parameters
    ----------
    in_channels : int
    plan : MobilePlan
    row : Row
    stride : int
    padding : (int, int)
        Of the middle convolution.
    """

    def __init__(self, in_channels: int, plan: MobilePlan, row: Row, stride: int, padding: tuple[int, int]) -> None:
        super().__init__()
        inside = in_channels * row.expand
        self.expand = nn.Identity() if row.expand == 1 else ConvNorm(in_channels, inside, act=_act(plan))
        self.depthwise = ConvNorm(inside, inside, row.kernel, stride, inside, act=_act(plan), padding=padding)
        squeezed = max(1, in_channels // SHARE)
        self.squeeze = SqueezeExcite(inside, squeezed, _act(plan)) if plan.squeeze else nn.Identity()
        self.project = ConvNorm(inside, row.channels)
        self.adds = stride == 1 and in_channels == row.channels

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, Y, X) to the features of the block."""
        out: Tensor = self.project(self.squeeze(self.depthwise(self.expand(x))))
        return x + out if self.adds else out
