"""Graphs with other numbers than float32, and on other devices than the CPU."""

import pytest
import torch
from exact_cases import CASES, at, make_image, make_network
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from napari_unet.inference.exact.intervals import size_of
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream

CPU, META = torch.device("cpu"), torch.device("meta")
COPIES = ("_to_copy", "copy_")


def half(case, dtype):
    """Compare half precision with one float32 forward pass: the error in units of rounding, on average."""
    network = make_network(*CASES[case], torch.float32)
    image = make_image(network, dtype=torch.float32)
    with torch.inference_mode():
        expected = network.on_grid(image)
    graph, square = prepare(network, image.shape[2:], CPU, dtype), 0.0
    for window, logits in stream(graph, lambda window: at(image, window).to(dtype), rows=8):
        assert logits.dtype == dtype
        square += float((logits.float() - at(expected, window)).square().sum())
    return (square / expected.numel()) ** 0.5 / float(expected.std()) / torch.finfo(dtype).eps


# Together they have every kind of layer; the others are left to the slow tests.
QUICK = {
    "unet", "unet-3d", "unet-keras", "unet-strided", "attention-unet", "residual-unet-3d", "unet3+", "convnext-unet",
    "mobilenet-v2-unet", "densenet121-unet", "corners kept, resized", "average over odd sides", "uneven volume",
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow) for c in CASES])
def test_float16_differs_by_rounding_only(case):
    assert 0.1 < half(case, torch.float16) < 8


@pytest.mark.parametrize("case", ["unet", "corners kept, resized", "convnext-unet-3d"])
def test_bfloat16_differs_by_rounding_only(case):
    assert 0.1 < half(case, torch.bfloat16) < 8


class OneDevice(TorchDispatchMode):
    """Refuses functions of tensors on two devices, but for those that copy from one to the other."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        devices = {x.device.type for x in tensors}
        assert len(devices) < 2 or function.overloadpacket.__name__ in COPIES, function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
def test_all_is_computed_on_the_device_of_the_image(case):
    network = make_network(*CASES[case], torch.float32)
    size = make_image(network).shape[2:]
    graph = prepare(network, size, META, torch.float16)
    with OneDevice():
        strips = list(
            stream(graph, lambda w: torch.empty((1, 2, *size_of(w)), device=META, dtype=torch.float16), rows=8)
        )
    assert all(logits.device == META and logits.dtype == torch.float16 for _, logits in strips)


def test_several_planes_are_computed_together():
    network = make_network(*CASES["unet-small"], torch.float32)
    planes = torch.randn(5, 2, 61, 46, generator=torch.Generator().manual_seed(0))
    graph = prepare(network, (61, 46), CPU)
    with torch.inference_mode():
        expected = network.on_grid(planes)
    for window, logits in stream(graph, lambda window: at(planes, window), rows=16):
        assert torch.allclose(logits, at(expected, window), atol=1e-4)
