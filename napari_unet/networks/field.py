"""How far a network sees, measured by gradient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from napari_unet.networks.base import Network
from napari_unet.networks.options.base import NetworkOptions

MAX_SIDE = 8192
# Where no radius makes tiles exact.
UNKNOWN_RADIUS = 2048
_LINEARIZED = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU,
    nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm,
    nn.LayerNorm, nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.PReLU, nn.Sigmoid,
)  # fmt: skip
_POOLS: dict[type[nn.Module], Any] = {nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What an aligned window of the output depends on.

    Attributes
    ----------
    stride : int
        Windows start at multiples of it.
    radius : int
        Pixels beyond the window on each side that influence it.
    local : bool
        False if a layer looks at its whole input, so that no radius makes tiles exact.
    """

    stride: int
    radius: int
    local: bool

    @property
    def halo(self) -> int:
        """The radius, rounded up to a multiple of the stride."""
        return -(-self.radius // self.stride) * self.stride


def receptive_field(network: Network) -> ReceptiveField:
    """Measure the receptive field of a network.

    Every layer is replaced by a linear one with positive weights that depends on the same pixels,
    so that no dependence can hide behind an inactive unit; then a gradient says which input
    pixels an output window depends on. The axis that is measured is the last one, along which no
    network sees less far than along the others, and a thin network stands for a wide one.
    """
    known = network.geometry
    if known.radius is not None:
        return ReceptiveField(known.stride, known.radius, known.local)
    return _measure(type(network), network.geometry)  # type: ignore[arg-type]  # classes are hashable


@lru_cache(maxsize=64)
def _measure(kind: type[Network], options: NetworkOptions) -> ReceptiveField:
    thin = options.thin()
    probe = _linearize(kind(1, 1, thin)).double().eval()
    stride, side = options.stride, 16 * options.stride
    before = None
    while side <= MAX_SIDE:
        radius = _radius(probe, stride, thin.dims, side)
        # Where a decoder is filled up with zeros, a small image shows less than a large one.
        if radius is not None and radius == before:
            return ReceptiveField(stride, radius, options.local)
        before, side = radius, 2 * side
    return ReceptiveField(stride, UNKNOWN_RADIUS, local=False)


def _radius(probe: Network, stride: int, dims: int, side: int) -> int | None:
    """Radius along the last axis, or None if it reaches the ends of an input of this side."""
    # Near its border an unpadded network may see less than inside: there a strip will not do.
    across = side if probe.geometry.margin else stride
    image = torch.ones((1, 1, *(across,) * (dims - 1), side), dtype=torch.float64, requires_grad=True)
    start, middle = side // 2 // stride * stride, slice(across // 2, across // 2 + 1)
    seen_by = (slice(None), slice(None), *(middle,) * (dims - 1), slice(start, start + stride))
    window: Tensor = probe.on_grid(image)[seen_by]
    (gradient,) = torch.autograd.grad(window.sum(), image)
    seen = torch.nonzero(gradient.abs().flatten(0, -2).sum(0)).flatten()
    first, last = int(seen.min()), int(seen.max())
    if first == 0 or last == side - 1:
        return None
    radius: int = max(start - first, last - (start + stride - 1), 0)
    return radius


def _linearize(module: Network) -> Network:
    """Replace what is not linear, and make all weights positive."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _LINEARIZED):
                setattr(parent, name, nn.Identity())
            elif type(child) in _POOLS:
                setattr(parent, name, _average(child))
    for parameter in module.parameters():
        nn.init.constant_(parameter, 1 / max(1, parameter[0].numel()))
    return module


def _average(pool: nn.Module) -> nn.Module:
    """Average pooling over the same pixels as max pooling."""
    average: nn.Module = _POOLS[type(pool)](pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode)
    return average
