"""The numbers of all encoders known from image classification. Importing this does not import torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Self


@dataclass(frozen=True, slots=True)
class EncoderPlan(ABC):
    """What an encoder is made of.

    Attributes
    ----------
    width : int
        Channels after the first convolution; all others are in proportion.
    """

    width: int

    @property
    @abstractmethod
    def features(self) -> tuple[int, ...]:
        """Channels of the features at each level, from `top` to 5."""

    @property
    @abstractmethod
    def convs(self) -> tuple[int, ...]:
        """Convolutions before the features of each level, from `top` to 5."""

    @property
    def top(self) -> int:
        """The first level: 1 where the first convolution halves the resolution."""
        return 1

    @property
    def squeezes(self) -> bool:
        """Whether squeeze-and-excitation looks at the whole image."""
        return False

    @abstractmethod
    def scaled(self, width: int) -> Self:
        """Return the same encoder with other channels, all in proportion."""

    @abstractmethod
    def local(self) -> Self:
        """Return the same encoder without squeeze-and-excitation."""


def _scale(channels: int, factor: float) -> int:
    return max(1, round(channels * factor))


@dataclass(frozen=True, slots=True)
class ResNetPlan(EncoderPlan):
    """A residual network.

    Attributes
    ----------
    blocks : tuple of int
        Of each level from 2 to 5.
    inner : int
        Channels inside the blocks of level 2, doubled at each level.
    groups : int
        Of the 3-pixel convolutions of bottlenecks.
    bottleneck : bool
        Whether a block is 1, 3 and 1 pixel wide instead of 3 and 3.
    squeeze : bool
        Whether a block ends with squeeze-and-excitation.
    ceil : bool
        Whether pooling rounds sizes up, as in Caffe, instead of padding on both sides.
    early : bool
        Whether the first convolution of a bottleneck has the stride, instead of the second.
    """

    blocks: tuple[int, ...]
    inner: int
    groups: int = 1
    bottleneck: bool = True
    squeeze: bool = False
    ceil: bool = False
    early: bool = False

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of the features at each level."""
        wider = 4 if self.bottleneck else 1
        return (self.width, *(self.width * wider * 2**n for n in range(len(self.blocks))))

    @property
    def convs(self) -> tuple[int, ...]:
        """Convolutions before the features of each level."""
        return (1, *((3 if self.bottleneck else 2) * n for n in self.blocks))

    @property
    def squeezes(self) -> bool:
        """Whether squeeze-and-excitation looks at the whole image."""
        return self.squeeze

    def scaled(self, width: int) -> Self:
        """Return the same encoder with other channels, all in proportion."""
        inner = _scale(self.inner, width / self.width)
        return replace(self, width=width, inner=inner, groups=math.gcd(self.groups, inner))

    def local(self) -> Self:
        """Return the same encoder without squeeze-and-excitation."""
        return replace(self, squeeze=False)


