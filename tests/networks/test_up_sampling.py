"""Ways to raise the resolution beyond the usual ones."""

import pytest
import torch
from torch.nn import functional as F

from napari_unet.errors import ModelError
from napari_unet.networks.field import receptive_field
from napari_unet.networks.registry import build_network

THIN = {"widths": (2, 4), "depth": 1, "norm": "none", "decoder": ((2,),), "encoder": ((2,), (4,))}


@pytest.mark.parametrize("side", [12, 13])
def test_a_three_pixel_transposed_convolution_is_resized_to_the_nearest(side):
    network = build_network("unet", up="transpose3", fit="resize", up_bias=False, **THIN).eval()
    level = network.decoder[0]
    below, skip = torch.randn((1, 4, side // 2, side // 2)), torch.randn((1, 2, side, side))
    raised = F.conv_transpose2d(below, level.up.conv.weight, stride=2, padding=1)
    joined = torch.cat([skip, F.interpolate(raised, size=(side, side))], dim=1)
    assert torch.allclose(level(below, skip), level.block(joined), atol=1e-6)


def test_a_three_pixel_transposed_convolution_doubles_where_sizes_are_multiples():
    network = build_network("unet-3d", up="transpose3", **THIN).eval()
    below, skip = torch.randn((1, 4, 3, 4, 5)), torch.randn((1, 2, 6, 8, 10))
    level = network.decoder[0]
    raised = F.conv_transpose3d(below, level.up.conv.weight, level.up.conv.bias, stride=2, padding=1, output_padding=1)
    assert torch.allclose(level(below, skip), level.block(torch.cat([skip, raised], dim=1)), atol=1e-6)


def test_nearest_up_sampling_takes_any_size():
    network = build_network("unet", up="nearest", up_kernel=0, fit="resize", **THIN).eval()
    level = network.decoder[0]
    below, skip = torch.randn((1, 4, 6, 7)), torch.randn((1, 2, 13, 15))
    joined = torch.cat([skip, F.interpolate(below, size=(13, 15))], dim=1)
    assert torch.allclose(level(below, skip), level.block(joined), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"up": "transpose3"}, {"up": "transpose3", "fit": "resize"}, {"up": "transpose3", "fit": "cut"}]
)
def test_wider_transposed_convolutions_see_further(options):
    wide, usual = (receptive_field(build_network("unet", width=2, depth=2, **o)) for o in (options, {}))
    assert wide.local
    assert wide.radius > usual.radius


def test_few_channels_are_groups_of_their_own():
    own = build_network("unet", width=4, depth=1, norm="group", groups=32, own_groups=True)
    assert own.encoder[1][0].norm.num_groups == 8
    assert build_network("unet", width=4, depth=1, norm="group", groups=32).encoder[1][0].norm.num_groups == 1


def test_an_axis_that_is_reduced_less_is_padded_less():
    network = build_network("unet-3d", width=2, depth=2, factors=((1, 2, 2), (2, 2, 2)), norm="none").eval()
    assert network.stride == 4
    assert [network.geometry.fitting_along(axis, 5) for axis in range(3)] == [6, 8, 8]
    image = torch.randn((1, 1, 6, 8, 12))
    assert torch.equal(network.on_grid(image), network(image))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernels": ((3, 3), (3, 3, 3))}, "2 sides"),
        ({"factors": ((2,),)}, "2 sides"),
        ({"kernels": ((2, 3), (3, 3))}, "odd"),
        ({"norm": "group", "order": "nca", "widths": (8, 12), "groups": 8}, "groups"),
        (
            {"norm": "group", "order": "nca", "width": 8, "groups": 16, "up": "nearest", "up_kernel": 0},
            "24 channels cannot",
        ),
    ],
)
def test_impossible_sides_and_groups_get_a_sentence(options, words):
    with pytest.raises(ModelError, match=words):
        build_network("unet", **{"depth": 1, **options})


@pytest.mark.parametrize("up", ["nearest", "transpose3"])
def test_tiles_of_networks_that_resize_to_the_nearest_are_exact(up):
    network = build_network("unet-3dunet", dims=2, width=2, depth=2, norm="batch", bias=True, up=up).eval()
    halo, image = receptive_field(network).halo, torch.randn((1, 1, 96, 100))
    whole = network.on_grid(image)
    tile = network.on_grid(image[..., 40 - halo : 56 + halo, 44 - halo : 64 + halo])
    assert torch.allclose(tile[..., halo:-halo, halo:-halo], whole[..., 40:56, 44:64], atol=1e-5)
