"""Residual U-Nets: each block is added to what enters it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.base import Network, initialize
from napari_unet.networks.blocks import AVERAGE_POOL, CONV, MAX_POOL, TRANSPOSED, Unit, make_activation
from napari_unet.networks.options.residual import ResidualOptions


class Excitation(nn.Module):
    """Weigh channels by the means of all channels, pixels by their channels, or take the larger of both.

    Squeeze and excitation: Hu et al. (2018), https://doi.org/10.1109/CVPR.2018.00745; of pixels and of
    both: Roy et al. (2018), https://doi.org/10.1007/978-3-030-00928-1_48.
    """

    def __init__(self, width: int, options: ResidualOptions) -> None:
        super().__init__()
        if options.squeeze != "spatial":
            self.reduce, self.expand = nn.Linear(width, width), nn.Linear(width, width)
        if options.squeeze != "channel":
            self.point = CONV[options.dims](width, 1, 1)
        self.squeeze = options.squeeze

    def forward(self, x: Tensor) -> Tensor:
        """From (N, width, *size) to the same."""
        if self.squeeze == "spatial":
            return self._pixels(x)
        return self._channels(x) if self.squeeze == "channel" else torch.maximum(self._channels(x), self._pixels(x))

    def _channels(self, x: Tensor) -> Tensor:
        means = x.mean(dim=tuple(range(2, x.ndim)))
        weights: Tensor = self.expand(self.reduce(means).relu()).sigmoid()
        return x * weights.view(*means.shape, *(1,) * (x.ndim - 2))

    def _pixels(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.point(x).sigmoid()
        return scaled


class ResidualBlock(nn.Module):
    """Units with a sum around them.

    Parameters
    ----------
    in_channels, width : int
    options : ResidualOptions
    kernel : sequence of int
        One side an axis.
    factor : sequence of int
        Stride of the first unit (one an axis).
    start : str, optional
        Order of the layers of the first unit, instead of that of the options.
    """

    def __init__(  # a unit with a sum
        self,
        in_channels: int,
        width: int,
        options: ResidualOptions,
        kernel: Sequence[int],
        factor: Sequence[int],
        start: str | None = None,
    ) -> None:
        super().__init__()
        before = options.projection == "before"
        self.before = _projection(in_channels, width, options) if before and in_channels != width else nn.Identity()
        entering = width if before else in_channels
        orders = [start or options.order, *[options.order] * (options.convs - 1)]
        if options.activate_sum:
            orders[-1] = orders[-1].replace("a", "")
        self.units = nn.Sequential()
        for i, order in enumerate(orders):
            stride = 1 if i else tuple(factor)
            self.units.append(Unit(width if i else entering, width, options, kernel, stride, order=order))
        for module in self.units[0].modules():
            # What enters is needed again for the sum.
            if isinstance(module, (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU)):
                module.inplace = False
        self.shortcut = _shortcut(entering, width, options, factor)
        slope = options.slope if options.sum_slope is None else options.sum_slope
        after = options.model_copy(update={"slope": slope})
        self.act = make_activation(after) if options.activate_sum else nn.Identity()
        self.excite = Excitation(width, options) if options.squeeze != "none" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, *size) to (N, width, *size / factor)."""
        x = self.before(x)
        out: Tensor = self.excite(self.act(self.units(x) + self.shortcut(x)))
        return out


def _projection(in_channels: int, width: int, options: ResidualOptions, factor: Sequence[int] = ()) -> nn.Sequential:
    """Build the 1-pixel convolution that changes channels, and with a factor the size."""
    unit = Unit(in_channels, width, options, (1,) * options.dims, order=options.projection_order)
    unit.conv = CONV[options.dims](in_channels, width, 1, bias=options.projection_bias)
    if not factor:
        return unit
    # The pixels are picked beforehand: with a stride and few channels, the backward pass of this convolution writes
    # beyond its memory in torch 2.13 on CPUs (channels last).
    layers = dict(unit.named_children())
    place = list(layers).index("conv")
    pick = ("pick", MAX_POOL[options.dims](1, tuple(factor)))
    return nn.Sequential(OrderedDict([*list(layers.items())[:place], pick, *list(layers.items())[place:]]))


def _shortcut(in_channels: int, width: int, options: ResidualOptions, factor: Sequence[int]) -> nn.Module:
    """Build what makes the input of a block fit its output."""
    path = nn.Sequential()
    strided = any(side > 1 for side in factor)
    if strided and options.shortcut == "average":
        path.append(AVERAGE_POOL[options.dims](tuple(factor), tuple(factor)))
        strided = False
    if strided or in_channels != width:
        path.append(_projection(in_channels, width, options, factor if strided else ()))
    return path if len(path) else nn.Identity()