@dataclass(frozen=True, slots=True)
class VGGPlan(EncoderPlan):
    """Plain convolutions and pooling.

    Attributes
    ----------
    blocks : tuple of int
        Convolutions of each level from 0 to 4; level 5 is a pooling alone.
    norm : bool
        Whether batch normalization follows each.
    """

    blocks: tuple[int, ...]
    norm: bool = False

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of the features at each level."""
        return tuple(self.width * min(2**level, 8) for level in range(6))

    @property
    def convs(self) -> tuple[int, ...]:
        """Convolutions before the features of each level."""
        return (*self.blocks, 0)

    @property
    def top(self) -> int:
        """The first level."""
        return 0

    def scaled(self, width: int) -> Self:
        """Return the same encoder with other channels, all in proportion."""
        return replace(self, width=width)

    def local(self) -> Self:
        """Return the same encoder, which looks at neighbourhoods only."""
        return self


@dataclass(frozen=True, slots=True)
class Row:
    """Inverted residuals one after another.

    Attributes
    ----------
    expand : int
        By how much the channels are multiplied inside.
    channels : int
        After each.
    repeats : int
    stride : int
        Of the first.
    kernel : int
    """

    expand: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3


@dataclass(frozen=True, slots=True)
class MobilePlan(EncoderPlan):
    """Inverted residuals: MobileNetV2 and the EfficientNets.

    Attributes
    ----------
    rows : tuple of Row
    ends : tuple of int
        The number of the last block (the first is 0) of each level from 1 to 5; -1: none.
    last : int
        Channels of a 1-pixel convolution at the end; 0: none.
    squeeze : bool
        Whether blocks have squeeze-and-excitation.
    side : int
        Of the image for which TensorFlow's padding was computed; 0: padded alike on all sides.
    halves : bool
        Whether that side is halved from level to level, or padding computed for the same side at all.
    silu : bool
        The activation, instead of ReLU6.
    eps, momentum : float
        Of batch normalization.
    """

    rows: tuple[Row, ...]
    ends: tuple[int, ...]
    last: int = 0
    squeeze: bool = True
    side: int = 0
    halves: bool = True
    silu: bool = True
    eps: float = 1e-5
    momentum: float = 0.1

    @property
    def block_channels(self) -> tuple[int, ...]:
        """Channels after each block."""
        return tuple(row.channels for row in self.rows for _ in range(row.repeats))

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of the features at each level."""
        channels = self.block_channels
        found = [channels[end] if end >= 0 else self.width for end in self.ends]
        return (*found[:-1], self.last or found[-1])

    @property
    def convs(self) -> tuple[int, ...]:
        """Convolutions before the features of each level."""
        inside = [2 if row.expand == 1 else 3 for row in self.rows for _ in range(row.repeats)]
        counts = [sum(inside[before + 1 : end + 1]) for before, end in pairwise((-1, *self.ends))]
        counts[0] += 1
        counts[-1] += 1 if self.last else 0
        return tuple(counts)

    @property
    def squeezes(self) -> bool:
        """Whether squeeze-and-excitation looks at the whole image."""
        return self.squeeze

    def scaled(self, width: int) -> Self:
        """Return the same encoder with other channels, all in proportion."""
        factor = width / self.width
        rows = tuple(replace(row, channels=_scale(row.channels, factor)) for row in self.rows)
        return replace(self, width=width, rows=rows, last=_scale(self.last, factor) if self.last else 0)

    def local(self) -> Self:
        """Return the same encoder without squeeze-and-excitation."""
        return replace(self, squeeze=False)


