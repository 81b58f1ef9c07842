"""How far a network looks and what it needs, from its graph, against measurements."""

import pytest
import torch
from exact_cases import CASES, make_network

from napari_unet.inference.exact.folding import fold
from napari_unet.inference.exact.intervals import Interval, whole
from napari_unet.inference.exact.memory import strip_bytes, weight_bytes, window_bytes
from napari_unet.inference.exact.planning import plan_strips
from napari_unet.inference.exact.reach import reach
from napari_unet.inference.exact.tracing import trace
from napari_unet.networks.field import receptive_field

MEASURED = ["unet", "unet-valid", "unet-bilinear", "unet-slim", "unet-strided", "unet3+", "unet-3d", "convnext-unet",
            "residual-unet", "even kernel", "vgg16-unet"]  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_reach_is_what_the_gradient_says(name):
    network = make_network(*CASES[name])
    measured = receptive_field(network)
    assert {(along.stride, along.radius, along.regular) for along in reach(network)} == {
        (measured.stride, measured.radius, True)
    }


def test_reach_where_corners_are_kept_depends_on_the_place():
    along, _ = reach(make_network(*CASES["corners kept, padded"]))
    assert not along.regular
    assert along.radius > receptive_field(make_network("unet", {"width": 4, "depth": 3})).radius


def test_axes_that_are_reduced_less_reach_less_far():
    depth, height, width = reach(make_network(*CASES["uneven volume"]))
    assert depth.stride == 2
    assert height == width
    assert height.stride == 4
    assert depth.radius < height.radius


def test_memory_of_strips_does_not_grow_with_their_number():
    network = make_network("unet", {"width": 4, "depth": 3}, torch.float32)
    short, long = (fold(trace(network, (rows, 128))) for rows in (512, 2048))
    assert strip_bytes(short, 32, axis=0) == strip_bytes(long, 32, axis=0)
    assert 3 * strip_bytes(short, 32, axis=0) < window_bytes(short, whole((512, 128)))
    small = (Interval(64, 128), Interval(32, 64))
    assert 3 * window_bytes(short, small) < window_bytes(short, whole((512, 128)))


def test_memory_of_weights():
    network = make_network("unet-plain", {"width": 4, "depth": 2}, torch.float32)
    assert weight_bytes(trace(network, (32, 32))) == 4 * sum(x.numel() for x in network.parameters())


def test_strips_are_planned_within_a_budget():
    network = make_network("unet", {"width": 4, "depth": 2}, torch.float32)
    graph = fold(trace(network, (4096, 2048)))
    plans = [plan_strips(graph, budget, graph.everything, (128, 64, 32)) for budget in (10**9, 3 * 10**6, 1)]
    assert plans[0].rows == 128
    assert plans[0].columns == (4096, 2048)
    assert all(plan.peak_bytes <= budget for plan, budget in zip(plans, (10**9, 3 * 10**6), strict=False))
    assert plans[1].columns[1] < 2048
    assert plans[2].peak_bytes < plans[1].peak_bytes
