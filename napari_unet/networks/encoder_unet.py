"""U-Nets and UNet++ whose encoder is known from image classification."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import ConvBlock
from napari_unet.networks.encoders.making import make_encoder
from napari_unet.networks.encoders.parts import SqueezeExcite
from napari_unet.networks.options.encoder import EncoderUNetOptions

# Attention squeezes channels by this factor.
REDUCTION = 16


class EncoderUNet(Network):
    """A U-Net or UNet++ with an encoder known from image classification.

    The features of the encoder at half resolution and below are enlarged and joined; the last
    level of the decoder, at full resolution, joins nothing. The U-Net takes an image of any side
    that the encoder takes; for UNet++ it must be a multiple of the stride (`on_grid` sees to it).

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : EncoderUNetOptions

    References
    ----------
    Ronneberger, Fischer and Brox (2015), https://doi.org/10.1007/978-3-319-24574-4_28; UNet++ Zhou
    et al. (2018), https://doi.org/10.1007/978-3-030-00889-5_1; both computed like the public
    https://github.com/qubvel-org/segmentation_models.pytorch.
    """

    def __init__(self, in_channels: int, out_channels: int, options: EncoderUNetOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        self.options = options
        self.encoder = make_encoder(in_channels, options.plan, options.depth)
        self.decoder = NestedDecoder(options) if options.nested else PlainDecoder(options)
        self.head = nn.Conv2d(options.up_channels[-1], out_channels, 3, padding=1)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, Y, X) to logits of its size."""
        deepest_first = self.encoder(x)[::-1][: self.options.depth]
        logits: Tensor = self.head(self.decoder(deepest_first, x.shape[2:]))
        return logits


class PlainDecoder(nn.Module):
    """Enlarge, join, convolve, from the deepest level to full resolution.

    Parameters
    ----------
    options : EncoderUNetOptions
    """

    def __init__(self, options: EncoderUNetOptions) -> None:
        super().__init__()
        deepest = options.features[0]
        self.centre = ConvBlock(deepest, (deepest, deepest), options) if options.centre else nn.Identity()
        below = (deepest, *options.up_channels[:-1])
        sides = (*options.features[1:], 0)
        channels = zip(below, sides, options.up_channels, strict=True)
        self.levels = nn.ModuleList(Join(under, side, width, options) for under, side, width in channels)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """From features (N, C, Y, X), the deepest first, to those of the full size."""
        x: Tensor = self.centre(features[0])
        for level, side in zip_longest(self.levels, features[1:]):
            x = level(x, side, size if side is None else side.shape[2:])
        return x


class NestedDecoder(nn.Module):
    """The triangle of UNet++; see `EncoderUNetOptions.nodes`.

    Parameters
    ----------
    options : EncoderUNetOptions
    """

    def __init__(self, options: EncoderUNetOptions) -> None:
        super().__init__()
        self.order = options.nodes
        self.nodes = nn.ModuleDict()
        for first, step in self.order:
            below, sides = options.node_inputs(first, step)
            self.nodes[f"{first}_{step}"] = Join(below, sides, options.node_channels(first, step), options)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """From features (N, C, Y, X), the deepest first, to those of the full size."""
        found: dict[tuple[int, int], Tensor] = {}
        for first, step in self.order:
            below = features[first] if step == first else found[first, step - 1]
            side, larger = None, size
            if step + 1 < len(features):
                row = [found[other, step] for other in range(first + 1, step + 1)]
                side = torch.cat([*row, features[step + 1]], dim=1)
                larger = side.shape[2:]
            found[first, step] = self.nodes[f"{first}_{step}"](below, side, larger)
        return found[self.order[-1]]


class Join(nn.Module):
    """Enlarge what comes from below, join what comes from the side, convolve.

    Parameters
    ----------
    below, side : int
        Channels from below and from the side (0: nothing).
    width : int
        Channels after it.
    options : EncoderUNetOptions
    """

    def __init__(self, below: int, side: int, width: int, options: EncoderUNetOptions) -> None:
        super().__init__()
        self.mode = "nearest" if options.up == "nearest" else "bilinear"
        weighs = options.attention
        self.before = Weigh(below + side) if weighs and side else nn.Identity()
        self.block = ConvBlock(below + side, (width, width), options)
        self.after = Weigh(width) if weighs else nn.Identity()

    def forward(self, x: Tensor, side: Tensor | None, size: Sequence[int]) -> Tensor:
        """From (N, below, *smaller) and (N, side, *size) to (N, width, *size)."""
        x = F.interpolate(x, size=list(size), mode=self.mode)
        if side is not None:
            x = self.before(torch.cat([x, side], dim=1))
        out: Tensor = self.after(self.block(x))
        return out


class Weigh(nn.Module):
    """Weigh channels by what the whole image shows, and pixels by their channels, and add both (scSE).

    Parameters
    ----------
    channels : int

    References
    ----------
    Roy, Navab and Wachinger (2018), https://doi.org/10.1007/978-3-030-00928-1_48.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = SqueezeExcite(channels, max(1, channels // REDUCTION), nn.ReLU(inplace=True))
        self.pixels = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, channels, Y, X) to the same."""
        out: Tensor = self.channels(x) + x * torch.sigmoid(self.pixels(x))
        return out
