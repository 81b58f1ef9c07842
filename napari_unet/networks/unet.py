"""The U-Net: an encoder that halves, a decoder that doubles, skips between them."""

from __future__ import annotations

from torch import Tensor, nn

from napari_unet.networks.base import Network, cut, frame, initialize
from napari_unet.networks.blocks import CONV, DROPOUT, ConvBlock, DecoderLevel, Down, depth_to_space
from napari_unet.networks.options.unet import UNetOptions


class UNet(Network):
    """A U-Net of almost any kind.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : UNetOptions
        Depth, widths, normalization and so on.

    References
    ----------
    Ronneberger, Fischer and Brox (2015), https://doi.org/10.1007/978-3-319-24574-4_28;
    in 3D Çiçek et al. (2016), https://doi.org/10.1007/978-3-319-46723-8_49.
    """

    def __init__(self, in_channels: int, out_channels: int, options: UNetOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        self.options = options
        levels = options.encoder_widths
        ends = [widths[-1] for widths in levels]
        self.encoder = nn.ModuleList()
        for level, widths in enumerate(levels):
            before = ends[level - 1] if level else in_channels
            stride = options.level_factor(level - 1) if level and options.down == "strided" else 1
            self.encoder.append(ConvBlock(before, widths, options, options.level_kernel(level), stride))
        self.downs = nn.ModuleList(Down(ends[i], options.level_factor(i), options) for i in range(options.depth))
        self.dropout = DROPOUT[options.dims](options.dropout) if options.dropout else nn.Identity()
        below = ends[-1]
        self.decoder = nn.ModuleList()
        for level in reversed(range(options.depth)):
            self.decoder.append(DecoderLevel(below, level, options))
            below = options.decoder_widths[level][-1]
        outputs = out_channels * options.head_scale**2
        self.head = CONV[options.dims](below, outputs, options.head_kernel, padding=options.head_kernel // 2)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits.

        The logits have the size of the image unless the convolutions are not padded, or
        `head_scale` enlarges them.
        """
        size = x.shape[2:]
        if self.options.fit == "multiple":
            x = frame(x, self.options)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.downs[level - 1](x) if level else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for block in self.decoder:
            x = block(x, skips.pop())
        logits: Tensor = self.head(x)
        if self.options.head_scale > 1:
            logits = depth_to_space(logits, self.options.head_scale)
        if self.options.fit == "multiple":
            logits = cut(logits, [n * self.options.head_scale for n in size])
        return logits
