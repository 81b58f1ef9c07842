"""Attention gates and recurrent blocks."""

import pytest
import torch
from promises import NetworkPromises

from napari_unet.networks.field import receptive_field
from napari_unet.networks.levels import AttentionGate
from napari_unet.networks.options.attention import AttentionOptions
from napari_unet.networks.registry import build_network


class TestAttention(NetworkPromises):
    variant = "attention-unet"
    options = {"width": 4, "depth": 3}


class TestAttentionVolume(NetworkPromises):
    variant = "attention-unet"
    options = {"width": 4, "depth": 2, "dims": 3, "norm": "instance", "activation": "leaky_relu"}
    dims = 3


class TestRecurrent(NetworkPromises):
    variant = "r2-unet"
    options = {"width": 4, "depth": 2}


class TestRecurrentAttention(NetworkPromises):
    variant = "attention-r2-unet"
    options = {"width": 4, "depth": 2, "recurrences": 1}


class TestRecurrentVolume(NetworkPromises):
    variant = "r2-unet"
    options = {"widths": (3, 4), "depth": 1, "dims": 3, "convs": 1}
    dims = 3


PUBLIC_U_NET = {"width": 64, "bias": True, "up": "nearest", "up_kernel": 3, "up_order": "cna"}


@pytest.mark.parametrize(
    ("variant", "options", "count"),
    [
        ("unet", PUBLIC_U_NET, 34_527_041),
        ("attention-unet", {}, 34_878_573),
        ("r2-unet", {}, 39_091_393),
        ("attention-r2-unet", {}, 39_442_925),
    ],
)
def test_they_have_the_known_numbers_of_parameters(variant, options, count):
    with torch.device("meta"):
        network = build_network(variant, 3, 1, **options)
    assert sum(p.numel() for p in network.parameters()) == count


def test_a_gate_only_scales_and_one_weight_serves_all_channels():
    torch.manual_seed(0)
    gate = AttentionGate(4, 2, AttentionOptions(width=4)).eval()
    features, x = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    weights = gate(x, features) / features
    assert 0 < weights.min() < weights.max() < 1
    torch.testing.assert_close(weights, weights[:, :1].expand_as(weights))


def test_each_turn_sees_farther_with_the_same_weights():
    once, thrice = (build_network("r2-unet", width=4, depth=2, recurrences=n) for n in (1, 3))
    thrice.load_state_dict(once.state_dict())
    assert receptive_field(thrice).radius > receptive_field(once).radius


def test_a_recurrent_unit_adds_its_answer_to_its_input():
    torch.manual_seed(0)
    network = build_network("r2-unet", width=4, depth=1, recurrences=2).eval()
    unit = network.encoder[0].units[0]
    x = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        assert torch.equal(unit(x), unit.unit(x + unit.unit(x + unit.unit(x))))


def test_gates_are_drawn():
    outline = build_network("attention-unet", width=4, depth=3).geometry.outline(1, 2)
    gates = [stage for stage in outline.stages if stage.kind == "gate"]
    assert len(gates) == 3
    assert all(sum(link.end == gate.name for link in outline.links) == 2 for gate in gates)
