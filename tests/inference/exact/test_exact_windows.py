"""Windows and strips equal one forward pass over the whole image, for every network that allows it."""

import pytest
import torch
from exact_cases import CASES, GLOBAL_CASES, VARIANT_CASES, Reader, at, make_image, make_network, some_windows

from napari_unet.inference.exact.executor import compute
from napari_unet.inference.exact.folding import channels_last, fold
from napari_unet.inference.exact.memory import strip_bytes, weight_bytes
from napari_unet.inference.exact.packing import PackedConvolution, pack
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.exact.tracing import NotLocalError, trace
from napari_unet.networks.registry import variants

# In double precision rounding cannot hide a pixel that is missing.
SHARP = 1e-11
# In single precision, of the range of the logits.
BOUND = 1e-5

each_network = pytest.mark.parametrize(("variant", "options"), CASES.values(), ids=CASES)


def test_every_variant_is_tested():
    assert set(variants()) == set(VARIANT_CASES) | set(GLOBAL_CASES)


@pytest.mark.parametrize(("variant", "options"), GLOBAL_CASES.items(), ids=GLOBAL_CASES)
def test_networks_that_see_the_whole_image_say_so(variant, options):
    with torch.device("meta"):
        network = make_network_of_any_size(variant, options)
    assert not network.local
    with pytest.raises(NotLocalError, match="whole image"):
        trace(network, (64,) * network.dims)


def make_network_of_any_size(variant, options):
    from napari_unet.networks.registry import build_network

    return build_network(variant, in_channels=1, out_channels=2, **options).eval()


@each_network
def test_windows_and_strips_equal_the_whole_image(variant, options):
    network = make_network(variant, options)
    image = make_image(network)
    with torch.inference_mode():
        whole = network.on_grid(image)
    graph = trace(network, image.shape[2:])
    tolerance = SHARP * float(whole.std())
    for window in some_windows(graph.size, seed=variant):
        reader = Reader(image)
        found = compute(graph, reader, window)
        assert (found - at(whole, window)).abs().max() < tolerance
        assert reader.windows == [graph.demand(window)[0]]
    for window in some_windows(graph.size, seed=variant, count=2):
        found = [logits for _, logits in stream(graph, Reader(image), rows=7, axis=1, window=window)]
        assert (torch.cat(found, dim=3) - at(whole, window)).abs().max() < tolerance
    for axis in range(network.dims):
        seen = torch.zeros(image.shape[2:], dtype=torch.int)
        reader, filled = Reader(image), torch.full_like(whole, torch.nan)
        for window, logits in stream(fold(graph), reader, rows=8 + 5 * axis, axis=axis):
            at(filled, window).copy_(logits)
        for window in reader.windows:
            at(seen, window).add_(1)
        assert (filled - whole).abs().max() < tolerance
        assert seen.max() == 1


@each_network
def test_single_precision_changes_no_clear_label(variant, options):
    network = make_network(variant, options, torch.float32)
    image = make_image(network, dtype=torch.float32)
    with torch.inference_mode():
        whole = network.on_grid(image)
    graph = prepare(network, image.shape[2:], torch.device("cpu"))
    bound = BOUND * float(whole.max() - whole.min())
    filled = torch.full_like(whole, torch.nan)
    for window, logits in stream(graph, Reader(image), rows=16):
        at(filled, window).copy_(logits)
    assert (filled - whole).abs().max() < bound
    first, second = whole.topk(2, dim=1).values.unbind(1)
    clear = first - second > 2 * bound
    assert torch.equal(filled.argmax(1)[clear], whole.argmax(1)[clear])


def test_columns_of_blocks_cover_a_wide_image():
    network = make_network("unet", {"width": 4, "depth": 2})
    image = make_image(network, (30, 150))
    with torch.inference_mode():
        whole = network.on_grid(image)
    graph = trace(network, image.shape[2:])
    filled = torch.full_like(whole, torch.nan)
    windows = []
    for window, logits in stream(graph, Reader(image), rows=16, axis=0, columns=(30, 64)):
        at(filled, window).copy_(logits)
        windows.append(window)
    assert {window[1] for window in windows} == {(0, 64), (64, 128), (128, 150)}
    assert (filled - whole).abs().max() < SHARP * whole.std()


def test_several_images_at_once():
    network = make_network("unet-slim-3x", {"width": 4, "depth": 2})
    images = make_image(network).repeat(3, 1, 1, 1) * torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    graph = trace(network, images.shape[2:])
    with torch.inference_mode():
        whole = network.on_grid(images)
    assert (compute(graph, Reader(images), graph.everything) - whole).abs().max() < SHARP * whole.std()
    filled = torch.cat([logits for _, logits in stream(graph, Reader(images), rows=16, axis=0)], dim=2)
    assert (filled - whole).abs().max() < SHARP * whole.std()


def test_packed_weights_change_nothing():
    network = make_network("unet", {"width": 32, "depth": 2}, torch.float32)
    image = make_image(network, dtype=torch.float32)
    graph = channels_last(fold(trace(network, image.shape[2:])))
    packed = pack(graph)
    assert any(isinstance(node.operation, PackedConvolution) for node in packed.nodes)
    plain = compute(graph, Reader(image), graph.everything)
    for window, logits in stream(packed, Reader(image), rows=16):
        assert torch.allclose(logits, at(plain, window), atol=BOUND * float(plain.max() - plain.min()))
    assert weight_bytes(graph) < weight_bytes(packed) <= 2 * weight_bytes(graph)  # both orders are in memory
    assert strip_bytes(packed, 16) == strip_bytes(graph, 16)


@pytest.mark.parametrize("name", ["unet", "corners kept, padded", "attention-unet", "unet-strided"])
def test_half_precision_changes_little(name):
    network = make_network(*CASES[name], torch.float32)
    image = make_image(network, dtype=torch.float32)
    with torch.inference_mode():
        whole = network.on_grid(image)
    graph = prepare(network, image.shape[2:], torch.device("cpu"), torch.bfloat16)
    for window, logits in stream(graph, Reader(image.bfloat16()), rows=16):
        assert logits.dtype == torch.bfloat16
        assert (logits.float() - at(whole, window)).abs().mean() < 0.1 * whole.std()