@dataclass(frozen=True, slots=True)
class DensePlan(EncoderPlan):
    """A densely connected network.

    Attributes
    ----------
    growth : int
        Channels that each layer adds.
    blocks : tuple of int
        Layers of each level from 2 to 5.
    """

    growth: int
    blocks: tuple[int, ...]

    @property
    def features(self) -> tuple[int, ...]:
        """Channels of the features at each level."""
        found, channels = [self.width], self.width
        for layers in self.blocks:
            found.append(channels + layers * self.growth)
            channels = max(1, found[-1] // 2)
        return tuple(found)

    @property
    def convs(self) -> tuple[int, ...]:
        """Convolutions before the features of each level."""
        return (1, *(2 * layers + (1 if level else 0) for level, layers in enumerate(self.blocks)))

    def scaled(self, width: int) -> Self:
        """Return the same encoder with other channels, all in proportion."""
        return replace(self, width=width, growth=_scale(self.growth, width / self.width))

    def local(self) -> Self:
        """Return the same encoder, which looks at neighbourhoods only."""
        return self


# Of EfficientNet-B0.
_B0 = (
    Row(1, 16, 1, 1), Row(6, 24, 2, 2), Row(6, 40, 2, 2, 5), Row(6, 80, 3, 2), Row(6, 112, 3, 1, 5),
    Row(6, 192, 4, 2, 5), Row(6, 320, 1, 1),
)  # fmt: skip


def _efficientnet(wider: float, deeper: float, side: int) -> MobilePlan:
    """Plan the EfficientNet of given multipliers (Tan and Le, https://arxiv.org/abs/1905.11946)."""
    rows = tuple(
        replace(row, channels=_eights(row.channels * wider), repeats=math.ceil(row.repeats * deeper)) for row in _B0
    )
    return MobilePlan(_eights(32 * wider), rows, _ends(rows), side=side, eps=1e-3, momentum=0.01)


def _lite(wider: float, deeper: float) -> MobilePlan:
    """Plan the EfficientNet-Lite of given multipliers; first and last row do not grow deeper."""
    rows = tuple(
        replace(
            row,
            channels=_eights(row.channels * wider),
            repeats=row.repeats if row in (_B0[0], _B0[-1]) else math.ceil(row.repeats * deeper),
        )
        for row in _B0
    )
    return MobilePlan(32, rows, _ends(rows), squeeze=False, silu=False)


def _ends(rows: tuple[Row, ...]) -> tuple[int, ...]:
    """Return the last block before each halving of the resolution."""
    totals = list(accumulate(row.repeats for row in rows))
    return (-1, totals[1] - 1, totals[2] - 1, totals[4] - 1, totals[6] - 1)


def _eights(channels: float) -> int:
    """Round to a multiple of 8, downwards by no more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _symmetric(plan: MobilePlan) -> MobilePlan:
    """Return the EfficientNet of timm, which pads alike on all sides."""
    return replace(plan, side=0, eps=1e-5, momentum=0.1, ends=_ends(plan.rows))


_B = [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380), (1.6, 2.2, 456),
      (1.8, 2.6, 528), (2.0, 3.1, 600)]  # fmt: skip
_LITE = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)]
_EFFICIENTNETS = {f"efficientnet-b{n}": _efficientnet(*numbers) for n, numbers in enumerate(_B)}
# The features at a sixteenth leave the published B0 encoder in the middle of a row.
_EFFICIENTNETS["efficientnet-b0"] = replace(_EFFICIENTNETS["efficientnet-b0"], ends=(-1, 2, 4, 8, 15))

_MOBILE_ROWS = (
    Row(1, 16, 1, 1), Row(6, 24, 2, 2), Row(6, 32, 3, 2), Row(6, 64, 4, 2), Row(6, 96, 3, 1), Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)  # fmt: skip
_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

ENCODERS: dict[str, EncoderPlan] = {
    "resnet18": ResNetPlan(64, (2, 2, 2, 2), 64, bottleneck=False),
    "resnet34": ResNetPlan(64, (3, 4, 6, 3), 64, bottleneck=False),
    "resnet50": ResNetPlan(64, (3, 4, 6, 3), 64),
    "resnet101": ResNetPlan(64, (3, 4, 23, 3), 64),
    "resnet152": ResNetPlan(64, (3, 8, 36, 3), 64),
    "resnext50_32x4d": ResNetPlan(64, (3, 4, 6, 3), 128, 32),
    "resnext101_32x4d": ResNetPlan(64, (3, 4, 23, 3), 128, 32),
    "resnext101_32x8d": ResNetPlan(64, (3, 4, 23, 3), 256, 32),
    "resnext101_32x16d": ResNetPlan(64, (3, 4, 23, 3), 512, 32),
    "resnext101_32x32d": ResNetPlan(64, (3, 4, 23, 3), 1024, 32),
    "resnext101_32x48d": ResNetPlan(64, (3, 4, 23, 3), 1536, 32),
    "se_resnet50": ResNetPlan(64, (3, 4, 6, 3), 64, squeeze=True, ceil=True, early=True),
    "se_resnet101": ResNetPlan(64, (3, 4, 23, 3), 64, squeeze=True, ceil=True, early=True),
    "se_resnet152": ResNetPlan(64, (3, 8, 36, 3), 64, squeeze=True, ceil=True, early=True),
    "se_resnext50_32x4d": ResNetPlan(64, (3, 4, 6, 3), 128, 32, squeeze=True, ceil=True),
    "se_resnext101_32x4d": ResNetPlan(64, (3, 4, 23, 3), 128, 32, squeeze=True, ceil=True),
    **{f"vgg{n}": VGGPlan(64, blocks) for n, blocks in _VGG.items()},
    **{f"vgg{n}_bn": VGGPlan(64, blocks, norm=True) for n, blocks in _VGG.items()},
    "mobilenet_v2": MobilePlan(32, _MOBILE_ROWS, (0, 2, 5, 12, 16), 1280, squeeze=False, silu=False),
    **_EFFICIENTNETS,
    **{f"timm-{name}": _symmetric(plan) for name, plan in _EFFICIENTNETS.items()},
    "timm-efficientnet-b8": _symmetric(_efficientnet(2.2, 3.6, 672)),
    **{f"timm-tf_efficientnet_lite{n}": _lite(*numbers) for n, numbers in enumerate(_LITE)},
    "densenet121": DensePlan(64, 32, (6, 12, 24, 16)),
    "densenet161": DensePlan(96, 48, (6, 12, 36, 24)),
    "densenet169": DensePlan(64, 32, (6, 12, 32, 32)),
    "densenet201": DensePlan(64, 32, (6, 12, 48, 32)),
}
