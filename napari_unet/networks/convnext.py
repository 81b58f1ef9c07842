"""A U-Net of ConvNeXt blocks."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import CONV, TRANSPOSED
from napari_unet.networks.options.convnext import ConvNextOptions


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel, so that no pixel depends on another."""

    def forward(self, x: Tensor) -> Tensor:
        """From (N, C, *size) to the same."""
        x = F.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)


class ConvNextBlock(nn.Module):
    """A large depthwise convolution, then two 1-pixel convolutions with many channels between them, and a sum."""

    def __init__(self, width: int, options: ConvNextOptions) -> None:
        super().__init__()
        conv, hidden = CONV[options.dims], options.expansion * width
        self.depthwise = conv(width, width, options.kernel, padding=options.kernel // 2, groups=width)
        self.norm = ChannelNorm(width, options.eps)
        self.expand = conv(width, hidden, 1)
        self.act = nn.GELU()
        self.reduce = conv(hidden, width, 1)
        self.scale = nn.Parameter(torch.full((width,), options.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """From (N, width, *size) to the same."""
        found: Tensor = self.reduce(self.act(self.expand(self.norm(self.depthwise(x)))))
        return x + found * self.scale.view(-1, *(1,) * (x.ndim - 2))


class ConvNextLevel(nn.Module):
    """A level of the decoder: enlarge, join the encoder's features, mix the channels, convolve."""

    def __init__(self, level: int, options: ConvNextOptions) -> None:
        super().__init__()
        below, width = options.level_widths[level + 1], options.level_widths[level]
        self.norm = ChannelNorm(below, options.eps)
        self.up = TRANSPOSED[options.dims](below, width, 2, 2)
        self.mix = CONV[options.dims](2 * width, width, 1)
        count = options.level_decoder_blocks[level]
        self.blocks = nn.Sequential(*(ConvNextBlock(width, options) for _ in range(count)))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From (N, below, *size) and the encoder's (N, width, *2 size) to (N, width, *2 size)."""
        x = self.up(self.norm(x))
        out: Tensor = self.blocks(self.mix(torch.cat([features, x], dim=1)))
        return out


class ConvNextUNet(Network):
    """A U-Net of ConvNeXt blocks.

    A picture of it is that of a U-Net whose boxes are bottlenecks turned inside out: a depthwise
    convolution with a large kernel looks around within each channel, a normalization over the
    channels of each pixel follows, then two 1-pixel convolutions with four times the channels between
    them and one GELU; the result is scaled channel by channel and added to what entered. For as large
    a view as a chain of dense 3-pixel convolutions it needs far fewer weights. As nothing is
    averaged over the image, it does not depend on the size of batches or tiles: tiling is exact.

    The forward pass takes sizes that are multiples of the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : ConvNextOptions

    References
    ----------
    Blocks: Liu et al. (2022), https://doi.org/10.1109/CVPR52688.2022.01167; in U-Nets for volumes:
    Roy et al. (2023), https://doi.org/10.1007/978-3-031-43901-8_39.
    """

    def __init__(self, in_channels: int, out_channels: int, options: ConvNextOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        widths, conv = options.level_widths, CONV[options.dims]
        self.stem = conv(in_channels, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(above, options.eps), conv(above, below, 2, 2))
            for above, below in pairwise(widths)
        )
        self.encoder = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(width, options) for _ in range(count)))
            for width, count in zip(widths, options.level_blocks, strict=True)
        )
        self.decoder = nn.ModuleList(ConvNextLevel(level, options) for level in reversed(range(options.depth)))
        self.norm = ChannelNorm(widths[0], options.eps)
        self.head = conv(widths[0], out_channels, 1)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(self.downs[level - 1](x) if level else x)
            skips.append(x)
        skips.pop()
        for level_up in self.decoder:
            x = level_up(x, skips.pop())
        logits: Tensor = self.head(self.norm(x))
        return logits
