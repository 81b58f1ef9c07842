"""UNet++: the space between encoder and decoder is filled with nodes that see each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import CONV, LINEAR, MAX_POOL, ConvBlock, pad_centre
from napari_unet.networks.options.nested import NestedOptions, Node


class NestedUNet(Network):
    """UNet++: nodes in a triangle, each row densely connected.

    A picture of it is a triangle that stands on its tip. Its left side is the encoder of a U-Net.
    Node i.j, on level i and in column j, convolves what all nodes i.0 to i.j-1 of its row found,
    joined with node i+1.j-1 of the level below, enlarged. The right side is the decoder of a U-Net;
    the columns between are decoders of shallower U-Nets inside. With deep supervision each column
    has a head on top.

    A node is two units of convolution, batch normalization and activation. The image can have any
    size of at least the stride: enlarged features are padded with zeros at the far ends.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : NestedOptions

    Attributes
    ----------
    nodes : ModuleDict
        "i_j" to a block. Those that a branch does not need are there too, so that another branch
        of the same weights can be chosen, but they are not computed.
    heads : ModuleList
        Of each column from 1, or of the last one alone.

    References
    ----------
    Zhou et al. (2018), https://doi.org/10.1007/978-3-030-00889-5_1;
    computed like the public https://github.com/4uiiurz1/pytorch-nested-unet.
    """

    def __init__(self, in_channels: int, out_channels: int, options: NestedOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        self.options = options
        widths = options.level_widths
        self.pool = MAX_POOL[options.dims](2)
        self.nodes = nn.ModuleDict()
        for level, column in options.nodes:
            before = widths[level - 1] if level else in_channels
            inputs = sum(widths[row] for row, _ in options.node_inputs((level, column))) or before
            self.nodes[f"{level}_{column}"] = ConvBlock(inputs, (widths[level],) * options.convs, options)
        self.heads = nn.ModuleList(CONV[options.dims](widths[0], out_channels, 1) for _ in options.heads)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size."""
        return torch.stack(self.branches(x)).mean(dim=0)

    def branches(self, x: Tensor) -> list[Tensor]:
        """Logits (N, out_channels, [Z,] Y, X) of each head that is in use."""
        features: dict[Node, Tensor] = {}
        for level, column in self.options.active:
            if column:
                x = self._joined(features, (level, column))
            elif level:
                x = self.pool(features[level - 1, 0])
            features[level, column] = self.nodes[f"{level}_{column}"](x)
        used = zip(self.options.heads, self.heads, strict=True)
        return [head(features[0, column]) for column, head in used if column in self.options.used_heads]

    def _joined(self, features: dict[Node, Tensor], node: Node) -> Tensor:
        """Concatenate what a node sees: (N, C, *size of its level)."""
        *row, below = (features[other] for other in self.options.node_inputs(node))
        linear = self.options.up == "linear"
        mode = LINEAR[self.options.dims] if linear else "nearest"
        corners = self.options.align_corners if linear else None
        up = F.interpolate(below, scale_factor=2.0, mode=mode, align_corners=corners)
        return torch.cat([*row, pad_centre(up, row[0].shape[2:])], dim=1)
