"""UNet 3+."""

import pytest
import torch
from promises import NetworkPromises
from torch.nn import functional as F

from napari_unet.networks.registry import build_network


class TestFullScale(NetworkPromises):
    variant = "unet3+"
    options = {"width": 4, "depth": 3}


class TestFullScaleNearest(NetworkPromises):
    variant = "unet3+"
    options = {"widths": (4, 6, 8), "depth": 2, "up": "nearest", "skip_width": 3, "head_kernel": 1}


class TestFullScaleAligned(NetworkPromises):
    variant = "unet3+"
    options = {"width": 4, "depth": 2, "align_corners": True}


class TestFullScaleVolume(NetworkPromises):
    variant = "unet3+"
    options = {"width": 4, "depth": 2, "dims": 3}
    dims = 3


def test_it_has_the_number_of_parameters_of_the_paper():
    with torch.device("meta"):
        network = build_network("unet3+", 3, 1)
    assert network.geometry.decoder_width == 320
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == pytest.approx(26.97, abs=0.02)


def test_every_level_of_the_decoder_sees_every_scale():
    """Two levels, written out with plain functions."""
    torch.manual_seed(0)
    network = build_network("unet3+", 1, 1, width=3, depth=2).eval()
    image = torch.randn(1, 1, 16, 24)

    def up(x, factor):
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    with torch.no_grad():
        e0 = network.encoder[0](image)
        e1 = network.encoder[1](F.max_pool2d(e0, 2))
        e2 = network.encoder[2](F.max_pool2d(e1, 2))
        one, zero = network.decoder
        d1 = [take(x) for take, x in zip(one.take, (F.max_pool2d(e0, 2), e1, up(e2, 2)), strict=True)]
        d1 = one.merge(torch.cat(d1, 1))
        d0 = [take(x) for take, x in zip(zero.take, (e0, up(d1, 2), up(e2, 4)), strict=True)]
        assert torch.equal(network(image), network.head(zero.merge(torch.cat(d0, 1))))
