"""How far a network sees, measured by gradient."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_unet.networks.blocks import AVERAGE_POOL
from napari_unet.networks.unet import UNet

MAX_SIDE = 4096
_LINEARIZED = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU,
    nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm,
    nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip


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


def receptive_field(network: UNet) -> ReceptiveField:
    """Measure the receptive field of a network.

    Every layer is replaced by a linear one with positive weights that depends on the same pixels,
    so that no dependence can hide behind an inactive unit; then a gradient says which input
    pixels an output window depends on. All axes are alike in our networks: one is measured.
    """
    probe = _linearize(copy.deepcopy(network)).double().cpu().eval()
    side = 16 * network.stride
    while side <= MAX_SIDE:
        radius = _radius(probe, network, side)
        if radius is not None:
            return ReceptiveField(network.stride, radius, network.local)
        side *= 2
    return ReceptiveField(network.stride, MAX_SIDE // 2, local=False)


def _radius(probe: nn.Module, network: UNet, side: int) -> int | None:
    """Radius along the last axis, or None if it reaches the ends of an input of this side."""
    thin = (2 * network.stride,) * (network.dims - 1)
    image = torch.zeros((1, network.in_channels, *thin, side), dtype=torch.float64, requires_grad=True)
    start = side // 2 // network.stride * network.stride
    window: Tensor = probe(image)[..., start : start + network.stride]
    (gradient,) = torch.autograd.grad(window.sum(), image)
    seen = torch.nonzero(gradient.abs().flatten(0, -2).sum(0)).flatten()
    first, last = int(seen.min()), int(seen.max())
    if first == 0 or last == side - 1:
        return None
    radius: int = max(start - first, last - (start + network.stride - 1), 0)
    return radius


def _linearize(module: nn.Module) -> nn.Module:
    """Replace what is not linear, and make all weights positive."""
    for name, child in module.named_children():
        if isinstance(child, _LINEARIZED):
            setattr(module, name, nn.Identity())
        elif isinstance(child, (nn.MaxPool2d, nn.MaxPool3d)):
            setattr(module, name, AVERAGE_POOL[2 if isinstance(child, nn.MaxPool2d) else 3](2))
        else:
            _linearize(child)
    for parameter in module.parameters(recurse=False):
        nn.init.constant_(parameter, 1 / max(1, parameter[0].numel()))
    return module
