"""Weights of segmentation-models-pytorch open without hints."""

import json

import pytest
import torch
from encoder_restatements import VGG, EfficientNet, MobileNet, ResNet, Smp
from lively import assert_same, enliven, fingerprint, scramble
from safetensors.torch import save_file

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.networks.encoders.making import make_encoder
from napari_unet.networks.encoders.plans import ENCODERS
from napari_unet.networks.registry import network_spec, resolve_options
from napari_unet.weights.recognition.encoder_names import STYLES, encoder_pairs, find_encoder
from napari_unet.weights.recognition.encoder_unets import ORIGINS
from napari_unet.weights.recognition.recognised import Reading

# Channels of small decoders.
SMALL = (64, 48, 32, 24, 16)

# A network; the fingerprint of the library's own state dict; what opening says.
CASES = {
    "resnet18": (
        lambda: Smp(ResNet(3, (2, 2, 2, 2), bottleneck=False), SMALL),
        "af1da59b8b8cc4cf", "resnet18-unet", {"decoder_channels": SMALL},
    ),
    "resnet50": (
        lambda: Smp(ResNet(1, (3, 4, 6, 3), bottleneck=True), SMALL[:3], 3),
        "a72f9521c4ee5bf6", "resnet50-unet", {"depth": 3, "decoder_channels": SMALL[:3]},
    ),
    "resnext50_32x4d": (
        lambda: Smp(ResNet(1, (3, 4, 6, 3), 128, 32, bottleneck=True), SMALL[:3], 3),
        "b6abc49b29278c71", "encoder-unet",
        {"encoder": "resnext50_32x4d", "depth": 3, "decoder_channels": SMALL[:3]},
    ),
    "vgg11_bn, scSE": (
        lambda: Smp(VGG(3, (1, 1, 2, 2, 2), normalized=True), SMALL[:4], attention=True),
        "ca1e2ff085f699dc", "encoder-unet",
        {"encoder": "vgg11_bn", "depth": 4, "decoder_channels": SMALL[:4], "attention": True},
    ),
    "mobilenet_v2, not normalized": (
        lambda: Smp(MobileNet(2), SMALL, normalized=False),
        "be68e00f61ba3cdd", "mobilenet-v2-unet", {"decoder_channels": SMALL, "norm": "none"},
    ),
    "efficientnet-b0": (
        lambda: Smp(EfficientNet(3), SMALL), "7e7f70070c5ab7f4", "efficientnet-b0-unet", {"decoder_channels": SMALL},
    ),
    "resnet34, nested": (
        lambda: Smp(ResNet(3, (3, 4, 6, 3), bottleneck=False), SMALL[:4], nested=True),
        "e9756cc13fc27e6a", "resnet34-unet++", {"depth": 4, "decoder_channels": SMALL[:4]},
    ),
    "vgg13, nested, scSE": (
        lambda: Smp(VGG(3, (2, 2, 2, 2, 2), normalized=False), SMALL[:3], nested=True, attention=True),
        "e537aff2f0f6c8ef", "encoder-unet++",
        {"encoder": "vgg13", "depth": 3, "decoder_channels": SMALL[:3], "attention": True},
    ),
    "efficientnet-b0, nested": (
        lambda: Smp(EfficientNet(1), SMALL, nested=True),
        "d94a274357d527dc", "efficientnet-b0-unet++", {"decoder_channels": SMALL},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_give_what_their_author_saw(case, tmp_path):
    make, known, variant, options = CASES[case]
    network = make()
    channels = next(p.shape[1] for p in network.parameters())
    network = enliven(network, *scramble((64, 96), channels=channels))
    assert fingerprint(network.state_dict()) == known
    torch.save(network.state_dict(), tmp_path / "best_model.pth")
    model = nu.load_model(tmp_path / "best_model.pth")
    assert (model.spec.network.variant, model.spec.network.options) == (variant, options)
    assert model.spec.network.in_channels == channels
    assert_same(model, network, *scramble((64, 64), (32, 96), channels=channels))


def small(channels=3, classes=1, **options):
    network = Smp(ResNet(channels, (2, 2, 2, 2), bottleneck=False), SMALL, classes, **options)
    return enliven(network, *scramble((64, 64), channels=channels))


def test_odd_sizes_are_resized_to_the_skips(tmp_path):
    """As in the library since it takes any size: features of 5 pixels become 9, not 10."""
    network = small()
    torch.save(network.state_dict(), tmp_path / "model.pth")
    image = scramble((67, 101), channels=3)[0]
    features = network.encoder(image)[::-1]
    with torch.no_grad():
        x = features[0]
        for level, side in zip(network.decoder.blocks, [*features[1:], image], strict=True):
            x = torch.nn.functional.interpolate(x, size=side.shape[2:])
            x = level.conv2(level.conv1(x if side is image else torch.cat([x, side], dim=1)))
        theirs = network.segmentation_head(x)
        assert torch.allclose(nu.load_model(tmp_path / "model.pth").network(image), theirs, atol=1e-4)


def test_lightning_and_classification_heads_are_seen_through(tmp_path):
    network = small(classes=4)
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    state["model.classification_head.3.weight"], state["model.classification_head.3.bias"] = (
        torch.ones(2, 512),
        torch.ones(2),
    )
    torch.save({"state_dict": state, "epoch": 3, "pytorch-lightning_version": "2.4"}, tmp_path / "last.ckpt")
    model = nu.load_model(tmp_path / "last.ckpt")
    assert model.activation == "softmax"
    assert model.report.unused == 2
    assert_same(model, network, *scramble((64, 64), channels=3))


def test_saved_folders_say_their_activation_and_interpolation(tmp_path):
    network = small(channels=1, classes=2)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"activation": "sigmoid", "decoder_interpolation": "bilinear", "encoder_name": "resnet18"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = nu.load_model(tmp_path)
    assert model.activation == "sigmoid"
    assert model.spec.network.options == {"decoder_channels": SMALL, "up": "linear"}


def test_another_interpolation_can_be_asked_for(tmp_path):
    torch.save(small(channels=1).state_dict(), tmp_path / "model.pth")
    asked = nu.load_model(tmp_path / "model.pth", interpolation="linear")
    assert asked.spec.network.options["up"] == "linear"
    with pytest.raises(ModelError, match="padding"):
        nu.load_model(tmp_path / "model.pth", padding="even")


def test_padding_of_old_efficientnets_can_be_asked_for():
    """Those published for sides that become odd padded them as if they were even, before they were corrected."""
    shapes = {key: tuple(tensor.shape) for key, tensor in published("efficientnet-b1").items()}
    shapes |= {f"decoder.blocks.{n}.conv{u}.0.weight": (8, 8, 3, 3) for n in range(3) for u in (1, 2)}
    shapes |= {f"decoder.blocks.{n}.conv{u}.0.bias": (8,) for n in range(3) for u in (1, 2)}
    shapes["segmentation_head.0.weight"] = (1, 8, 3, 3)
    recognise = ORIGINS[0].recognise
    assert [q.keyword for q in recognise(Reading(shapes)).questions] == ["interpolation", "padding"]
    assert recognise(Reading(shapes, answers={"padding": "even"})).network.options["padding"] == "even"


def test_old_efficientnets_pad_otherwise():
    """A stride of 2 on 15 pixels needs two zeros before, one on 16."""
    pads = {}
    for padding in ("exact", "even"):
        options = resolve_options(
            network_spec("encoder-unet", 1, 1, {"encoder": "efficientnet-b1", "padding": padding})
        )
        blocks = make_encoder(1, options.plan, 5).modules()
        pads[padding] = [module.padding for module in blocks if isinstance(module, torch.nn.ZeroPad2d)]
    assert len(pads["exact"]) == 4
    assert len(pads["even"]) == 5


def test_colours_are_normalized_as_for_imagenet(tmp_path):
    torch.save(small().state_dict(), tmp_path / "model.pth")
    torch.save(small(channels=1).state_dict(), tmp_path / "grey.pth")
    model = nu.load_model(tmp_path / "model.pth")
    assert model.spec.normalization.method == "fixed"
    assert [round(low / 255, 3) for low in model.spec.normalization.low] == [0.485, 0.456, 0.406]
    assert "ImageNet" in " ".join(model.report.notes)
    assert nu.load_model(tmp_path / "grey.pth").spec.normalization.method == "percentile"


def test_unknown_encoders_are_named_in_the_refusal(tmp_path):
    state = {name: tensor for name, tensor in small().state_dict().items() if "layer2.1" not in name}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"segmentation-models-pytorch.*its encoder is none of resnet18"):
        nu.load_model(tmp_path / "model.pth")


# Names and shapes, and parameters, of the library's own encoders for three channels.
PUBLISHED = {
    "resnet18": ("64daa0c4477f13e7", 11_176_512),
    "resnet34": ("bb09abde63ed0647", 21_284_672),
    "resnet50": ("54939cb972d3df3a", 23_508_032),
    "resnet101": ("b99d144aa4bc187b", 42_500_160),
    "resnet152": ("bb7b011c5679b8a9", 58_143_808),
    "resnext50_32x4d": ("19f7aaf1c0b9e66d", 22_979_904),
    "resnext101_32x4d": ("caf9357acdb65699", 42_128_704),
    "resnext101_32x8d": ("8ebb5f093d023975", 86_742_336),
    "resnext101_32x16d": ("57241f40c020cdf6", 191_977_792),
    "resnext101_32x32d": ("47d14ce275c6520c", 466_481_472),
    "resnext101_32x48d": ("67f4e2209a062982", 826_362_176),
    "se_resnet50": ("8c6ba7808076a5da", 26_039_024),
    "se_resnet101": ("a0ba1e97da08151b", 47_277_872),
    "se_resnet152": ("8271d137991551ba", 64_772_848),
    "se_resnext50_32x4d": ("37728a5beb8fcb2f", 25_510_896),
    "se_resnext101_32x4d": ("b45a0e3678fa684c", 46_906_416),
    "vgg11": ("245309d44c5c7467", 9_220_480),
    "vgg13": ("4ca3040293431936", 9_404_992),
    "vgg16": ("ab3ce95fc54ea84e", 14_714_688),
    "vgg19": ("df1623be1d4d2f53", 20_024_384),
    "vgg11_bn": ("8260fc64dac200bb", 9_225_984),
    "vgg13_bn": ("3402a35f7414a35b", 9_410_880),
    "vgg16_bn": ("67b360b8b052bd67", 14_723_136),
    "vgg19_bn": ("848475f502c73d86", 20_035_392),
    "mobilenet_v2": ("03a506313f98c66b", 2_223_872),
    "efficientnet-b0": ("fa63ca86720c7075", 4_007_548),
    "efficientnet-b1": ("7c6f676ca15dc2c6", 6_513_184),
    "efficientnet-b2": ("02b841b1611e0e8d", 7_700_994),
    "efficientnet-b3": ("038cc51ce1ba7a81", 10_696_232),
    "efficientnet-b4": ("eef46882fd5f0f05", 17_548_616),
    "efficientnet-b5": ("2a2b55e51729498a", 28_340_784),
    "efficientnet-b6": ("36668499c48ee301", 40_735_704),
    "efficientnet-b7": ("5c9e7e3d49280ab1", 63_786_960),
    "timm-efficientnet-b0": ("6eb98b9466536c31", 4_007_548),
    "timm-efficientnet-b1": ("5ad4ee686f79b78f", 6_513_184),
    "timm-efficientnet-b2": ("1ece4da8459294c7", 7_700_994),
    "timm-efficientnet-b3": ("bb68c80faeedb7f9", 10_696_232),
    "timm-efficientnet-b4": ("f445597f17efdfb5", 17_548_616),
    "timm-efficientnet-b5": ("cd29092637986104", 28_340_784),
    "timm-efficientnet-b6": ("3f86c0bbb30f45a0", 40_735_704),
    "timm-efficientnet-b7": ("1d7c294e10a8de12", 63_786_960),
    "timm-efficientnet-b8": ("32028f19d783f0b9", 84_596_142),
    "timm-tf_efficientnet_lite0": ("94d9f1883dcd8693", 3_371_008),
    "timm-tf_efficientnet_lite1": ("3001820e2250f3f9", 4_135_680),
    "timm-tf_efficientnet_lite2": ("941fb1e351f96542", 4_811_072),
    "timm-tf_efficientnet_lite3": ("1adb39bb6fd83e28", 6_916_096),
    "timm-tf_efficientnet_lite4": ("849b6822a62559f9", 11_725_568),
    "densenet121": ("dd5ffd549419aed4", 6_953_856),
    "densenet161": ("958e824a8298aa22", 26_472_000),
    "densenet169": ("085e6cfff398d40c", 12_484_480),
    "densenet201": ("906c679889124753", 18_092_928),
}


def published(name):
    """Names and shapes of an encoder's state dict, from our mapping and what it leaves out."""
    style = next(style for style in STYLES if name in style.encoders)
    with torch.device("meta"):
        ours = make_encoder(3, ENCODERS[name], 5).state_dict()
    theirs = dict(encoder_pairs(style, ENCODERS[name], 5)[0])
    state = {}
    for key, tensor in ours.items():
        module, leaf = key.rsplit(".", 1)
        state[f"{theirs[f'encoder.{module}']}.{leaf}"] = tensor
    if "efficientnet" in name:
        conv, norm = ("conv_head", "bn2") if name.startswith("timm") else ("_conv_head", "_bn1")
        last = ENCODERS[name].features[-1]
        head = 1280 if "lite" in name else 4 * last
        state[f"encoder.{conv}.weight"] = torch.empty((head, last, 1, 1), device="meta")
        for leaf, value in torch.nn.BatchNorm2d(head, device="meta").state_dict().items():
            state[f"encoder.{norm}.{leaf}"] = value
    return state


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_the_published_names_and_shapes(name):
    state = published(name)
    counted = [
        t for key, t in state.items() if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    ]
    assert (fingerprint(state), sum(t.numel() for t in counted)) == PUBLISHED[name]
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert find_encoder(Reading(shapes))[0] == name


def test_timm_encoders_without_their_unused_levels_are_told():
    """Where timm builds an encoder (tu-resnet50) of depth 4, the last level is not in the file."""
    shapes = {
        key.replace("encoder.", "encoder.model."): tuple(tensor.shape)
        for key, tensor in published("resnet50").items()
        if "layer4" not in key
    }
    assert find_encoder(Reading(shapes))[0] == "resnet50"
