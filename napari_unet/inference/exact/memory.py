"""What a window or a strip needs in memory, known before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from napari_unet.inference.exact.executor import Read, compute
from napari_unet.inference.exact.folding import moved
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Window, size_of
from napari_unet.inference.exact.packing import PackedConvolution, unpack
from napari_unet.inference.exact.streaming import Strip, longest_axis

# After so many strips nothing new happens until the last one, which is smaller.
ENOUGH = 4


def window_bytes(graph: Graph, window: Window, dtype: torch.dtype = torch.float32) -> int:
    """Return the largest amount of memory that features take while a window is computed."""
    return _peak(graph, dtype, lambda blank, read: [compute(blank, read, window)])


def strip_bytes(
    graph: Graph, rows: int, axis: int | None = None, column: Window | None = None, dtype: torch.dtype = torch.float32
) -> int:
    """Return the largest amount of memory that features take while strips are computed.

    Parameters
    ----------
    graph : Graph
    rows : int
        Of a strip.
    axis : int, optional
        Along which strips follow one another; the longest one by default.
    column : Window, optional
        Of blocks; everything by default. One in the middle of the image needs most.
    dtype : torch.dtype
        Of the features.
    """
    along = longest_axis(graph) if axis is None else axis

    def work(blank: Graph, read: Read) -> Iterable[Any]:
        return islice(Strip(blank, read, along, rows).run(column or graph.everything), ENOUGH)

    return _peak(graph, dtype, work)


def weight_bytes(graph: Graph) -> int:
    """Return the memory that the weights take, those that oneDNN has put in its own order included."""
    tensors = pytree.tree_leaves([vars(unpack(node.operation)) for node in graph.nodes])
    tensors += [node.operation.weight for node in graph.nodes if isinstance(node.operation, PackedConvolution)]
    return sum(x.numel() * x.element_size() for x in tensors if isinstance(x, Tensor))


def _peak(graph: Graph, dtype: torch.dtype, work: Callable[[Graph, Read], Iterable[Any]]) -> int:
    """Do the work with tensors that have a shape but no memory, and add up what they would take."""
    blank = moved(graph, torch.device("meta"), dtype)
    lead = graph.nodes[0].lead

    def read(window: Window) -> Tensor:
        return torch.empty((*lead, *size_of(window)), device="meta", dtype=dtype)

    ledger = Ledger()
    with ledger:
        for _ in work(blank, read):
            pass
    return ledger.peak


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of living tensors without values (on the "meta" device), made while it is entered.

    Attributes
    ----------
    peak : int
        The largest sum so far, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.living, self.peak = 0, 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Call a function and note what is new."""
        del types
        result = _shape_only(function, args, kwargs or {})
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._enter(tensor.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        if storage in self.known:
            return
        self.known[storage] = size = storage.nbytes()
        self.living += size
        self.peak = max(self.peak, self.living)
        finalize(storage, self._leave, size)

    def _leave(self, size: int) -> None:
        self.living -= size


def _shape_only(function: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
    """Call a function; without PyTorch's long way of finding out shapes, where these are plain."""
    if isinstance(kwargs.get("out"), Tensor):
        return kwargs["out"]
    inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    alone = len(inputs) == 1 and inputs[0] is args[0] and inputs[0].is_meta
    if alone and torch.Tag.pointwise in function.tags and not function._schema.is_mutable:  # noqa: SLF001
        return torch.empty_like(args[0])
    return function(*args, **kwargs)
