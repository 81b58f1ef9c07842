"""More public U-Nets of PyTorch, restated as in `restatements`."""

import torch
from restatements import Under, twice
from torch import nn
from torch.nn import functional as F


def node(before, after, between=None):
    """What UNet++ has at each place."""
    first, norm, _, second, last, _ = twice(before, after, between=between)
    return nn.ModuleDict({"conv1": first, "bn1": norm, "conv2": second, "bn2": last})


def compute(block, x):
    for number in "12":
        x = F.relu(block[f"bn{number}"](block[f"conv{number}"](x)))
    return x


def enlarged(x, like, corners):
    """Bilinear up-sampling; what is lacking at odd sizes is filled with zeros."""
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=corners)
    y, z = (like.shape[axis] - x.shape[axis] for axis in (2, 3))
    return F.pad(x, [z // 2, z - z // 2, y // 2, y - y // 2])


class Nested(nn.Module):
    """UNet++: with deep supervision it gives a list."""

    def __init__(self, ins=1, outs=1, width=32, *, deep=False, corners=True):
        super().__init__()
        self.deep, self.corners = deep, corners
        w = [width * 2**i for i in range(5)]
        for j in range(5):
            for i in range(5 - j):
                before = j * w[i] + w[i + 1] if j else (ins, *w)[i]
                self.add_module(f"conv{i}_{j}", node(before, w[i]))
        for name in [f"final{j}" for j in range(1, 5)] if deep else ["final"]:
            self.add_module(name, nn.Conv2d(width, outs, 1))

    def forward(self, x):
        found = {}
        for i in range(5):
            found[i, 0] = compute(self.get_submodule(f"conv{i}_0"), F.max_pool2d(found[i - 1, 0], 2) if i else x)
            for j in range(1, i + 1):
                row = i - j
                before = [found[row, k] for k in range(j)]
                up = enlarged(found[row + 1, j - 1], before[0], self.corners)
                found[row, j] = compute(self.get_submodule(f"conv{row}_{j}"), torch.cat([*before, up], 1))
        if self.deep:
            return [self.get_submodule(f"final{j}")(found[0, j]) for j in range(1, 5)]
        return self.final(found[0, 4])


class BesideNested(nn.Module):
    """The U-Net with the names of UNet++: the rim of its triangle."""

    def __init__(self, ins=3, outs=1, width=32, corners=True):
        super().__init__()
        self.corners = corners
        w = [width * 2**i for i in range(5)]
        for i in range(5):
            self.add_module(f"conv{i}_0", node((ins, *w)[i], w[i]))
        for i in range(4):
            self.add_module(f"conv{i}_{4 - i}", node(w[i] + w[i + 1], w[i]))
        self.final = nn.Conv2d(width, outs, 1)

    def forward(self, x):
        skips = []
        for i in range(5):
            x = compute(self.get_submodule(f"conv{i}_0"), F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for i in (3, 2, 1, 0):
            up = enlarged(x, skips[i], self.corners)
            x = compute(self.get_submodule(f"conv{i}_{4 - i}"), torch.cat([skips[i], up], 1))
        return self.final(x)


class Hub(nn.Module):
    """The decoder comes first in each join, a sigmoid at the end."""

    def __init__(self, ins=3, outs=1, width=32):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        for i in range(4):
            self.add_module(f"encoder{i + 1}", self.block((ins, *w)[i], w[i], f"enc{i + 1}"))
            self.add_module(f"upconv{i + 1}", nn.ConvTranspose2d(w[i + 1], w[i], 2, 2))
            self.add_module(f"decoder{i + 1}", self.block(w[i + 1], w[i], f"dec{i + 1}"))
        self.bottleneck = self.block(w[3], w[4], "bottleneck")
        self.conv = nn.Conv2d(width, outs, 1)

    @staticmethod
    def block(before, after, name):
        named = nn.Sequential()
        layers = ("conv1", "norm1", "relu1", "conv2", "norm2", "relu2")
        for layer, module in zip(layers, twice(before, after, bias=False), strict=True):
            named.add_module(name + layer, module)
        return named

    def forward(self, x):
        skips = []
        for i in range(1, 5):
            skips.append(self.get_submodule(f"encoder{i}")(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottleneck(x)
        for i in (4, 3, 2, 1):
            x = self.get_submodule(f"decoder{i}")(torch.cat((self.get_submodule(f"upconv{i}")(x), skips.pop()), 1))
        return torch.sigmoid(self.conv(x))


class Recurrent(nn.Module):
    """A 1-pixel convolution, twice a convolution that sees its own output again, and a sum."""

    def __init__(self, before, after, turns):
        super().__init__()
        self.turns = turns
        self.RCNN = nn.Sequential(*(Under(conv=twice(after, after)[:3]) for _ in range(2)))
        self.Conv_1x1 = nn.Conv2d(before, after, 1)

    def forward(self, x):
        start = x = self.Conv_1x1(x)
        for unit in self.RCNN:
            seen = unit.conv(x)
            for _ in range(self.turns):
                seen = unit.conv(x + seen)
            x = seen
        return start + x


class Gate(nn.Module):
    """How much of the encoder's features passes."""

    def __init__(self, width):
        super().__init__()
        inner = width // 2
        self.W_g = nn.Sequential(nn.Conv2d(width, inner, 1), nn.BatchNorm2d(inner))
        self.W_x = nn.Sequential(nn.Conv2d(width, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, decoder, encoder):
        return encoder * self.psi(F.relu(self.W_g(decoder) + self.W_x(encoder)))


class Plain(Under):
    def forward(self, x):
        return self.conv(x)


class Gated(nn.Module):
    """U_Net, AttU_Net, R2U_Net and R2AttU_Net."""

    def __init__(self, ins=3, outs=1, width=64, *, gated=False, turns=0):
        super().__init__()
        self.encoder, self.decoder = ("RRCNN", "Up_RRCNN") if turns else ("Conv", "Up_conv")
        w = [width * 2**i for i in range(5)]
        for i in range(5):
            self.add_module(f"{self.encoder}{i + 1}", self.block((ins, *w)[i], w[i], turns))
        for i in (5, 4, 3, 2):
            up = nn.Sequential(nn.Upsample(scale_factor=2), *twice(w[i - 1], w[i - 2])[:3])
            self.add_module(f"Up{i}", Under(up=up))
            if gated:
                self.add_module(f"Att{i}", Gate(w[i - 2]))
            self.add_module(f"{self.decoder}{i}", self.block(w[i - 1], w[i - 2], turns))
        self.gated = gated
        self.Conv_1x1 = nn.Conv2d(width, outs, 1)

    @staticmethod
    def block(before, after, turns):
        return Recurrent(before, after, turns) if turns else Plain(conv=twice(before, after))

    def forward(self, x):
        skips = []
        for i in range(1, 6):
            x = self.get_submodule(f"{self.encoder}{i}")(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for i in (5, 4, 3, 2):
            x, skip = self.get_submodule(f"Up{i}.up")(x), skips.pop()
            skip = self.get_submodule(f"Att{i}")(x, skip) if self.gated else skip
            x = self.get_submodule(f"{self.decoder}{i}")(torch.cat((skip, x), 1))
        return self.Conv_1x1(x)
