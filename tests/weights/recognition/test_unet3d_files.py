"""Weights of pytorch-3dunet and PlantSeg open without hints, or with what lies beside them."""

import pytest
import torch
import yaml
from lively import assert_same, enliven, fingerprint, scramble
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import napari_unet as nu
from napari_unet.errors import UnansweredError

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}
BATCH = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LAYERS = {"r": ("ReLU", nn.ReLU), "l": ("LeakyReLU", lambda: nn.LeakyReLU(0.01)), "e": ("ELU", nn.ELU)}


def single(dims, before, after, order, groups):
    unit = nn.Sequential()
    for place, letter in enumerate(order):
        channels = before if place < order.index("c") else after
        if letter == "c":
            unit.add_module("conv", CONV[dims](before, after, 3, padding=1, bias=not set("gb") & set(order)))
        elif letter == "g":
            unit.add_module("groupnorm", nn.GroupNorm(groups if channels >= groups else 1, channels))
        elif letter == "b":
            unit.add_module("batchnorm", BATCH[dims](channels))
        else:
            unit.add_module(LAYERS[letter][0], LAYERS[letter][1]())
    return unit


def double(dims, before, middle, after, order, groups):
    block = nn.Sequential()
    block.add_module("SingleConv1", single(dims, before, middle, order, groups))
    block.add_module("SingleConv2", single(dims, middle, after, order, groups))
    return block


