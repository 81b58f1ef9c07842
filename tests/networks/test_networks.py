"""The U-Net family, and what all variants have in common."""

import pytest
import torch
from promises import NetworkPromises

from napari_unet.errors import ModelError
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network, network_spec, resolve_options, variants


class TestTransposed(NetworkPromises):
    pass


class TestLinear(NetworkPromises):
    options = {"width": 4, "depth": 2, "up": "linear", "activation": "leaky_relu", "convs": 1}


class TestNearestAdd(NetworkPromises):
    options = {"width": 4, "depth": 3, "up": "nearest", "skip": "add", "norm": "none", "activation": "elu"}


class TestStridedNoSkip(NetworkPromises):
    options = {"width": 4, "depth": 2, "down": "conv", "skip": "none", "activation": "silu", "head_kernel": 3}


class TestAverageWide(NetworkPromises):
    options = {"widths": (3, 5, 7), "depth": 2, "down": "average", "kernel": 5, "activation": "gelu"}


class TestInstanceNorm(NetworkPromises):
    options = {"width": 4, "depth": 2, "norm": "instance", "dropout": 0.2}


class TestGroupNorm(NetworkPromises):
    options = {"width": 8, "depth": 1, "norm": "group", "groups": 4}


class TestNoDepth(NetworkPromises):
    options = {"width": 4, "depth": 0}


class TestVolume(NetworkPromises):
    variant = "unet-3d"
    options = {"width": 4, "depth": 2}
    dims = 3


class TestVolumeLinear(NetworkPromises):
    variant = "unet-3d"
    options = {"width": 4, "depth": 2, "up": "linear", "norm": "instance"}
    dims = 3


@pytest.mark.parametrize(
    ("options", "radius"),
    [({"depth": 4}, 94), ({"depth": 4, "up": "linear"}, 110), ({"depth": 2}, 22), ({"depth": 3, "up": "linear"}, 54)],
)
def test_radius_is_what_others_measured(options, radius):
    assert receptive_field(build_network("unet", width=4, **options)).radius == radius


def test_norms_that_see_everything_are_not_local():
    assert not receptive_field(build_network("unet", width=8, depth=1, norm="instance")).local
    assert receptive_field(build_network("unet", width=8, depth=1)).local


def test_the_radius_does_not_depend_on_the_width():
    assert receptive_field(build_network("unet", width=64)) == receptive_field(build_network("unet", width=3))
    assert receptive_field(build_network("unet-3d", depth=4)).radius == 94


def test_no_channels_get_a_sentence():
    with pytest.raises(ModelError, match="at least one channel"):
        build_network("unet", in_channels=0)
    with pytest.raises(ModelError, match="widths"):
        build_network("unet", widths=(0, 4), depth=1)


@pytest.mark.parametrize("name", variants())
def test_all_variants_build(name):
    with torch.device("meta"):
        assert build_network(name).out_channels == 2
    thin = resolve_options(network_spec(name, 1, 2, {})).thin()
    network = build_network(name, **thin.model_dump()).eval()
    assert network.on_grid(torch.zeros((1, 1, *(16,) * network.dims))).shape[1] == 2


@pytest.mark.parametrize(
    ("variant", "channels", "options", "count"),
    [
        ("unet-valid", (1, 2), {}, 31_030_658),
        ("unet-plain", (3, 10), {}, 31_032_330),
        ("unet-keras", (1, 1), {}, 7_759_521),
        ("unet-slim", (3, 6), {}, 7_759_782),
        ("unet-slim-3x", (3, 3), {}, 7_760_475),
        ("unet-batchnorm", (3, 10), {}, 31_044_106),
        ("unet-batchnorm-crop", (3, 10), {}, 31_044_106),
        ("unet-bilinear", (1, 1), {}, 34_518_081),
        ("unet-bilinear", (1, 1), {"up": "transpose"}, 31_036_481),
        ("unet-strided", (3, 3), {}, 32_090_627),
    ],
)
def test_known_networks_have_their_known_numbers_of_parameters(variant, channels, options, count):
    with torch.device("meta"):
        network = build_network(variant, *channels, **options)
    assert sum(p.numel() for p in network.parameters()) == count


def test_unpadded_networks_lose_what_the_paper_says():
    network = build_network("unet-valid", width=1).eval()
    assert network(torch.zeros((1, 1, 572, 572))).shape[2:] == (388, 388)
    assert network.geometry.margin == 92
    assert network.on_grid(torch.zeros((1, 1, 37, 200))).shape[2:] == (37, 200)
    padded = build_network("unet-batchnorm-pad", width=1).eval()
    assert padded(torch.zeros((1, 1, 572, 572))).shape[2:] == (564, 564)


@pytest.mark.parametrize(
    ("variant", "options", "words"),
    [
        ("vnet", {}, "no variant"),
        ("unet", {"dept": 3}, "dept"),
        ("unet", {"kernel": 4}, "odd"),
        ("unet", {"widths": (1, 2)}, "widths"),
        ("unet", {"norm": "group", "groups": 7}, "groups"),
    ],
)
def test_bad_options_get_a_sentence(variant, options, words):
    with pytest.raises(ModelError, match=words):
        build_network(variant, **options)
