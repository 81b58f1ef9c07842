"""UNet 3+: every level of the decoder sees every scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import CONV, LINEAR, MAX_POOL, ConvBlock, Unit
from napari_unet.networks.options.full_scale import FullScaleOptions


class FullScaleLevel(nn.Module):
    """A level of the decoder: the same number of channels from each scale, joined and convolved.

    Parameters
    ----------
    level : int
        0 at the top.
    widths : sequence of int
        Channels of what it sees of each level, from the top.
    options : FullScaleOptions
    """

    def __init__(self, level: int, widths: Sequence[int], options: FullScaleOptions) -> None:
        super().__init__()
        self.fit = nn.ModuleList(_resampling(2.0 ** (level - other), options) for other in range(len(widths)))
        self.take = nn.ModuleList(Unit(width, options.taken, options) for width in widths)
        self.merge = Unit(options.decoder_width, options.decoder_width, options)

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """From (N, widths[i], *size of level i) for each level to (N, decoder_width, *size)."""
        seen = [take(fit(x)) for fit, take, x in zip(self.fit, self.take, scales, strict=True)]
        out: Tensor = self.merge(torch.cat(seen, dim=1))
        return out


def _resampling(factor: float, options: FullScaleOptions) -> nn.Module:
    """Build what makes features `factor` times smaller, or larger if it is below 1."""
    if factor > 1:
        pool: nn.Module = MAX_POOL[options.dims](int(factor))
        return pool
    if factor == 1:
        return nn.Identity()
    if options.up == "nearest":
        return nn.Upsample(scale_factor=1 / factor, mode="nearest")
    return nn.Upsample(scale_factor=1 / factor, mode=LINEAR[options.dims], align_corners=options.align_corners)


class FullScaleUNet(Network):
    """UNet 3+: full-scale skips.

    A picture of it is that of a U-Net in which every box on the right has an arrow from every level:
    from the encoder at its own level and above (made smaller by max pooling), and from the decoder
    and the bottom below it (enlarged by interpolation). Each arrow carries the same small number of
    channels, so that fine edges and coarse context meet in every box; the boxes on the right are all
    equally wide.

    The forward pass takes sizes that are multiples of the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : FullScaleOptions

    References
    ----------
    Huang et al. (2020), https://doi.org/10.1109/ICASSP40776.2020.9053405; without deep supervision,
    computed like the authors' https://github.com/ZJUGiveLab/UNet-Version.
    """

    def __init__(self, in_channels: int, out_channels: int, options: FullScaleOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        widths, depth = options.level_widths, options.depth
        self.pool = MAX_POOL[options.dims](2)
        self.encoder = nn.ModuleList(
            ConvBlock(before, (width,) * options.convs, options)
            for before, width in zip((in_channels, *widths), widths, strict=False)
        )
        self.decoder = nn.ModuleList()
        for level in reversed(range(depth)):
            seen = (*widths[: level + 1], *(options.decoder_width,) * (depth - 1 - level), widths[depth])
            self.decoder.append(FullScaleLevel(level, seen, options))
        kernel = options.head_kernel
        self.head = CONV[options.dims](options.decoder_width, out_channels, kernel, padding=kernel // 2)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size."""
        scales: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            scales.append(x)
        for level, block in zip(reversed(range(len(self.decoder))), self.decoder, strict=True):
            # From here on the decoder's features stand for this level.
            scales[level] = block(scales)
        logits: Tensor = self.head(scales[0])
        return logits
