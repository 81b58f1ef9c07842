"""The U-Net: an encoder that halves, a decoder that doubles, skips between them."""

from __future__ import annotations

from torch import Tensor, nn

from napari_unet.networks.blocks import (
    CONV,
    DROPOUT,
    ConvBlock,
    DecoderLevel,
    make_down,
    pad_to_multiple,
)
from napari_unet.networks.options import LOCAL_NORMS, UNetOptions


class UNet(nn.Module):
    """A U-Net that takes an image of any size and gives logits of the same size.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : UNetOptions
        Depth, widths, normalization and so on.

    Attributes
    ----------
    dims : int
        2 or 3 spatial dimensions.
    stride : int
        Total down-sampling; tiles start at multiples of it.
    local : bool
        Whether an output pixel depends on a neighbourhood only (in evaluation mode).

    References
    ----------
    Ronneberger, Fischer and Brox (2015), https://doi.org/10.1007/978-3-319-24574-4_28;
    in 3D Çiçek et al. (2016), https://doi.org/10.1007/978-3-319-46723-8_49.
    Unlike there, convolutions are padded, so that the output has the size of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, options: UNetOptions) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.options = in_channels, out_channels, options
        self.dims = options.dims
        self.stride = 2**options.depth
        self.local = options.norm in LOCAL_NORMS
        widths = options.level_widths
        self.encoder = nn.ModuleList(
            ConvBlock(a, b, options) for a, b in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.downs = nn.ModuleList(make_down(width, options) for width in widths[:-1])
        self.dropout = DROPOUT[options.dims](options.dropout) if options.dropout else nn.Identity()
        self.decoder = nn.ModuleList(
            DecoderLevel(below, here, options) for below, here in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = CONV[options.dims](
            widths[0],
            out_channels,
            kernel_size=options.head_kernel,
            padding=options.head_kernel // 2,
        )
        self.apply(_init_weights)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits (N, out_channels, [Z,] Y, X)."""
        size = x.shape[2:]
        # Instance normalization cannot work on a single pixel at the bottom.
        minimum = self.stride * (2 if self.options.norm == "instance" else 1)
        x = pad_to_multiple(x, self.stride, minimum)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level:
                x = self.downs[level - 1](x)
            x = block(x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for block in self.decoder:
            x = block(x, skips.pop())
        logits: Tensor = self.head(x)
        for axis, n in enumerate(size, start=2):
            logits = logits.narrow(axis, 0, n)
        return logits


def _init_weights(module: nn.Module) -> None:
    """He initialization: https://doi.org/10.1109/ICCV.2015.123."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
