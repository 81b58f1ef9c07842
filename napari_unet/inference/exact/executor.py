"""Any window of the logits, computed from just what it depends on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Window, view
from napari_unet.inference.exact.operations import Image

Read = Callable[[Window], Tensor]


@torch.inference_mode()
def compute(graph: Graph, read: Read, window: Window) -> Tensor:
    """Compute a window of the logits as one forward pass over the whole image would.

    Parameters
    ----------
    graph : Graph
        For the size of the whole image.
    read : callable
        From a window of the image to its pixels (N, C, *size of the window); called once.
    window : Window
        Of the logits.

    Returns
    -------
    (N, out_channels, *size of the window)
    """
    demand = graph.demand(window)
    waiting = [sum(demand[user] is not None for user in users) for users in graph.users]
    values: dict[int, Tensor] = {}
    for i, node in enumerate(graph.nodes):
        wanted = demand[i]
        if wanted is None:
            continue
        if isinstance(node.operation, Image):
            values[i] = read(wanted)
            continue
        inputs = [_input(graph, values, demand, i, source) for source in node.sources]
        # From here on only `inputs` keep alive what is used for the last time.
        for source in dict.fromkeys(node.sources):
            waiting[source] -= 1
            if not waiting[source]:
                del values[source]
        reusable = graph.overwritable[i] and demand[node.sources[0]] == wanted
        values[i] = graph.run(i, inputs, wanted, out=inputs[0] if reusable else None)
    return values[len(graph.nodes) - 1]


def _input(
    graph: Graph, values: dict[int, Tensor], demand: tuple[Window | None, ...], index: int, source: int
) -> Tensor:
    """View what a node needs of a source."""
    wanted, there = demand[index], demand[source]
    assert wanted is not None
    assert there is not None
    _, given = graph.part(index, source, wanted)
    return view(values[source], there, given)
