"""From a network to the graph that is run."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_unet.inference.exact.folding import channels_last, fold, moved
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.packing import pack
from napari_unet.inference.exact.tracing import trace
from napari_unet.networks.base import Network


def prepare(network: Network, size: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32) -> Graph:
    """Return the quickest graph that computes `network.on_grid` on a device.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    size : sequence of int
        ([Z,] Y, X) of the whole image.
    device : torch.device
        Where images will be.
    dtype : torch.dtype
        Of images, and so of the arithmetic. Normalization is folded in the precision of the weights before.

    Raises
    ------
    NotLocalError
        If a layer looks at the whole image at once.
    UntraceableError
        If it is not known of a layer what it looks at.
    """
    graph = channels_last(moved(fold(trace(network, size)), device, dtype))
    return pack(graph) if device.type == "cpu" and dtype == torch.float32 else graph
