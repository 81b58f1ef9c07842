"""Networks that MONAI builds."""

import json
import sys

import pytest
import torch
from promises import NetworkPromises

from napari_unet.errors import ModelError
from napari_unet.networks.registry import build_network, network_spec, resolve_options

pytest.importorskip("monai")


class TestMonaiUNet(NetworkPromises):
    variant = "monai-unet"
    options = {"arguments": {"channels": (3, 4, 5), "strides": (2, 2), "num_res_units": 1, "norm": "batch"}}


class TestMonaiBasic(NetworkPromises):
    variant = "monai-basic-unet"
    options = {"arguments": {"features": (4,) * 6, "norm": "batch"}}


class TestMonaiNested(NetworkPromises):
    variant = "monai-basic-unet++"
    options = {"arguments": {"features": (4,) * 6}}
    idle = ("network.final_conv_0_1", "network.final_conv_0_2", "network.final_conv_0_3")


class TestMonaiAttention(NetworkPromises):
    variant = "monai-attention-unet"
    options = {"arguments": {"channels": (4, 6, 8), "strides": (2, 2)}}


class TestMonaiDynVolume(NetworkPromises):
    variant = "monai-dynunet"
    options = {
        "dims": 3,
        "arguments": {
            "kernel_size": ((1, 3, 3), 3, 3),
            "strides": (1, (1, 2, 2), 2),
            "upsample_kernel_size": ((1, 2, 2), 2),
            "filters": (4, 4, 4),
            "norm_name": ("BATCH", {}),
            "res_block": True,
        },
    }
    dims = 3


def test_lists_from_json_describe_the_same_network():
    arguments = {"channels": (4, 8), "strides": (2,), "act": ("leakyrelu", {"negative_slope": 0.2})}
    written = resolve_options(network_spec("monai-unet", 1, 2, {"arguments": arguments}))
    read = resolve_options(network_spec("monai-unet", 1, 2, {"arguments": json.loads(json.dumps(arguments))}))
    assert written == read
    assert hash(written) == hash(read)


@pytest.mark.parametrize(
    ("variant", "arguments", "stride", "local"),
    [
        ("monai-unet", None, 16, True),
        ("monai-unet", {"channels": (4, 8, 16), "strides": (2, 4)}, 8, False),
        ("monai-basic-unet", {}, 16, False),
        ("monai-basic-unet", {"norm": ("batch", {}), "upsample": "nontrainable"}, 16, False),
        ("monai-attention-unet", None, 16, False),
        ("monai-dynunet", None, 16, False),
    ],
)
def test_geometry_follows_from_the_arguments(variant, arguments, stride, local):
    given = {} if arguments is None else {"arguments": arguments}
    options = resolve_options(network_spec(variant, 1, 2, given))
    assert (options.stride, options.local) == (stride, local)


@pytest.mark.parametrize(
    ("variant", "arguments", "words"),
    [
        ("monai-unet", {"strides": (2, 2)}, "needs the arguments channels"),
        ("monai-unet", {"channels": (4, 8), "strides": (2,), "in_channels": 3}, "not in_channels"),
        ("monai-unet", {"channels": (4, 8, 8), "strides": (2,)}, "one fewer"),
        ("monai-unet", {"channels": "many", "strides": (2,)}, "list of positive numbers"),
        ("monai-unet", {"channels": (4, 8), "strides": ((2, 2, 2),)}, "one number or 2"),
        ("monai-unet", {"channels": (4, 8), "strides": (2,), "norm": "nonsense"}, "MONAI could not build UNet"),
        (
            "monai-dynunet",
            {"kernel_size": (3, 3, 3), "strides": (2, 2, 2), "upsample_kernel_size": (2, 2)},
            "first stride",
        ),
    ],
)
def test_arguments_that_do_not_fit_get_a_sentence(variant, arguments, words):
    with pytest.raises(ModelError, match=words):
        build_network(variant, arguments=arguments)


def test_a_class_that_is_not_listed_is_not_built():
    with pytest.raises(ModelError, match="network"):
        build_network("monai-unet", network="FullyConnectedNet")


def test_without_monai_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(ModelError, match=r'pip install "napari-unet\[monai\]"'):
        build_network("monai-basic-unet")


def test_deep_supervision_trains_and_gives_the_logits_at_full_depth():
    arguments = {
        "kernel_size": (3, 3, 3, 3),
        "strides": (1, 2, 2, 2),
        "upsample_kernel_size": (2, 2, 2),
        "filters": (4, 4, 4, 4),
        "deep_supervision": True,
    }
    network = build_network("monai-dynunet", 1, 2, arguments=arguments)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 2, 16, 16)
    assert network.eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 2, 16, 16)
