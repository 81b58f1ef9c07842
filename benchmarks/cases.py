"""Networks and images that benchmarks share."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import napari_unet as nu
from napari_unet.imaging.samples import open_sample
from napari_unet.inference.cost import count_operations
from napari_unet.networks.base import Network
from napari_unet.networks.blocks import Unit
from napari_unet.networks.registry import build_network

Found = TypeVar("Found")
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Case:
    """A network and an image.

    Attributes
    ----------
    title : str
    variant : str
        Of a network with random weights, or "nuclei" for the bundled model and a real image.
    width : int
        Channels at full resolution.
    size : tuple of int
        ([Z,] Y, X) of the image.
    tile : int
        Side of the peers' windows.
    rows : tuple of int
        Of our strips.
    all : bool
        Whether ways that only serve to compare with ourselves are wanted too.
    """

    title: str
    variant: str
    width: int
    size: tuple[int, ...]
    tile: int
    rows: tuple[int, ...]
    all: bool = True


CASES = (
    Case("2D, 32 channels", "unet", 32, (1024, 1024), 256, (64, 128)),
    Case("2D, 64 channels", "unet", 64, (768, 768), 256, (64, 128)),
    Case("3D, 16 channels", "unet-3d", 16, (96, 128, 128), 64, (8, 16)),
    Case("trained: nuclei", "nuclei", 16, (2040, 2040), 256, (64, 128), all=False),
    Case("large 2D, 32 channels", "unet", 32, (2048, 2048), 256, (64,), all=False),
    Case("large 3D, 8 channels", "unet-3d", 8, (192, 192, 192), 64, (8, 16), all=False),
)
QUICK = (
    Case("2D, 16 channels", "unet", 16, (512, 512), 256, (64, 128)),
    Case("3D, 8 channels", "unet-3d", 8, (48, 64, 64), 32, (8, 16)),
    Case("trained: nuclei", "nuclei", 16, (1000, 1000), 256, (64,), all=False),
)


def make(case: Case) -> tuple[Network, Tensor]:
    """Return the network of a case and its image (1, 1, *size) as the network takes it."""
    if case.variant == "nuclei":
        pixels = real_image(case.size).astype(np.float32)
        low, high = np.percentile(pixels, (1, 99.8))
        return nu.load_model("nuclei").network.eval(), torch.from_numpy(
            (pixels - np.float32(low)) / np.float32(high - low)
        )[None, None]
    torch.manual_seed(0)
    network = build_network(case.variant, 1, 2, width=case.width).eval()
    settle(network)
    return network, torch.randn((1, 1, *case.size))


def real_image(size: tuple[int, ...]) -> np.ndarray:
    """Return the fluorescence sample, mirrored at its edges until it is as large as that."""
    pixels = open_sample("fluorescence").image
    return np.pad(pixels, [(0, max(0, n - m)) for n, m in zip(size, pixels.shape, strict=True)], mode="symmetric")[
        tuple(slice(0, n) for n in size)
    ]


def settle(network: Network) -> None:
    """Give batch normalization something to do."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)


def fold_modules(network: Network) -> Network:
    """Return a copy whose convolutions do the work of their batch normalization, with channels last."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, Unit) and isinstance(module.norm, nn.BatchNorm2d | nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return copied.to(memory_format=LAST[network.dims])


@torch.inference_mode()
def forward(network: Network, image: Tensor) -> Tensor:
    """Run a network on a whole image of any size, in the layout of its weights."""
    last = LAST[image.ndim - 2]
    weight = next(x for x in network.parameters() if x.ndim == image.ndim and x.shape[1] > 1)
    if weight.is_contiguous(memory_format=last):
        image = torch.empty_like(image, memory_format=last).copy_(image)
    logits: Tensor = network.on_grid(image)
    return logits


class Peak:
    """The speed of multiplying large matrices in float32: by torch.mm, or by oneDNN where that is quicker.

    (torch.mm is MKL's, which leaves half of what processors of AMD can do to oneDNN.)
    """

    def __init__(self, side: int = 2048) -> None:
        a, b = torch.randn((2, side, side))
        out = torch.empty((side, side))
        ways: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(a, b, out=out)}
        if torch.backends.mkldnn.is_available():
            c, d = a.to_mkldnn(), b.to_mkldnn()
            ways["oneDNN"] = lambda: torch.nn.functional.linear(c, d)
        self.operations = 2 * side**3
        self.rates = {name: self._rate(way) for name, way in ways.items() if way() is not None}
        self.name = max(self.rates, key=lambda name: self.rates[name])
        self.way = ways[self.name]

    def sample(self) -> float:
        """Return how many operations are done in a CPU second just now."""
        return self._rate(self.way)

    @torch.inference_mode()
    def _rate(self, way: Callable[[], object], seconds: float = 0.2) -> float:
        count, begun = 0, time.process_time()
        while time.process_time() - begun < seconds:
            way()
            count += 1
        return count * self.operations / (time.process_time() - begun)

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in self.rates.items())
        return f"matrices of float32 are multiplied at {rates} billion operations a CPU second"


def operations(network: Network, size: tuple[int, ...]) -> float:
    """Count those of one forward pass, without doing them."""
    return count_operations(copy.deepcopy(network).to("meta"), size)


@dataclass(frozen=True)
class Spent:
    """Seconds of the process's CPU time, and of the clock."""

    cpu: float
    wall: float


def timed(work: Callable[[], Found]) -> tuple[Found, Spent]:
    """Run and return what it gives, and what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    return found, Spent(time.process_time() - cpu, time.perf_counter() - wall)