class ResidualLevel(nn.Module):
    """A level of the decoder: enlarge, join the encoder's features, convolve."""

    def __init__(self, level: int, options: ResidualOptions) -> None:
        super().__init__()
        self.options = options
        below, width = options.level_widths[level + 1], options.level_widths[level]
        factor, kernel = options.level_factor(level), options.level_kernel(level)
        make, bias = TRANSPOSED[options.dims], options.up_bias
        match options.up:
            case "transpose":
                self.up: nn.Module = make(below, width, factor, factor, bias=bias)
            case "transpose3":
                more = tuple(side - 1 if options.up_fills else 0 for side in factor)
                self.up = make(below, width, 3, factor, 1, more, bias=bias)
            case _:
                self.up = nn.Upsample(scale_factor=tuple(float(side) for side in factor), mode="nearest")
        entering = below if options.up == "nearest" else width
        entering += width if options.skip == "concat" else 0
        self.block = nn.Sequential()
        for i in range(options.level_decoder_blocks[level]):
            before = width if i else entering
            if options.decoder == "plain":
                self.block.append(Unit(before, width, options, kernel))
            else:
                self.block.append(ResidualBlock(before, width, options, kernel, (1,) * options.dims))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """From (N, below, *size) and the encoder's (N, width, *larger) to (N, width, *larger)."""
        x = self.up(x)
        if self.options.up == "transpose3":
            # It may give one pixel fewer than twice as many; the public code repeats one.
            x = F.interpolate(x, size=features.shape[2:], mode="nearest")
        if self.options.skip == "add":
            joined = features + x
        else:
            joined = torch.cat([features, x] if self.options.first == "skip" else [x, features], dim=1)
        out: Tensor = self.block(joined)
        return out


class ResidualUNet(Network):
    """A U-Net of residual blocks.

    A picture of it is that of a U-Net with an arrow around every box: what enters a block is added to
    what leaves it, through a 1-pixel convolution where the number of channels or the size changes. So
    a block has to learn only what is to be changed, and deep networks train well. By default, as in
    the paper, units normalize and activate before they convolve, a stride of 2 instead of pooling
    leads down, nearest neighbours lead up, and no normalization precedes the first convolution.

    The forward pass takes sizes that are multiples of the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : ResidualOptions

    References
    ----------
    Zhang, Liu and Wang (2018), https://doi.org/10.1109/LGRS.2018.2802944. With other options Lee et al.
    (2017), https://doi.org/10.48550/arXiv.1706.00120, as in the public
    https://github.com/wolny/pytorch-3dunet (ResidualUNet2D and 3D), and the residual encoder U-Net of
    nnU-Net, Isensee et al. (2024), https://doi.org/10.1007/978-3-031-72114-4_47.
    """

    def __init__(self, in_channels: int, out_channels: int, options: ResidualOptions) -> None:
        super().__init__(in_channels, out_channels, options)
        widths, one = options.level_widths, (1,) * options.dims
        self.stem = Unit(in_channels, options.stem, options, options.level_kernel(0)) if options.stem else nn.Identity()
        before = options.stem or in_channels
        self.pools = nn.ModuleList(_pool(options.level_factor(level), options) for level in range(options.depth))
        self.encoder = nn.ModuleList()
        for level, width in enumerate(widths):
            blocks = nn.Sequential()
            for i in range(options.level_blocks[level]):
                first = level > 0 and i == 0
                factor = options.level_factor(level - 1) if first and options.down == "strided" else one
                start = options.start if level == i == 0 and not options.stem else None
                blocks.append(ResidualBlock(before, width, options, options.level_kernel(level), factor, start))
                before = width
            self.encoder.append(blocks)
        self.decoder = nn.ModuleList(ResidualLevel(level, options) for level in reversed(range(options.depth)))
        self.head = CONV[options.dims](widths[0], out_channels, 1)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """From an image (N, in_channels, [Z,] Y, X) to logits of its size."""
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(self.pools[level - 1](x) if level else x)
            skips.append(x)
        skips.pop()
        for level_up in self.decoder:
            x = level_up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def _pool(factor: Sequence[int], options: ResidualOptions) -> nn.Module:
    if options.down == "strided":
        return nn.Identity()
    make = MAX_POOL if options.down == "max" else AVERAGE_POOL
    pool: nn.Module = make[options.dims](tuple(factor))
    return pool
