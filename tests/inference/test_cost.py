"""What a network costs is counted, not guessed."""

import pytest
import torch

from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.cost import AROUND_BYTES, count_operations, estimate_cost, peak_bytes
from napari_unet.inference.engines.ladder import Ladder
from napari_unet.inference.exact.intervals import whole
from napari_unet.inference.exact.memory import weight_bytes
from napari_unet.networks.registry import build_network, network_spec
from napari_unet.weights.model import new_model


def on_meta(variant="unet", **options):
    with torch.device("meta"):
        return build_network(variant, **options).eval()


def test_operations_of_one_convolution_are_known():
    network = on_meta(depth=0, width=4, convs=1, norm="none")
    first, head = 2 * 9 * 1 * 4, 2 * 4 * 2
    assert count_operations(network, (32, 48)) == (first + head) * 32 * 48


def test_memory_of_a_tiny_network_is_known():
    network = on_meta(depth=0, width=4, convs=1, norm="none")
    pixels, weights = 64 * 64, sum(p.numel() for p in network.parameters())
    # the image, four features and two logits are alive at once
    assert peak_bytes(network, (64, 64)) == 4 * (weights + pixels * (1 + 4 + 2))


def test_memory_grows_with_the_image_and_the_width():
    small, wide = on_meta(width=4), on_meta(width=16)
    assert peak_bytes(small, (256, 256)) > 3 * peak_bytes(small, (128, 128))
    assert peak_bytes(wide, (256, 256)) > 3 * peak_bytes(small, (256, 256))


def test_in_strips_nothing_is_computed_twice():
    spec = network_spec("unet", 1, 2, {"width": 4, "depth": 2})
    once = estimate_cost(spec, (1, 1, 512, 256))
    assert once.parameters == sum(p.numel() for p in build_network("unet", width=4, depth=2).parameters())
    assert once.operations == pytest.approx(count_operations(on_meta(width=4, depth=2), (512, 256)))
    assert once.tiles == 4
    assert once.seconds > 0
    stack = estimate_cost(spec, (2, 3, 512, 256))
    assert stack.tiles == 6 * once.tiles
    assert stack.operations == pytest.approx(6 * once.operations)
    longer = estimate_cost(spec, (1, 1, 4096, 256))
    assert longer.memory_bytes < 1.2 * once.memory_bytes


def test_columns_are_counted_with_what_they_share():
    spec = network_spec("unet", 1, 2, {"width": 4, "depth": 2})
    whole, tiled = (estimate_cost(spec, (1, 1, 256, 256), tile=side) for side in (256, 64))
    assert (whole.tiles, tiled.tiles) == (1, 16)
    assert 1.1 * whole.operations < tiled.operations < 1.5 * whole.operations
    assert tiled.memory_bytes < whole.memory_bytes


def test_a_network_that_sees_everything_is_counted_in_windows_that_overlap():
    spec = network_spec("unet", 1, 2, {"width": 4, "depth": 2, "norm": "instance"})
    one, many = (estimate_cost(spec, (1, 1, height, 200)) for height in (256, 640))
    assert (one.tiles, many.tiles) == (1, 4)
    assert many.operations == pytest.approx(4 * one.operations)


@pytest.mark.parametrize("options", [{}, {"norm": "instance"}])
@pytest.mark.parametrize("turns", ["none", "flips"])
@pytest.mark.parametrize("tile", [None, 64])
def test_the_estimate_is_of_the_engine_that_runs(options, turns, tile):
    spec = network_spec("unet", 1, 2, {"width": 4, "depth": 2} | options)
    cost = estimate_cost(spec, (1, 2, 300, 200), "cpu", tile, turns)
    model = new_model("unet", width=4, depth=2, classes=("background", "cell"), **options)
    config = InferenceConfig(tile=tile, turns=turns)
    ladder = Ladder.of(model, (300, 200), torch.device("cpu"), config)
    assert cost.tiles == 2 * len(ladder.engine.pieces(whole((300, 200))))
    if turns == "none" and not options:
        plan = ladder.engine.plan(whole((300, 200)))
        assert cost.memory_bytes == AROUND_BYTES + plan.peak_bytes + weight_bytes(ladder.engine.graph)


def test_volumes_are_counted_as_volumes():
    cost = estimate_cost(network_spec("unet-3d", 1, 2, {"width": 2, "depth": 1}), (1, 16, 64, 64))
    assert cost.operations == pytest.approx(
        count_operations(on_meta("unet-3d", width=2, depth=1), (48, 48, 48)) / 48**3 * 16 * 64 * 64
    )
