"""Weights of torch_em open without hints, but for what its tensors cannot tell."""

import pytest
import torch
from lively import assert_same, enliven, fingerprint, scramble
from torch import nn
from torch.nn import functional as F

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
MODE = {2: "bilinear", 3: "trilinear"}
NORMS = {
    "none": lambda dims, channels: None,
    "instance": lambda dims, channels: (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(channels),
    "tracked": lambda dims, channels: (nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d)(
        channels, affine=True, track_running_stats=True
    ),
    "group": lambda dims, channels: nn.GroupNorm(min(32, channels), channels),
    "batch": lambda dims, channels: (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels),
}


class Block(nn.Module):
    def __init__(self, dims, before, after, norm, kernel):
        super().__init__()
        padding = tuple(side // 2 for side in kernel)
        layers = []
        for channels in (before, after):
            layers += [NORMS[norm](dims, channels), CONV[dims](channels, after, kernel, padding=padding), nn.ReLU()]
        self.block = nn.Sequential(*[layer for layer in layers if layer is not None])

    def forward(self, x):
        return self.block(x)


class Sampler(nn.Module):
    def __init__(self, dims, before, after, factor):
        super().__init__()
        self.conv, self.factor, self.mode = CONV[dims](before, after, 1), factor, MODE[dims]

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=self.factor, mode=self.mode, align_corners=False))


