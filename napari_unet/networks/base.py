"""What all networks have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.networks.options.base import NetworkOptions

MEAN_OVER = {2: F.avg_pool2d, 3: F.avg_pool3d}


class Network(nn.Module):
    """A network from images to logits, as its author wrote it, with its geometry.

    Subclasses build their layers in `__init__` and write `forward`. The geometry (stride, margin,
    scale and so on) is that of the options.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the image and of the logits.
    options : NetworkOptions
        Of its family.
    """

    def __init__(self, in_channels: int, out_channels: int, options: NetworkOptions) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.geometry = options

    @property
    def dims(self) -> int:
        """2 or 3 spatial dimensions."""
        return self.geometry.dims

    @property
    def stride(self) -> int:
        """Total down-sampling; tiles start at multiples of it."""
        return self.geometry.stride

    @property
    def local(self) -> bool:
        """Whether an output pixel depends on a neighbourhood only (in evaluation mode)."""
        return self.geometry.local

    def on_grid(self, image: Tensor) -> Tensor:
        """Logits on the grid of the image, whatever its size.

        What the network loses at the border is mirrored around the image, a size that would shift
        the sampling is filled up at the far ends, and a finer output is averaged.

        Parameters
        ----------
        image : (N, in_channels, [Z,] Y, X) float32

        Returns
        -------
        (N, out_channels, [Z,] Y, X) float32
        """
        logits: Tensor = self(frame(image, self.geometry))
        if self.geometry.scale > 1:
            logits = MEAN_OVER[self.dims](logits, self.geometry.scale)
        return cut(logits, image.shape[2:])


def frame(image: Tensor, geometry: NetworkOptions) -> Tensor:
    """Surround an image (N, C, *size) so that the network's output covers it."""
    margin = geometry.margin
    for axis, size in enumerate(image.shape[2:], start=2):
        after = geometry.fitting_along(axis - 2, size + 2 * margin) - size - margin
        if margin:
            image = image.index_select(axis, _mirrored(size, margin, after, image.device))
        elif after:
            positions = torch.arange(size + after, device=image.device).clamp(max=size - 1)
            image = image.index_select(axis, positions)
    return image


def _mirrored(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Positions 0 to size - 1 with mirrored ones on both sides, the border itself once."""
    period = max(1, 2 * (size - 1))
    positions = torch.arange(-before, size + after, device=device) % period
    return torch.minimum(positions, period - positions) if size > 1 else positions


def cut(x: Tensor, size: Sequence[int]) -> Tensor:
    """Keep the first `size` pixels of (N, C, *larger) along each axis."""
    for axis, n in enumerate(size, start=2):
        x = x.narrow(axis, 0, n)
    return x


def initialize(module: nn.Module) -> None:
    """He initialization of convolutions: https://doi.org/10.1109/ICCV.2015.123."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        if module.weight.is_meta:  # has no values; torch would load its compiler (seconds) to draw none
            return
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
