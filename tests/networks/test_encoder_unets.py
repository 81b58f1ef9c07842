"""U-Nets and UNet++ with encoders known from image classification."""

import pytest
import torch
from promises import NetworkPromises

from napari_unet.errors import ModelError
from napari_unet.networks.encoders.mobile import same_padding
from napari_unet.networks.encoders.plans import ENCODERS
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network, network_spec, resolve_options


class TestResNet18(NetworkPromises):
    variant = "resnet18-unet"
    options = {"width": 6, "depth": 3}


class TestResNet34(NetworkPromises):
    variant = "resnet34-unet"
    options = {"width": 4, "depth": 3, "up": "linear"}


class TestResNet50(NetworkPromises):
    variant = "resnet50-unet"
    options = {"width": 4, "depth": 3}


class TestGroupsAndExcitation(NetworkPromises):
    variant = "encoder-unet"
    options = {"encoder": "se_resnext50_32x4d", "width": 4, "depth": 3}


class TestVGG16(NetworkPromises):
    variant = "vgg16-unet"
    options = {"width": 4, "depth": 3}


class TestEfficientNet(NetworkPromises):
    variant = "efficientnet-b0-unet"
    options = {"width": 8, "depth": 3}


class TestEfficientNetWithoutExcitation(NetworkPromises):
    variant = "efficientnet-b0-unet"
    options = {"width": 8, "depth": 4, "excitation": False}


class TestMobileNet(NetworkPromises):
    variant = "mobilenet-v2-unet"
    options = {"width": 8, "depth": 3}


class TestDenseNet(NetworkPromises):
    variant = "densenet121-unet"
    options = {"width": 4, "depth": 3}


class TestNestedResNet(NetworkPromises):
    variant = "resnet34-unet++"
    options = {"width": 4, "depth": 3}


class TestNestedEfficientNet(NetworkPromises):
    variant = "efficientnet-b0-unet++"
    options = {"width": 8, "depth": 3}


class TestPlainDecoder(NetworkPromises):
    variant = "encoder-unet"
    options = {"encoder": "vgg11", "width": 4, "depth": 3, "norm": "none"}


class TestAttention(NetworkPromises):
    variant = "encoder-unet++"
    options = {"encoder": "resnet18", "width": 32, "depth": 3, "attention": True, "decoder_channels": (64, 64, 64)}


@pytest.mark.parametrize(
    ("encoder", "plain", "nested"),
    [
        ("resnet18", 14_328_209, 15_970_449),
        ("resnet34", 24_436_369, 26_078_609),
        ("resnet50", 32_521_105, 48_985_745),
        ("vgg16_bn", 23_756_689, 34_635_153),
        ("mobilenet_v2", 6_628_945, 6_824_721),
        ("densenet121", 13_607_633, 30_072_273),
    ],
)
def test_published_encoders_have_their_numbers_of_parameters(encoder, plain, nested):
    """Those that segmentation-models-pytorch counts, without what it never uses."""
    for variant, count in (("encoder-unet", plain), ("encoder-unet++", nested)):
        with torch.device("meta"):
            network = build_network(variant, 3, 1, encoder=encoder)
        assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("encoder", ENCODERS)
def test_outlines_show_the_features_of_every_encoder(encoder):
    for variant, depth in (("encoder-unet", 3), ("encoder-unet++", 5)):
        options = resolve_options(network_spec(variant, 1, 2, {"encoder": encoder, "depth": depth}))
        stages = {stage.name: stage for stage in options.outline(1, 2).stages}
        assert len(options.plan.features) == len(options.plan.convs) == 6 - options.plan.top
        assert stages[f"encoder {depth}"].channels == options.plan.features[depth - options.plan.top]


@pytest.mark.parametrize("encoder", ["resnet18", "se_resnet50", "vgg11", "mobilenet_v2"])
def test_a_thin_encoder_sees_as_far_and_counts_its_convolutions(encoder):
    network = build_network("encoder-unet", 1, 2, encoder=encoder, width=2)
    convs = [m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(convs) <= sum(network.options.plan.convs)
    assert receptive_field(network).radius == receptive_field(build_network("encoder-unet", encoder=encoder)).radius


def test_a_plain_unet_takes_any_size():
    network = build_network("resnet18-unet", 1, 2, width=2).eval()
    assert network(torch.zeros((1, 1, 67, 101))).shape == (1, 2, 67, 101)


def test_squeeze_and_excitation_is_not_local():
    assert not receptive_field(build_network("efficientnet-b0-unet", width=2)).local
    assert receptive_field(build_network("efficientnet-b0-unet", width=2, excitation=False)).local
    assert not receptive_field(build_network("resnet18-unet", width=2, attention=True)).local


def test_padding_is_that_of_tensorflow():
    assert same_padding(3, 2, 224) == ((0, 1), 112)
    assert same_padding(3, 1, 112) == ((1, 1), 112)
    assert same_padding(3, 2, 65) == ((1, 1), 33)
    assert same_padding(5, 2, 0) == ((2, 2), 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "resnet35"}, "no encoder resnet35.*resnet34"),
        ({"decoder_channels": (8, 4)}, "decoder_channels"),
        ({"depth": 6}, "depth"),
        ({"dims": 3}, "planes"),
    ],
)
def test_bad_options_get_a_sentence(options, words):
    with pytest.raises(ModelError, match=words):
        resolve_options(network_spec("encoder-unet", 1, 2, options))