class Part(nn.Module):
    def __init__(self, blocks, samplers=None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        if samplers:
            self.samplers = nn.ModuleList(samplers)


class Restated(nn.Module):
    """A U-Net with the names and the arithmetic of torch_em."""

    def __init__(self, dims, outputs, factors, norm="instance", *, flat_kernels=False, sides=False, width=4):
        super().__init__()
        depth = len(factors)
        widths = [width * 2**level for level in range(depth + 1)]
        # In the library one flat level makes the kernels of all levels flat but for the bottom.
        kernels = [(1, 3, 3) if flat_kernels else (3,) * dims] * depth
        self.pools = [POOL[dims](factor) for factor in factors]
        self.encoder = Part(
            Block(dims, *pair, norm, kernels[i]) for i, pair in enumerate(zip([1, *widths], widths[:-1], strict=False))
        )
        self.base = Block(dims, widths[-2], widths[-1], norm, (3,) * dims)
        up = list(reversed(range(depth)))
        self.decoder = Part(
            [Block(dims, 2 * widths[i], widths[i], norm, kernels[i]) for i in up],
            [Sampler(dims, widths[i + 1], widths[i], tuple(map(float, factors[i]))) for i in up],
        )
        heads = [CONV[dims](widths[i], outputs, 1) for i in up]
        self.out_conv = nn.ModuleList(heads) if sides else heads[-1]

    def forward(self, x):
        skips, outputs = [], []
        for block, pool in zip(self.encoder.blocks, self.pools, strict=True):
            skips.append(block(x))
            x = pool(skips[-1])
        x = self.base(x)
        for block, sampler in zip(self.decoder.blocks, self.decoder.samplers, strict=True):
            x = block(torch.cat([sampler(x), skips.pop()], dim=1))
            outputs.append(x)
        if isinstance(self.out_conv, nn.ModuleList):
            return [head(x) for head, x in zip(self.out_conv, outputs, strict=True)][::-1]
        return self.out_conv(x)


FLAT, EVEN = (1, 2, 2), (2, 2, 2)


def save(path, network, images, **beside):
    enliven(network, images[0])
    torch.save({"model_state": network.state_dict(), **beside} if beside else network.state_dict(), path)
    return path


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize("sides", [False, True])
def test_planes_open_without_hints(tmp_path, norm, sides):
    images = scramble((32, 32), (16, 40))
    network = Restated(2, 2, [(2, 2)] * 3, norm, sides=sides)
    model = nu.load_model(save(tmp_path / "best.pt", network, images))
    assert_same(model, network, *images)
    assert model.report.complete
    assert model.activation == "softmax"
    assert model.spec.normalization.method == "z-score"


@pytest.mark.parametrize("norm", ["instance", "group"])
@pytest.mark.parametrize("factors", [(EVEN, EVEN), (FLAT, EVEN)])
def test_volumes_need_their_scale_factors(tmp_path, norm, factors):
    images = scramble((8, 16, 16), (8, 8, 24))
    network = Restated(3, 1, factors, norm)
    path = save(tmp_path / "volume.pt", network, images)
    with pytest.raises(UnansweredError, match="scale_factors"):
        nu.load_model(path)
    model = nu.load_model(path, scale_factors=[list(factor) for factor in factors])
    assert_same(model, network, *images)
    assert model.activation == "sigmoid"
    with pytest.raises(ModelError, match="scale_factors"):
        nu.load_model(path, scale_factors=((1, 2),))


def test_unusual_scale_factors_can_be_given(tmp_path):
    images = scramble((4, 18, 18), (2, 36, 18))
    factors = ((1, 3, 3), (2, 3, 3))
    network = Restated(3, 1, factors)
    assert_same(nu.load_model(save(tmp_path / "v.pt", network, images), scale_factors=factors), network, *images)


def test_flat_kernels_tell_that_some_level_is_flat(tmp_path):
    images = scramble((8, 16, 16), (4, 16, 24))
    network = Restated(3, 2, [FLAT, EVEN, EVEN], flat_kernels=True)
    path = save(tmp_path / "flat.pt", network, images)
    with pytest.raises(UnansweredError) as asked:
        nu.load_model(path)
    assert (EVEN,) * 3 not in asked.value.questions[0].values
    assert_same(nu.load_model(path, scale_factors=(FLAT, EVEN, EVEN)), network, *images)


def test_a_checkpoint_of_the_trainer_tells_everything(tmp_path):
    images = scramble((4, 16, 16), (6, 16, 24))
    network = Restated(3, 2, [FLAT, FLAT, EVEN])
    said = {"scale_factors": [list(FLAT), list(FLAT), list(EVEN)], "final_activation": "Sigmoid"}
    init = {"model_class": "torch_em.model.unet.AnisotropicUNet", "model_kwargs": said}
    model = nu.load_model(save(tmp_path / "best.pt", network, images, init=init, epoch=3))
    assert_same(model, network, *images)
    assert model.activation == "sigmoid"
    assert "checkpoint" in model.report.activation


def test_a_network_saved_whole_tells_everything(tmp_path):
    images = scramble((4, 16, 16), (6, 16, 24))
    network = enliven(Restated(3, 2, [FLAT, EVEN]), images[0])
    network.init_kwargs = {"scale_factors": [list(FLAT), list(EVEN)], "final_activation": "Softmax"}
    torch.save(network, tmp_path / "whole.pt")
    model = nu.load_model(tmp_path / "whole.pt")
    assert_same(model, network, *images)
    assert model.report.activation.startswith("softmax, as the checkpoint")


@pytest.mark.parametrize(
    ("make", "count", "expected"),
    [
        (lambda: Restated(2, 2, [(2, 2)] * 4, width=32), 7_237_314, "6b8a8ef926c6dfe3"),
        (lambda: Restated(3, 2, [EVEN] * 4, "group", width=32), 21_362_628, "be2a7d552c2b1b09"),
        (lambda: Restated(3, 2, [FLAT, FLAT, EVEN, EVEN], flat_kernels=True, width=32), 14_315_202, "9cff96e401c7f096"),
    ],
)
def test_names_and_shapes_are_those_of_the_library(make, count, expected):
    """Fingerprints of torch_em 0.10.9: UNet2d(1, 2), UNet3d(1, 2, norm="GroupNorm"), AnisotropicUNet(1, 2, ...)."""
    with torch.device("meta"):
        network = make()
    assert sum(tensor.numel() for tensor in network.parameters()) == count
    assert fingerprint(network.state_dict()) == expected
