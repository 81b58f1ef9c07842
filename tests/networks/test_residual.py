"""Residual U-Nets."""

import subprocess
import sys

import pytest
import torch
from promises import NetworkPromises
from torch.nn import functional as F

from napari_unet.errors import ModelError
from napari_unet.networks.registry import build_network


class TestResidual(NetworkPromises):
    variant = "residual-unet"
    options = {"width": 4, "depth": 2}


class TestResidualVolume(NetworkPromises):
    variant = "residual-unet-3d"
    options = {"width": 4, "depth": 2}
    dims = 3


class TestSumJoined(NetworkPromises):
    variant = "residual-unet-3dunet"
    options = {"dims": 2, "width": 4, "depth": 2, "norm": "batch"}


class TestSumJoinedVolume(NetworkPromises):
    variant = "residual-unet-3dunet"
    options = {"width": 4, "depth": 2, "groups": 2, "activation": "elu", "order": "cna"}
    dims = 3


class TestResidualEncoder(NetworkPromises):
    variant = "residual-unet-nnunet"
    options = {
        "dims": 2, "depth": 2, "widths": (4, 6, 8), "stem": 3, "blocks": (1, 2, 1), "norm": "batch",
        "decoder_blocks": (1, 2),
    }  # fmt: skip


class TestAnisotropic(NetworkPromises):
    variant = "residual-unet-nnunet"
    options = {
        "depth": 2, "widths": (4, 6, 8), "stem": 4, "blocks": (1, 1, 1), "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        "factors": ((1, 2, 2), (2, 2, 2)), "decoder_blocks": (1, 1),
    }  # fmt: skip
    dims = 3


class TestExcited(NetworkPromises):
    variant = "residual-unet-3dunet"
    options = {"width": 4, "depth": 1, "groups": 2, "squeeze": "both"}
    dims = 3


class TestExcitedPixels(NetworkPromises):
    variant = "residual-unet"
    options = {"width": 4, "depth": 2, "squeeze": "spatial"}


@pytest.mark.parametrize(
    ("variant", "channels", "options", "count"),
    [
        ("residual-unet-3dunet", (1, 1), {}, 113_735_233),
        ("residual-unet-3dunet", (1, 2), {"dims": 2}, 38_385_282),
        ("residual-unet-3dunet", (1, 1), {"squeeze": "both"}, 117_233_866),
    ],
)
def test_they_have_the_numbers_of_parameters_of_the_public_code(variant, channels, options, count):
    with torch.device("meta"):
        network = build_network(variant, *channels, **options)
    assert sum(p.numel() for p in network.parameters()) == count


def test_the_residual_encoder_has_the_number_of_parameters_of_the_public_code():
    """The public code also makes a head for each level of the decoder but the top one."""
    with torch.device("meta"):
        network = build_network("residual-unet-nnunet", 1, 2)
    other_heads = sum(2 * width + 2 for width in (64, 128, 256, 320))
    assert sum(p.numel() for p in network.parameters()) == 102_349_770 - other_heads


def test_without_projections_it_has_the_parameters_that_the_paper_counts():
    with torch.device("meta"):
        network = build_network("residual-unet", 3, 1)
    count = sum(p.numel() for name, p in network.named_parameters() if ".shortcut." not in name)
    assert round(count / 1e6, 1) == 7.8


def test_a_block_is_added_to_what_enters_it():
    torch.manual_seed(0)
    block = build_network("residual-unet", width=4, depth=1).eval().encoder[1][0]
    x = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        first, second = block.units
        y = first.conv(F.relu(first.norm(x)))
        y = second.conv(F.relu(second.norm(y)))
        beside = F.conv2d(x, block.shortcut[0].conv.weight, block.shortcut[0].conv.bias, stride=2)
        assert torch.allclose(block(x.clone()), y + beside, atol=1e-6)
    assert y.shape[2:] == (4, 4)


@pytest.mark.parametrize("size", [(8, 12), (10, 13)])
def test_sums_are_joined_as_the_public_code_does_at_any_size(size):
    """Up-sampling gives 2n - 1 pixels, of which some are repeated."""
    torch.manual_seed(0)
    network = build_network("residual-unet-3dunet", dims=2, width=4, depth=1, norm="none").eval()
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        top = network.encoder[0](image)
        bottom = network.encoder[1](F.max_pool2d(top, 2))
        up = network.decoder[0].up
        enlarged = F.conv_transpose2d(bottom, up.weight, stride=2, padding=1)
        assert enlarged.shape[2:] == tuple(n // 2 * 2 - 1 for n in size)
        joined = top + F.interpolate(enlarged, size=size)
        assert torch.equal(network(image), network.head(network.decoder[0].block(joined)))


def test_channels_are_weighed_by_the_whole_image_and_pixels_by_themselves():
    torch.manual_seed(0)
    blocks = {
        squeeze: build_network("residual-unet", width=4, depth=1, squeeze=squeeze).encoder[0][0].excite
        for squeeze in ("channel", "spatial", "both")
    }
    blocks["both"].load_state_dict({**blocks["channel"].state_dict(), **blocks["spatial"].state_dict()})
    x = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        channels, pixels, both = (blocks[squeeze](x) for squeeze in ("channel", "spatial", "both"))
        weights = channels / x
        torch.testing.assert_close(weights, weights[..., :1, :1].expand_as(weights))
        weights = pixels / x
        torch.testing.assert_close(weights, weights[:, :1].expand_as(weights))
    assert torch.equal(both, torch.maximum(channels, pixels))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"skip": "add"}, "brings the channels"),
        ({"blocks": (1, 2)}, "4 blocks"),
        ({"kernels": ((2, 2),) * 4}, "odd"),
        ({"factors": ((2,),) * 3}, "2 sides"),
        ({"start": "cx"}, "order"),
    ],
)
def test_options_that_do_not_fit_get_a_sentence(options, words):
    with pytest.raises(ModelError, match=words):
        build_network("residual-unet", **options)


LEARNING = """
import torch
from napari_unet.networks.registry import build_network
torch.set_num_threads(2)
network = build_network("residual-unet", 1, 3, width=4, depth=1).to(memory_format=torch.channels_last)
for _ in range(20):
    image = torch.randn((8, 1, 128, 128)).to(memory_format=torch.channels_last)
    network(image).mean().backward()
    kept = [torch.randn(1000) for _ in range(50)]  # stumbles over memory that is damaged
"""


def test_thin_networks_learn_with_channels_last():
    ran = subprocess.run([sys.executable, "-c", LEARNING], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
