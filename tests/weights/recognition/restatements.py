"""Public U-Nets of PyTorch, restated: names of tensors and arithmetic are those of their authors' code.

They share nothing with the package. Widths are arguments where the authors' are fixed.
"""

import torch
from torch import nn
from torch.nn import functional as F


def twice(before, after, *, between=None, padding=1, bias=True, norm=True, active=True):
    """Two 3-pixel convolutions with what follows each."""
    layers = []
    for i, o in ((before, between or after), (between or after, after)):
        layers.append(nn.Conv2d(i, o, 3, padding=padding, bias=bias))
        layers += [nn.BatchNorm2d(o)] if norm else []
        layers += [nn.ReLU()] if active else []
    return nn.Sequential(*layers)


class Under(nn.Module):
    """A module under a name, so that its tensors are called ``name.…``."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Unpadded(nn.Module):
    """Convolutions without padding and without activations, the encoder cropped around its centre."""

    def __init__(self, ins=1, outs=2, width=64):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        for i in range(5):
            self.add_module(f"conv_{i + 1}", self.block((ins, *w)[i], w[i]))
        for i in range(4):
            self.add_module(f"up_conv_{4 - i}", nn.Sequential(nn.ConvTranspose2d(w[4 - i], w[3 - i], 2, 2)))
            self.add_module(f"conv_{6 + i}", self.block(w[4 - i], w[3 - i]))
        self.result = nn.Conv2d(width, outs, 1)

    def block(self, before, after):
        return twice(before, after, padding=0, norm=False, active=False)

    def forward(self, x):
        skips = []
        for i in range(1, 5):
            skips.append(self.get_submodule(f"conv_{i}")(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.conv_5(x)
        for i in range(4):
            x, skip = self.get_submodule(f"up_conv_{4 - i}")(x), skips.pop()
            lost = (skip.shape[3] - x.shape[3]) // 2
            skip = skip[:, :, lost : skip.shape[3] - lost, lost : skip.shape[3] - lost]
            x = self.get_submodule(f"conv_{6 + i}")(torch.cat((skip, x), 1))
        return self.result(x)


class UnpaddedActive(Unpadded):
    """The same with an activation after each convolution, which shows in the numbers of the layers."""

    def block(self, before, after):
        return twice(before, after, padding=0, norm=False)


class Strided(nn.Module):
    """Strided convolutions down, nearest neighbours and a 1-pixel convolution up; a sigmoid at the end."""

    def __init__(self, ins=3, outs=3, width=64):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        for i in range(5):
            self.add_module(f"C{i + 1}", self.block((ins, *w)[i], w[i]))
        for i in range(4):
            down = nn.Sequential(nn.Conv2d(w[i], w[i], 3, 2, 1), nn.LeakyReLU())
            self.add_module(f"D{i + 1}", Under(Down=down))
            self.add_module(f"U{i + 1}", Under(Up=nn.Conv2d(w[4 - i], w[3 - i], 1)))
            self.add_module(f"C{i + 6}", self.block(w[4 - i], w[3 - i]))
        self.pred = nn.Conv2d(width, outs, 3, padding=1)

    @staticmethod
    def block(before, after):
        layers = []
        for channels, rate in ((before, 0.3), (after, 0.4)):
            layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after)]
            layers += [nn.Dropout(rate), nn.LeakyReLU()]
        return Under(layer=nn.Sequential(*layers))

    def forward(self, x):
        skips = []
        for i in range(1, 5):
            skips.append(self.get_submodule(f"C{i}.layer")(x))
            x = self.get_submodule(f"D{i}.Down")(skips[-1])
        x = self.C5.layer(x)
        for i in range(1, 5):
            x = self.get_submodule(f"U{i}.Up")(F.interpolate(x, scale_factor=2, mode="nearest"))
            x = self.get_submodule(f"C{i + 5}.layer")(torch.cat((x, skips.pop()), 1))
        return torch.sigmoid(self.pred(x))


class Joined(nn.Module):
    """Batch normalization; the features are cropped, padded or of the same size."""

    def __init__(self, ins=3, outs=10, width=64, join="same"):
        super().__init__()
        self.join = join
        w, padding = [width * 2**i for i in range(5)], int(join == "same")
        self.inc = Under(conv=twice(ins, w[0], padding=padding))
        for i in range(1, 5):
            block = Under(conv=twice(w[i - 1], w[i], padding=padding))
            self.add_module(f"down{i}", Under(maxpool_conv=nn.Sequential(nn.MaxPool2d(2), block)))
        for i in range(1, 5):
            up = nn.ConvTranspose2d(w[5 - i], w[4 - i], 2, 2)
            self.add_module(f"up{i}", Under(up=up, conv=Under(conv=twice(w[5 - i], w[4 - i], padding=padding))))
        self.outc = nn.Conv2d(width, outs, 1)

    def forward(self, x):
        skips = [self.inc.conv(x)]
        for i in range(1, 5):
            skips.append(self.get_submodule(f"down{i}.maxpool_conv.1.conv")(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for i in range(1, 5):
            x, skip = self.get_submodule(f"up{i}.up")(x), skips.pop()
            lost = [skip.shape[axis] - x.shape[axis] for axis in (2, 3)]
            if self.join == "crop":  # as torchvision's CenterCrop rounds
                y, z = (round(n / 2) for n in lost)
                skip = skip[:, :, y : y + x.shape[2], z : z + x.shape[3]]
            elif self.join == "pad":
                x = F.pad(x, [lost[1] // 2, lost[1] - lost[1] // 2, lost[0] // 2, lost[0] - lost[0] // 2])
            x = self.get_submodule(f"up{i}.conv.conv")(torch.cat((skip, x), 1))
        return self.outc(x)


class Debuggercafe(nn.Module):
    """Padded convolutions, no normalization; number 1 of the decoder is the deepest."""

    def __init__(self, ins=3, outs=10, width=64):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        for i in range(5):
            self.add_module(f"down_convolution_{i + 1}", twice((ins, *w)[i], w[i], norm=False))
        for i in range(1, 5):
            self.add_module(f"up_transpose_{i}", nn.ConvTranspose2d(w[5 - i], w[4 - i], 2, 2))
            self.add_module(f"up_convolution_{i}", twice(w[5 - i], w[4 - i], norm=False))
        self.out = nn.Conv2d(width, outs, 1)

    def forward(self, x):
        skips = []
        for i in range(1, 6):
            x = self.get_submodule(f"down_convolution_{i}")(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for i in range(1, 5):
            x = self.get_submodule(f"up_transpose_{i}")(x)
            x = self.get_submodule(f"up_convolution_{i}")(torch.cat((skips.pop(), x), 1))
        return self.out(x)


class Resized(nn.Module):
    """Any widths that double, any size: what comes from below is resized to the skip."""

    def __init__(self, ins=1, outs=1, width=64, *, bilinear=True, levels=4):
        super().__init__()
        w = [width * 2**i for i in range(levels)]
        self.downs = nn.ModuleList(Under(conv=twice(i, o, bias=False)) for i, o in zip((ins, *w), w, strict=False))
        self.ups = nn.ModuleList()
        for n in reversed(w):
            conv = nn.Conv2d(2 * n, n, 3, padding=1)
            up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv)
            self.ups.append(up if bilinear else nn.ConvTranspose2d(2 * n, n, 2, 2))
            self.ups.append(Under(conv=twice(2 * n, n, bias=False)))
        self.bottleneck = Under(conv=twice(w[-1], 2 * w[-1], bias=False))
        self.final_conv = nn.Conv2d(width, outs, 1)

    def forward(self, x):
        skips = []
        for down in self.downs:
            skips.append(down.conv(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottleneck.conv(x)
        for up, block in zip(self.ups[::2], self.ups[1::2], strict=True):
            x, skip = up(x), skips.pop()
            if x.shape != skip.shape:  # torchvision resizes tensors with antialias
                x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False, antialias=True)
            x = block.conv(torch.cat((skip, x), 1))
        return self.final_conv(x)


class Milesial(nn.Module):
    """Decoder padded with zeros; what is how wide depends on the year and on bilinear up-sampling."""

    def __init__(self, ins=3, outs=2, width=64, *, bilinear=False, year=2022):
        super().__init__()
        self.names = {"inc": "double_conv", "down": "maxpool_conv.1.double_conv", "up": "conv.double_conv"}
        if year < 2019:
            self.names = {"inc": "conv.conv", "down": "mpconv.1.conv", "up": "conv.conv"}
        self.bilinear, old = bilinear, year < 2020
        w = [width * 2**i for i in range(5)]
        w[4] //= 2 if bilinear or old else 1
        self.inc = self.place("inc", twice(ins, w[0], bias=year < 2022))
        for i in range(1, 5):
            self.add_module(f"down{i}", self.place("down", twice(w[i - 1], w[i], bias=year < 2022)))
        below = w[4]
        for i in range(1, 5):
            skip = w[4 - i]
            after = max(width, skip // 2) if bilinear or old else skip
            between = (skip + below) // 2 if bilinear and not old else None
            up = below if bilinear or old else skip
            block = self.place("up", twice(skip + up, after, between=between, bias=year < 2022))
            if not bilinear:
                block.add_module("up", nn.ConvTranspose2d(below, up, 2, 2))
            self.add_module(f"up{i}", block)
            below = after
        self.outc = Under(conv=nn.Conv2d(width, outs, 1))

    def place(self, part, block):
        for name in reversed(self.names[part].split(".")):
            block = nn.Sequential(nn.MaxPool2d(2), block) if name == "1" else block
            block = block if name == "1" else Under(**{name: block})
        return block

    def forward(self, x):
        skips = [self.get_submodule(f"inc.{self.names['inc']}")(x)]
        for i in range(1, 5):
            skips.append(self.get_submodule(f"down{i}.{self.names['down']}")(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for i in range(1, 5):
            skip = skips.pop()
            if self.bilinear:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            else:
                x = self.get_submodule(f"up{i}.up")(x)
            y, z = (skip.shape[axis] - x.shape[axis] for axis in (2, 3))
            x = F.pad(x, [z // 2, z - z // 2, y // 2, y - y // 2])
            x = self.get_submodule(f"up{i}.{self.names['up']}")(torch.cat((skip, x), 1))
        return self.outc.conv(x)
