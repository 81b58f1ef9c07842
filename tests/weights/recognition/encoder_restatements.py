"""Plain restatements of segmentation-models-pytorch's U-Net and UNet++, by the names of its state dict."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


def norm(channels, eps=1e-5):
    return nn.BatchNorm2d(channels, eps=eps)


class Residual(nn.Module):
    def __init__(self, before, inner, after, stride, groups=1, *, bottleneck):
        super().__init__()
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1, self.bn1 = nn.Conv2d(before, inner, 1, bias=False), norm(inner)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
            self.bn2 = norm(inner)
            self.conv3, self.bn3 = nn.Conv2d(inner, after, 1, bias=False), norm(after)
        else:
            self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), norm(after)
            self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), norm(after)
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

    def forward(self, x):
        direct = self.downsample(x) if hasattr(self, "downsample") else x
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            x = self.bn3(self.conv3(F.relu(x)))
        return F.relu(x + direct)


class ResNet(nn.Module):
    def __init__(self, inputs, counts, inner=64, groups=1, *, bottleneck):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, 64, 7, 2, 3, bias=False), norm(64)
        before, after = 64, 256 if bottleneck else 64
        self.widths = [64]
        for n, count in enumerate(counts):
            blocks = []
            for i in range(count):
                stride = 2 if n and not i else 1
                blocks.append(Residual(before, inner, after, stride, groups, bottleneck=bottleneck))
                before = after
            setattr(self, f"layer{n + 1}", nn.Sequential(*blocks))
            self.widths.append(after)
            inner, after = 2 * inner, 2 * after

    def forward(self, x):
        features = [F.relu(self.bn1(self.conv1(x)))]
        x = F.max_pool2d(features[0], 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class VGG(nn.Module):
    widths = (128, 256, 512, 512, 512)

    def __init__(self, inputs, counts, *, normalized):
        super().__init__()
        layers, before = [], inputs
        for width, count in zip((64, 128, 256, 512, 512), counts, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(before, width, 3, 1, 1))
                layers += [norm(width)] if normalized else []
                layers.append(nn.ReLU())
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        before_pool = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                before_pool.append(x)
            x = layer(x)
        return [*before_pool[1:], x]


class Inverted(nn.Module):
    def __init__(self, before, after, expand, stride):
        super().__init__()
        inside = before * expand
        layers = []
        if expand > 1:
            layers.append(nn.Sequential(nn.Conv2d(before, inside, 1, bias=False), norm(inside), nn.ReLU6()))
        depthwise = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        layers.append(nn.Sequential(depthwise, norm(inside), nn.ReLU6()))
        self.conv = nn.Sequential(*layers, nn.Conv2d(inside, after, 1, bias=False), norm(after))
        self.adds = stride == 1 and before == after

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNet(nn.Module):
    widths = (16, 24, 32, 96, 1280)

    def __init__(self, inputs):
        super().__init__()
        layers = [nn.Sequential(nn.Conv2d(inputs, 32, 3, 2, 1, bias=False), norm(32), nn.ReLU6())]
        before = 32
        table = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for expand, after, count, stride in table:
            for i in range(count):
                layers.append(Inverted(before, after, expand, 1 if i else stride))
                before = after
        layers.append(nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), norm(1280), nn.ReLU6()))
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        features = []
        for n, layer in enumerate(self.features):
            x = layer(x)
            if n in {1, 3, 6, 13, 18}:
                features.append(x)
        return features


class MobileBlock(nn.Module):
    """A block of EfficientNet-B0; its padding is TensorFlow's for 224 pixels, whose halves are all even."""

    def __init__(self, before, after, expand, kernel, stride):
        super().__init__()
        inside = before * expand
        self.expand, self.kernel, self.stride = expand, kernel, stride
        if expand > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(before, inside, 1, bias=False), norm(inside, 1e-3)
        self._depthwise_conv = nn.Conv2d(inside, inside, kernel, stride, groups=inside, bias=False)
        self._bn1 = norm(inside, 1e-3)
        self._se_reduce, self._se_expand = nn.Conv2d(inside, before // 4, 1), nn.Conv2d(before // 4, inside, 1)
        self._project_conv, self._bn2 = nn.Conv2d(inside, after, 1, bias=False), norm(after, 1e-3)
        self.adds = stride == 1 and before == after

    def forward(self, x):
        start = x
        if self.expand > 1:
            x = F.silu(self._bn0(self._expand_conv(x)))
        far = self.kernel // 2
        near = far - 1 if self.stride == 2 else far
        x = F.silu(self._bn1(self._depthwise_conv(F.pad(x, (near, far, near, far)))))
        x = x * torch.sigmoid(self._se_expand(F.silu(self._se_reduce(F.adaptive_avg_pool2d(x, 1)))))
        x = self._bn2(self._project_conv(x))
        return x + start if self.adds else x


class EfficientNet(nn.Module):
    widths = (32, 24, 40, 112, 320)

    def __init__(self, inputs):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(inputs, 32, 3, 2, bias=False), norm(32, 1e-3)
        blocks, before = [], 32
        table = (
            (1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
            (6, 192, 4, 5, 2), (6, 320, 1, 3, 1),
        )  # fmt: skip
        for expand, after, count, kernel, stride in table:
            for i in range(count):
                blocks.append(MobileBlock(before, after, expand, kernel, 1 if i else stride))
                before = after
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), norm(1280, 1e-3)

    def forward(self, x):
        x = F.silu(self._bn0(self._conv_stem(F.pad(x, (0, 1, 0, 1)))))
        features = [x]
        for n, block in enumerate(self._blocks):
            x = block(x)
            if n in {2, 4, 8, 15}:
                features.append(x)
        return features


def conv_relu(before, after, normalized):
    conv = nn.Conv2d(before, after, 3, padding=1, bias=not normalized)
    return nn.Sequential(conv, norm(after) if normalized else nn.Identity(), nn.ReLU())


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.attention = nn.Module()
        squeezed = channels // 16
        self.attention.cSE = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )  # fmt: skip
        self.attention.sSE = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.attention.cSE(x) + x * self.attention.sSE(x)


