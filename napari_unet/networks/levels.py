"""U-Nets that differ from one another in their blocks and in what happens to their skips."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import CONV, MAX_POOL, Unit
from napari_unet.networks.options.levels import BlockLevelOptions


class AttentionGate(nn.Module):
    """Scale the encoder's features by where the decoder looks.

    Both are mapped to `inner` channels and added; what is positive in the sum becomes one weight from
    0 to 1 for each pixel. Additive attention of Oktay et al. (2018), https://arxiv.org/abs/1804.03999.

    Parameters
    ----------
    width : int
        Channels of both.
    inner : int
    options : BlockLevelOptions
    """

    def __init__(self, width: int, inner: int, options: BlockLevelOptions) -> None:
        super().__init__()
        point = (1,) * options.dims
        self.of_decoder = Unit(width, inner, options, point, order="cn")
        self.of_encoder = Unit(width, inner, options, point, order="cn")
        self.weight = Unit(inner, 1, options, point, order="cn")
        self.act = nn.ReLU(inplace=True)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From the decoder's and the encoder's (N, width, *size) to the encoder's, scaled."""
        looks = self.act(self.of_decoder(x) + self.of_encoder(features))
        scaled: Tensor = features * self.sigmoid(self.weight(looks))
        return scaled


class JoinLevel(nn.Module):
    """Enlarge by nearest neighbours, convolve, join the encoder's features, convolve as a block.

    Parameters
    ----------
    below, width : int
        Channels of the level below and of this one.
    block : Module
        From 2 * `width` to `width` channels.
    options : BlockLevelOptions
    gated : bool
        Whether the encoder's features pass a gate.
    """

    def __init__(self, below: int, width: int, block: nn.Module, options: BlockLevelOptions, *, gated: bool) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv = Unit(below, width, options)
        self.gate = AttentionGate(width, max(1, width // 2), options) if gated else None
        self.block = block

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From (N, below, *size) and the encoder's (N, width, *2 size) to (N, width, *2 size)."""
        x = self.conv(self.up(x))
        if self.gate is not None:
            features = self.gate(x, features)
        out: Tensor = self.block(torch.cat([features, x], dim=1))
        return out


class LevelUNet(Network):
    """A U-Net of one kind of block, with max pooling and nearest-neighbour up-sampling.

    Subclasses say what a block is. The forward pass takes sizes that are multiples of the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : BlockLevelOptions
    gated : bool
        Whether the encoder's features pass attention gates.
    """

    def __init__(self, in_channels: int, out_channels: int, options: BlockLevelOptions, *, gated: bool) -> None:
        super().__init__(in_channels, out_channels, options)
        widths = options.level_widths
        self.pool = MAX_POOL[options.dims](2)
        self.encoder = nn.ModuleList(
            self.block(before, width) for before, width in zip((in_channels, *widths), widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            JoinLevel(widths[level + 1], width, self.block(2 * width, width), options, gated=gated)
            for level, width in reversed(list(enumerate(widths[:-1])))
        )
        self.head = CONV[options.dims](widths[0], out_channels, 1)
        self.apply(initialize)

    @abstractmethod
    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build the block of one level."""

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            x = block(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits
