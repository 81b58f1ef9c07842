"""Weights in the order in which oneDNN reads them, so that it need not put them in order for every strip."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.operations import Operation
from napari_unet.inference.exact.sampling import Convolution, Sides
from napari_unet.inference.exact.streaming import longest_axis

# Below so many weights there is nothing to win.
FEW = 2**15
# Of a usual strip.
ROWS = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedConvolution(Convolution):
    """A convolution for the CPU.

    Attributes
    ----------
    packed : tensor
        The weights, in a layout of which only oneDNN knows.
    """

    packed: Tensor

    def apply(self, x: Tensor, padding: Sides) -> Tensor:
        """Convolve."""
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return super().apply(x, padding)
        x, sides = x.contiguous(memory_format=self.layout(x)), (padding, self.stride, self.dilation)
        convolve: Any = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001  # what compiled models call
        result: Tensor = convolve(x, self.packed, self.bias, *sides, self.groups, "none", [], "")
        return result


def pack(graph: Graph) -> Graph:
    """Pack the weights of a graph that is to be run on a CPU; the graph itself, where PyTorch cannot do so."""
    try:
        return Graph(
            tuple(replace(node, operation=_packed(graph, node.operation, node.sources)) for node in graph.nodes)
        )
    except (AttributeError, RuntimeError, NotImplementedError):
        return graph


def unpack(operation: Operation) -> Operation:
    """Return the convolution that was packed; other operations as they are."""
    if not isinstance(operation, PackedConvolution):
        return operation
    return Convolution(**{field.name: getattr(operation, field.name) for field in fields(Convolution)})


def _strip(graph: Graph, size: tuple[int, ...]) -> list[int]:
    """Return what a usual strip has of a layer of some size."""
    along = longest_axis(graph)
    return [max(1, ROWS * n // graph.size[i]) if i == along and graph.size[i] > ROWS else n for i, n in enumerate(size)]


def _packed(graph: Graph, operation: Operation, sources: tuple[int, ...]) -> Operation:
    plain = type(operation) is Convolution and operation.weight.dtype == torch.float32
    if not plain or operation.weight.numel() < FEW or operation.weight.device.type != "cpu":  # type: ignore[attr-defined]
        return operation
    assert isinstance(operation, Convolution)
    source = graph.nodes[sources[0]]
    # Any layout serves images of any size, but weights in another one than that for the size are reordered each time.
    shape = [*source.lead, *_strip(graph, source.size)]
    padding = [side // 2 for side in operation.kernel]
    numbers = (padding, operation.stride, operation.dilation, operation.groups, shape)
    packed = torch.ops.mkldnn._reorder_convolution_weight(operation.weight, *numbers)  # noqa: SLF001
    same = {field.name: getattr(operation, field.name) for field in fields(Convolution)}
    return PackedConvolution(**same, packed=packed)
