"""UNet++ and its branches."""

import pytest
import torch
from promises import NetworkPromises
from torch.nn import functional as F

from napari_unet.errors import ModelError
from napari_unet.networks.registry import build_network


class TestNested(NetworkPromises):
    variant = "unet++"
    options = {"width": 4, "depth": 2}


class TestNestedLocal(NetworkPromises):
    variant = "unet++"
    options = {"width": 4, "depth": 3, "align_corners": False, "convs": 1}


class TestNestedNearest(NetworkPromises):
    variant = "unet++"
    options = {"width": 4, "depth": 2, "up": "nearest", "norm": "instance"}


class TestNestedDeep(NetworkPromises):
    variant = "unet++-deep"
    options = {"widths": (4, 5, 6, 7), "depth": 3, "align_corners": False}


class TestNestedVolume(NetworkPromises):
    variant = "unet++-deep"
    options = {"width": 4, "depth": 2, "dims": 3}
    dims = 3


@pytest.mark.parametrize(
    ("variant", "channels", "count"),
    [("unet++", (1, 1), 9_162_753), ("unet++-deep", (1, 3), 9_163_116), ("unet++", (3, 1), 9_163_329)],
)
def test_it_has_the_known_number_of_parameters(variant, channels, count):
    with torch.device("meta"):
        network = build_network(variant, *channels)
    assert sum(p.numel() for p in network.parameters()) == count


def deep(branch=None):
    torch.manual_seed(0)
    return build_network("unet++-deep", width=4, depth=4, branch=branch).eval()


def test_the_accurate_mode_is_the_mean_of_all_branches():
    image = torch.randn(1, 1, 37, 50)
    with torch.no_grad():
        branches = [deep(branch)(image) for branch in (1, 2, 3, 4)]
        assert all(torch.equal(a, b) for a, b in zip(branches, deep().branches(image), strict=True))
        torch.testing.assert_close(torch.stack(branches).mean(0), deep()(image))
    assert not torch.allclose(branches[0], branches[3])


@pytest.mark.parametrize(("branch", "computed"), [(1, 3), (2, 6), (3, 10), (4, 15)])
def test_a_branch_computes_no_more_nodes_than_it_needs(branch, computed):
    network, seen = deep(branch), []
    for name, node in network.nodes.items():
        node.register_forward_hook(lambda *_, name=name: seen.append(name))
    network(torch.zeros(1, 1, 32, 32))
    assert len(seen) == len(set(seen)) == computed
    assert f"0_{branch}" in seen
    drawn = [stage.name for stage in network.geometry.outline(1, 2).stages if stage.name.startswith("node")]
    assert sorted(drawn) == sorted(f"node {name.replace('_', '.')}" for name in seen)


def test_all_branches_have_the_same_weights():
    assert deep(2).state_dict().keys() == deep().state_dict().keys()


def test_odd_images_are_joined_as_the_public_code_does():
    """One level: written out with plain functions."""
    torch.manual_seed(0)
    network = build_network("unet++", 1, 1, depth=1, width=3).eval()
    image = torch.randn(1, 1, 9, 12)
    with torch.no_grad():
        top = network.nodes["0_0"](image)
        up = F.interpolate(
            network.nodes["1_0"](F.max_pool2d(top, 2)), scale_factor=2, mode="bilinear", align_corners=True
        )
        joined = torch.cat([top, F.pad(up, [0, 0, 0, 1])], 1)
        wanted = network.heads[0](network.nodes["0_1"](joined))
        assert torch.equal(network(image), wanted)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"branch": 1}, "deep_supervision"),
        ({"branch": 5, "deep_supervision": True}, "branches are 1 to 4"),
        ({"widths": (1, 2)}, "5 widths"),
    ],
)
def test_branches_that_do_not_exist_get_a_sentence(options, words):
    with pytest.raises(ModelError, match=words):
        build_network("unet++", **options)
