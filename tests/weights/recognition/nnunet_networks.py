"""Plain restatements of the two networks of nnU-Net, with all names of their tensors."""

import torch
from torch import nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
NORM = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


class Place(nn.Module):
    """A place in the names of tensors."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Unit(nn.Module):
    def __init__(self, style, before, after, kernel, stride=None, *, bias=True, act=True):
        super().__init__()
        padding = tuple(side // 2 for side in kernel)
        self.conv = CONV[style.dims](before, after, kernel, stride or 1, padding, bias=bias)
        norm = NORM[style.norm, style.dims]
        self.norm = norm(after, eps=style.eps, affine=True)
        parts = [self.conv, self.norm, *([style.act()] if act else [])]
        if style.nonlin_first and act:
            parts[1:] = parts[:0:-1]
        self.all_modules = nn.Sequential(*parts)

    def forward(self, x):
        return self.all_modules(x)


class Style:
    def __init__(self, dims, norm="instance", eps=1e-5, act=None, nonlin_first=False):
        self.dims, self.norm, self.eps, self.nonlin_first = dims, norm, eps, nonlin_first
        self.act = act or (lambda: nn.LeakyReLU(0.01))


def stacked(style, before, width, count, kernel, stride=None):
    units = [Unit(style, before if i == 0 else width, width, kernel, None if i else stride) for i in range(count)]
    return Place(convs=nn.Sequential(*units))


class Decoder(nn.Module):
    def __init__(self, style, encoder, widths, kernels, factors, counts, outputs):
        super().__init__()
        self.encoder = encoder
        levels = range(len(factors) - 1, -1, -1)
        self.stages = nn.ModuleList(
            stacked(style, 2 * widths[i], widths[i], counts[-1 - i], kernels[i]) for i in levels
        )
        make = TRANSPOSED[style.dims]
        self.transpconvs = nn.ModuleList(make(widths[i + 1], widths[i], factors[i], factors[i]) for i in levels)
        self.seg_layers = nn.ModuleList(CONV[style.dims](widths[i], outputs, 1) for i in levels)

    def forward(self, skips):
        x = skips.pop()
        for stage, up in zip(self.stages, self.transpconvs, strict=True):
            x = stage.convs(torch.cat([up(x), skips.pop()], dim=1))
        return self.seg_layers[-1](x)


class PlainConvUNet(nn.Module):
    """Stages of convolutions, the first of each with a stride."""

    def __init__(self, style, widths, kernels, factors, counts, decoder_counts, *, outputs=2, inputs=1):
        super().__init__()
        before = (inputs, *widths[:-1])
        strides = (None, *factors)
        self.encoder = Place(
            stages=nn.Sequential(
                *[
                    nn.Sequential(stacked(style, before[i], widths[i], counts[i], kernels[i], strides[i]))
                    for i in range(len(widths))
                ]
            )
        )
        self.decoder = Decoder(style, self.encoder, widths, kernels, factors, decoder_counts, outputs)

    def forward(self, x):
        skips = []
        for stage in self.encoder.stages:
            x = stage[0].convs(x)
            skips.append(x)
        return self.decoder(skips)


class Block(nn.Module):
    """Two convolutions and a sum; average pooling where the first has a stride."""

    def __init__(self, style, before, width, kernel, stride):
        super().__init__()
        self.conv1 = Unit(style, before, width, kernel, stride)
        self.conv2 = Unit(style, width, width, kernel, act=False)
        self.act = style.act()
        path = [POOL[style.dims](stride, stride)] if stride and set(stride) != {1} else []
        if before != width:
            path.append(Unit(style, before, width, (1,) * style.dims, bias=False, act=False))
        if path:
            self.skip = nn.Sequential(*path)

    def forward(self, x):
        beside = self.skip(x) if hasattr(self, "skip") else x
        return self.act(self.conv2(self.conv1(x)) + beside)


class ResidualEncoderUNet(nn.Module):
    """A stem and stages of residual blocks; a plain decoder."""

    def __init__(self, style, widths, kernels, factors, counts, decoder_counts, *, outputs=2, inputs=1):
        super().__init__()
        before, strides = (widths[0], *widths[:-1]), (None, *factors)
        stages = []
        for i, width in enumerate(widths):
            blocks = [
                Block(style, width if n else before[i], width, kernels[i], None if n else strides[i])
                for n in range(counts[i])
            ]
            stages.append(Place(blocks=nn.Sequential(*blocks)))
        self.encoder = Place(stem=stacked(style, inputs, widths[0], 1, kernels[0]), stages=nn.Sequential(*stages))
        self.decoder = Decoder(style, self.encoder, widths, kernels, factors, decoder_counts, outputs)

    def forward(self, x):
        x, skips = self.encoder.stem.convs(x), []
        for stage in self.encoder.stages:
            x = stage.blocks(x)
            skips.append(x)
        return self.decoder(skips)