class Level(nn.Module):
    def __init__(self, below, side, width, attention, normalized):
        super().__init__()
        self.conv1 = conv_relu(below + side, width, normalized)
        self.conv2 = conv_relu(width, width, normalized)
        self.attention1 = Attention(below + side) if attention else nn.Identity()
        self.attention2 = Attention(width) if attention else nn.Identity()

    def forward(self, x, sides):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if sides:
            x = self.attention1(torch.cat([x, *sides], dim=1))
        return self.attention2(self.conv2(self.conv1(x)))


class Smp(nn.Module):
    """A U-Net, or UNet++ where `nested`, around an encoder."""

    def __init__(self, encoder, channels, classes=1, *, nested=False, attention=False, normalized=True):
        super().__init__()
        self.encoder, self.nested, self.depth = encoder, nested, len(channels)
        widths = encoder.widths[: self.depth][::-1]
        self.decoder = nn.Module()
        if isinstance(encoder, VGG):
            units = conv_relu(widths[0], widths[0], normalized), conv_relu(widths[0], widths[0], normalized)
            self.decoder.center = nn.Sequential(*units)
        rest = attention, normalized
        if nested:
            self.decoder.blocks = nn.ModuleDict(self._triangle(widths, channels, rest))
        else:
            below, sides = (widths[0], *channels[:-1]), (*widths[1:], 0)
            levels = (Level(*three, *rest) for three in zip(below, sides, channels, strict=True))
            self.decoder.blocks = nn.ModuleList(levels)
        self.segmentation_head = nn.Sequential(OrderedDict([("0", nn.Conv2d(channels[-1], classes, 3, padding=1))]))

    def _triangle(self, widths, channels, rest):
        for row in range(self.depth - 1):
            side = widths[row + 1]
            for first in range(row + 1):
                if first:
                    below, width = widths[row], side
                else:
                    below, width = (channels[row - 1] if row else widths[0]), channels[row]
                yield f"x_{first}_{row}", Level(below, side * (row - first + 1), width, *rest)
        yield f"x_0_{self.depth - 1}", Level(channels[-2], 0, channels[-1], *rest)

    def forward(self, x):
        features = self.encoder(x)[: self.depth][::-1]
        return self.segmentation_head(self._nested(features) if self.nested else self._plain(features))

    def _plain(self, features):
        x = features[0]
        if isinstance(self.encoder, VGG):
            x = self.decoder.center(x)
        for n, level in enumerate(self.decoder.blocks):
            x = level(x, features[n + 1 : n + 2])
        return x

    def _nested(self, features):
        """Row by row: the nodes of a row see all that were computed in it before."""
        below = list(features)
        for row in range(self.depth - 1):
            seen = [features[row + 1]]
            for first in range(row, -1, -1):
                node = self.decoder.blocks[f"x_{first}_{row}"]
                source = below[first]
                seen.insert(0, node(source, seen))
            below = [*seen[:-1], features[row + 1]]
        return self.decoder.blocks[f"x_0_{self.depth - 1}"](below[0], [])
