"""Attention U-Net: the decoder says which of the encoder's features pass."""

from __future__ import annotations

from torch import nn

from napari_unet.networks.blocks import ConvBlock
from napari_unet.networks.levels import LevelUNet
from napari_unet.networks.options.attention import AttentionOptions


class AttentionUNet(LevelUNet):
    """A U-Net with a gate on every skip.

    A picture of it is that of a U-Net with a box on each horizontal arrow. From below, the enlarged
    features of the decoder enter the box, from the left those of the encoder; one weight from 0 to 1
    for each pixel leaves it, and the encoder's features are multiplied by it before they are joined.
    So the decoder, which has seen more of the image, silences the encoder where there is nothing to
    find. Up-sampling is by nearest neighbours and a 3-pixel convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : AttentionOptions

    References
    ----------
    Oktay et al. (2018), https://arxiv.org/abs/1804.03999; computed like AttU_Net of the public
    https://github.com/LeeJunHyun/Image_Segmentation, whose gates look at the decoder's features after
    up-sampling, where those of the paper look at them before.
    """

    def __init__(self, in_channels: int, out_channels: int, options: AttentionOptions) -> None:
        self._options = options
        super().__init__(in_channels, out_channels, options, gated=True)

    def block(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build the block of one level: units of convolution, normalization, activation."""
        return ConvBlock(in_channels, (out_channels,) * self._options.convs, self._options)