class Holder(nn.Module):
    """A place in the names of tensors."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Restated(nn.Module):
    """A U-Net with the names and the arithmetic of pytorch-3dunet; logits."""

    def __init__(self, dims, outputs, widths, order="gcr", up="nearest", groups=8, before=1):
        super().__init__()
        self.dims, self.up = dims, up
        self.encoders = nn.ModuleList()
        for width in widths:
            middle = max(width // 2, before)
            self.encoders.append(Holder(basic_module=double(dims, before, middle, width, order, groups)))
            before = width
        self.decoders = nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            joined = below if up.startswith("deconv") else below + width
            level = Holder(basic_module=double(dims, joined, width, width, order, groups))
            if up.startswith("deconv"):
                bias = up == "deconv-old"
                conv = TRANSPOSED[dims](below, width, 3, stride=2, padding=1, bias=bias)
                level.upsampling = Holder(upsample=conv if bias else Holder(conv_transposed=conv))
            self.decoders.append(level)
        self.final_conv = CONV[dims](widths[0], outputs, 1)

    def raised(self, level, x, size):
        if self.up == "deconv":
            return F.interpolate(level.upsampling.upsample.conv_transposed(x), size=size)
        if self.up == "deconv-old":
            return level.upsampling.upsample(x, size)
        return F.interpolate(x, size=size)

    def forward(self, x):
        skips = []
        for number, encoder in enumerate(self.encoders):
            x = encoder.basic_module(POOL[self.dims](x, 2) if number else x)
            skips.append(x)
        skips.pop()
        for level in self.decoders:
            skip = skips.pop()
            x = level.basic_module(torch.cat([skip, self.raised(level, x, skip.shape[2:])], dim=1))
        return self.final_conv(x)


class ChannelExcitation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3, 4))))))[..., None, None, None]


class PixelExcitation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv3d(channels, 1, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x))


class LargerExcitation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.cSE, self.sSE = ChannelExcitation(channels), PixelExcitation(channels)

    def forward(self, x):
        return torch.max(self.cSE(x), self.sSE(x))


class ResidualBlock(nn.Module):
    def __init__(self, dims, before, after, order, excitation=None):
        super().__init__()
        self.conv1 = CONV[dims](before, after, 1) if before != after else nn.Identity()
        self.conv2 = single(dims, after, after, order, 8)
        self.conv3 = single(dims, after, after, "".join(letter for letter in order if letter not in "rel"), 8)
        if excitation:
            self.se_module = excitation(after)
        self.act = nn.LeakyReLU(0.1) if "l" in order else LAYERS[order[-1] if order[-1] in "re" else order[1]][1]()

    def forward(self, x):
        x = self.conv1(x)
        x = self.act(self.conv3(self.conv2(x)) + x)
        return self.se_module(x) if hasattr(self, "se_module") else x


class RestatedResidual(nn.Module):
    """A residual U-Net with the names and the arithmetic of pytorch-3dunet; logits."""

    def __init__(self, dims, outputs, widths, order="gcr", excitation=None, *, old=False):
        super().__init__()
        self.dims, self.old = dims, old
        entering = (1, *widths[:-1])
        pairs = zip(entering, widths, strict=True)
        self.encoders = nn.ModuleList(
            Holder(basic_module=ResidualBlock(dims, *pair, order, excitation)) for pair in pairs
        )
        self.decoders = nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            conv = TRANSPOSED[dims](below, width, 3, stride=2, padding=1, bias=old)
            up = Holder(upsample=conv if old else Holder(conv_transposed=conv))
            block = ResidualBlock(dims, width, width, order, excitation)
            self.decoders.append(Holder(upsampling=up, basic_module=block))
        self.final_conv = CONV[dims](widths[0], outputs, 1)

    def forward(self, x):
        skips = []
        for number, encoder in enumerate(self.encoders):
            x = encoder.basic_module(POOL[self.dims](x, 2) if number else x)
            skips.append(x)
        skips.pop()
        for level in self.decoders:
            skip = skips.pop()
            up = level.upsampling.upsample
            x = up(x, skip.shape[2:]) if self.old else F.interpolate(up.conv_transposed(x), size=skip.shape[2:])
            x = level.basic_module(skip + x)
        return self.final_conv(x)


def save(path, network, images):
    enliven(network, images[0])
    torch.save({"num_epochs": 3, "model_state_dict": network.state_dict(), "best_eval_score": 0.5}, path)
    return path


SIZES = {2: ((32, 32), (27, 41)), 3: ((8, 16, 16), (9, 12, 19))}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("order", ["gcr", "bcr"])
@pytest.mark.parametrize("up", ["nearest", "deconv"])
def test_the_usual_networks_open_without_hints(tmp_path, dims, order, up):
    images = scramble(*SIZES[dims])
    network = Restated(dims, 2, (8, 16, 32), order, up)
    model = nu.load_model(save(tmp_path / "best_checkpoint.pytorch", network, images))
    assert_same(model, network, *images)
    assert model.report.complete
    assert model.activation == "sigmoid"
    assert model.spec.normalization.method == "z-score"
    assert any("layer_order" in line for line in model.report.notes)


def test_transposed_convolutions_of_older_files_give_the_full_size(tmp_path):
    images = scramble((8, 16, 16), (8, 8, 24))
    network = Restated(3, 1, (8, 16, 32), up="deconv-old")
    assert_same(nu.load_model(save(tmp_path / "old.pytorch", network, images)), network, *images)


@pytest.mark.parametrize("order", ["cgr", "crg", "cge", "cbl", "ce"])
def test_other_orders_are_asked_for(tmp_path, order):
    images = scramble((16, 16), (24, 16))
    network = Restated(2, 1, (8, 16), order)
    path = save(tmp_path / "best.pytorch", network, images)
    with pytest.raises(UnansweredError) as asked:
        nu.load_model(path)
    assert order in asked.value.questions[0].values
    assert_same(nu.load_model(path, layer_order=order), network, *images)


def test_other_activations_before_a_norm_can_be_given(tmp_path):
    images = scramble((16, 16), (24, 16))
    network = Restated(2, 1, (8, 16), "gce")
    path = save(tmp_path / "best.pytorch", network, images)
    assert_same(nu.load_model(path, layer_order="gce"), network, *images)
    assert nu.load_model(path).report.answers == {}


def test_groups_that_are_not_eight_are_asked_for(tmp_path):
    images = scramble((16, 16), (24, 16))
    network = Restated(2, 1, (24, 48), groups=4)
    path = save(tmp_path / "best.pytorch", network, images)
    with pytest.raises(UnansweredError, match="num_groups"):
        nu.load_model(path)
    assert_same(nu.load_model(path, num_groups=4), network, *images)


def test_the_configuration_beside_the_file_settles_everything(tmp_path):
    images = scramble((16, 16), (24, 16))
    network = Restated(2, 3, (24, 48), "cge", groups=4)
    raw = [{"name": "RandomFlip"}, {"name": "PercentileNormalizer", "pmin": 2, "pmax": 98}]
    config = {
        "model": {"name": "UNet2D", "layer_order": "cge", "num_groups": 4, "final_sigmoid": False},
        "loaders": {"val": {"transformer": {"raw": raw}}},
    }
    (tmp_path / "config_train.yml").write_text(yaml.safe_dump(config))
    model = nu.load_model(save(tmp_path / "best_checkpoint.pytorch", network, images))
    assert_same(model, network, *images)
    assert model.activation == "softmax"
    assert (model.spec.normalization.low_percentile, model.spec.normalization.high_percentile) == (2, 98)
    assert any("config_train.yml" in note for note in model.report.notes)


def test_a_broken_configuration_is_passed_over(tmp_path):
    images = scramble((16, 16), (24, 16))
    network = Restated(2, 1, (8, 16))
    (tmp_path / "config_train.yml").write_text("model: [unclosed")
    assert_same(nu.load_model(save(tmp_path / "best.pytorch", network, images)), network, *images)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("order", ["gcr", "gcl", "cge", "crg"])
def test_residual_networks_open(tmp_path, dims, order):
    images = scramble(*SIZES[dims])
    network = RestatedResidual(dims, 2, (8, 16, 32), order)
    answers = {} if order == "gcr" else {"layer_order": order}
    model = nu.load_model(save(tmp_path / "best_checkpoint.pytorch", network, images), **answers)
    assert_same(model, network, *images)
    assert model.report.complete


def test_older_residual_networks_open(tmp_path):
    images = scramble((8, 16, 16), (8, 8, 24))
    network = RestatedResidual(3, 2, (8, 16, 32), "gce", old=True)
    assert_same(nu.load_model(save(tmp_path / "old.pytorch", network, images), layer_order="gce"), network, *images)


@pytest.mark.parametrize("excitation", [ChannelExcitation, PixelExcitation, LargerExcitation])
def test_residual_networks_with_squeeze_and_excitation_open(tmp_path, excitation):
    images = scramble(*SIZES[3])
    network = RestatedResidual(3, 2, (8, 16, 32), excitation=excitation)
    model = nu.load_model(save(tmp_path / "best_checkpoint.pytorch", network, images))
    assert_same(model, network, *images)
    assert model.report.complete


def test_names_in_alphabetical_order_hide_where_residual_blocks_normalize(tmp_path):
    images = scramble(*SIZES[2])
    network = enliven(RestatedResidual(2, 1, (8, 16), "gce"), images[0])
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(UnansweredError) as asked:
        nu.load_model(tmp_path / "w.safetensors")
    assert {"gcr", "crg", "cgr"} < set(asked.value.questions[0].values)
    assert_same(nu.load_model(tmp_path / "w.safetensors", layer_order="gce"), network, *images)


@pytest.mark.parametrize(
    ("arguments", "count", "expected"),
    [
        ((3, 1, (64, 128, 256, 512)), 16_318_691, "2f283fe9cfcd011b"),
        ((3, 2, (32, 64, 128, 256)), 4_081_300, "ea110155467fb369"),
        ((2, 2, (32, 64, 128), "bcr"), 328_564, "01bd768d217cedd6"),
        ((2, 2, (32, 64, 128, 256), "gcr", "deconv"), 1_555_380, "d7d2ffa213668d2d"),
    ],
)
def test_names_and_shapes_are_those_of_the_library(arguments, count, expected):
    """Fingerprints of pytorch-3dunet: UNet3D(1, 1), UNet3D(1, 2, f_maps=32), UNet2D of its example, with deconv."""
    with torch.device("meta"):
        network = Restated(*arguments)
    assert sum(tensor.numel() for tensor in network.parameters()) == count
    assert fingerprint(network.state_dict()) == expected


def test_names_and_shapes_of_residual_networks_are_those_of_the_library():
    """Fingerprints of pytorch-3dunet: ResidualUNet3D, ResidualUNet2D and ResidualUNetSE3D (1, 1)."""
    widths = (64, 128, 256, 512, 1024)
    with torch.device("meta"):
        volume, plane = RestatedResidual(3, 1, widths), RestatedResidual(2, 1, widths)
        excited = RestatedResidual(3, 1, widths, excitation=LargerExcitation)
    assert fingerprint(excited.state_dict()) == "9870151520c3df10"
    assert fingerprint(volume.state_dict()) == "0cb4d957e21b02ff"
    assert fingerprint(plane.state_dict()) == "5fd23cb489901cd7"
    assert sum(tensor.numel() for tensor in volume.parameters()) == 113_735_233
