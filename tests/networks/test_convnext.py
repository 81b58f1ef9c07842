"""U-Nets of ConvNeXt blocks."""

import pytest
import torch
from promises import NetworkPromises

from napari_unet.errors import ModelError
from napari_unet.networks.convnext import ChannelNorm
from napari_unet.networks.registry import build_network


class TestConvNext(NetworkPromises):
    variant = "convnext-unet"
    options = {"width": 6, "depth": 2}


class TestConvNextMoreBlocks(NetworkPromises):
    variant = "convnext-unet"
    options = {"widths": (4, 6), "depth": 1, "kernel": 5, "blocks": (1, 3), "decoder_blocks": (2,), "expansion": 2}


class TestConvNextVolume(NetworkPromises):
    variant = "convnext-unet-3d"
    options = {"width": 4, "depth": 1, "kernel": 3}
    dims = 3


def test_normalization_is_over_the_channels_of_each_pixel():
    torch.manual_seed(0)
    norm, x = ChannelNorm(8), torch.randn(2, 8, 4, 4)
    whole = norm(x)
    assert torch.allclose(whole.mean(1), torch.zeros(2, 4, 4), atol=1e-6)
    changed = x.clone()
    changed[..., 1:, :] = 7
    assert torch.equal(norm(changed)[..., 0, :], whole[..., 0, :])


def test_it_does_not_depend_on_the_rest_of_the_batch_in_training():
    torch.manual_seed(0)
    network = build_network("convnext-unet", width=4, depth=1).train()
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_a_block_begins_close_to_the_identity():
    torch.manual_seed(0)
    network = build_network("convnext-unet", width=8, depth=1, layer_scale=1e-6)
    x = torch.randn(1, 8, 16, 16)
    torch.testing.assert_close(network.encoder[0](x), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"), [({"kernel": 6}, "odd"), ({"blocks": (1, 1)}, "5 blocks"), ({"decoder_blocks": ()}, "4")]
)
def test_options_that_do_not_fit_get_a_sentence(options, words):
    with pytest.raises(ModelError, match=words):
        build_network("convnext-unet", **options)
