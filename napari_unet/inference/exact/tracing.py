"""From a network to its graph, by watching one forward pass that computes nothing.

The network runs once on a tensor of the image's size that has a shape but no memory (PyTorch's "meta"
device), and every function that PyTorch calls on the way is written down with its arguments. By then
all choices that depend on sizes have been made by the network's own code: what is padded, cropped or
resized by how much are plain numbers. So a graph holds for one size of image; it takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from napari_unet.errors import ModelError
from napari_unet.inference.exact.graph import Graph, Node
from napari_unet.inference.exact.operations import Image, Operation, Slot
from napari_unet.networks.base import Network

# Tensors that do not depend on the image, such as positions along a border, are really computed up to this size.
LARGEST_CONSTANT = 2**24


class UntraceableError(ModelError):
    """A network that does something of which no rule says what it depends on."""


class NotLocalError(UntraceableError):
    """A network in which a pixel of the output depends on the whole image."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that depends on the image.

    Attributes
    ----------
    node : int
        That gives it.
    order : tuple of int
        Which axis of the node's output each of its axes is.
    """

    node: int
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function that was called, and what it gave.

    Attributes
    ----------
    name : str
        Of the function, without the mark of those that change their input.
    overload : str
        Which of the functions of that name.
    args : list
    keywords : dict
    result : meta tensor
        The first one if there are several.
    """

    name: str
    overload: str
    args: list[Any]
    keywords: dict[str, Any]
    result: Tensor

    def filled(self, required: int, *defaults: Any) -> list[Any]:  # noqa: ANN401
        """Return all positional arguments, those that were left out with their defaults."""
        return [*self.args, *defaults[len(self.args) - required :]]


def trace(network: Network, size: Sequence[int]) -> Graph:
    """Return the graph of `network.on_grid` for images of a size.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    size : sequence of int
        ([Z,] Y, X) of the whole image.

    Raises
    ------
    NotLocalError
        If a layer looks at the whole image at once.
    UntraceableError
        If it does something else that is not understood here.
    """
    real = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    blank = {name: tensor.detach().to("meta") for name, tensor in real.items()}
    dtype = next((tensor.dtype for tensor in network.parameters()), torch.float32)
    image = torch.empty((1, network.in_channels, *size), dtype=dtype, device="meta")
    recorder = Recorder(image, [(blank[name], _at_hand(tensor)) for name, tensor in real.items()])
    weights = {f"network.{name}": tensor for name, tensor in blank.items()}
    try:
        with torch.no_grad(), recorder:
            logits = torch.func.functional_call(_OnGrid(network), weights, (image,))
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError) as error:
        raise UntraceableError(f"The network cannot be run without numbers: {error}") from error
    return recorder.graph(logits)


class _OnGrid(torch.nn.Module):
    """The forward pass of this is `on_grid` of a network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.on_grid(image)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what is computed from an image.

    Parameters
    ----------
    image : (1, C, *size) meta tensor
    constants : sequence of pairs
        Meta tensors and the real ones that they stand for.
    """

    def __init__(self, image: Tensor, constants: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dims = image.ndim - 2
        self.nodes = [Node(Image(), (), tuple(image.shape[:2]), tuple(image.shape[2:]))]
        self.values = {id(image): Value(0, tuple(range(image.ndim)))}
        self.constants = {id(blank): real for blank, real in constants}
        # Identities are those of living tensors only.
        self.alive: list[Any] = [image, constants]
        self.viewed: set[int] = set()

    def graph(self, logits: Tensor) -> Graph:
        """Return what was recorded, up to the logits and without what does not lead to them."""
        value = self.value(logits)
        assert value.order == tuple(range(logits.ndim))
        used = {value.node}
        for i in reversed(range(value.node + 1)):
            used.update(self.nodes[i].sources if i in used else ())
        kept = sorted(used | {0})
        place = {old: new for new, old in enumerate(kept)}
        renumbered = (
            Node(node.operation, tuple(place[s] for s in node.sources), node.lead, node.size)
            for node in (self.nodes[i] for i in kept)
        )
        return Graph(tuple(renumbered))

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run a function and write it down."""
        del types
        keywords = dict(kwargs or {})
        result = function(*args, **keywords)
        inputs = [x for x in pytree.tree_leaves((args, keywords)) if isinstance(x, Tensor)]
        self.alive += [result, inputs]
        if any(id(x) in self.values for x in inputs):
            self._record(function, list(args), keywords, result)
        elif all(id(x) in self.constants for x in inputs):
            self._fold(function, args, keywords, result)
        return result

    def _fold(self, function: Any, args: Sequence[Any], keywords: Mapping[str, Any], result: Any) -> None:  # noqa: ANN401
        """Compute what depends on no image."""
        if not isinstance(result, Tensor) or result.numel() > LARGEST_CONSTANT or _changes_input(function):
            return
        here = {name: torch.device("cpu") if name == "device" else value for name, value in keywords.items()}
        args, here = pytree.tree_map_only(Tensor, lambda x: self.constants[id(x)], (args, here))
        with torch.inference_mode():
            self.constants[id(result)] = function(*args, **here)

    def _record(self, function: Any, args: list[Any], keywords: dict[str, Any], result: Any) -> None:  # noqa: ANN401
        from napari_unet.inference.exact.rules import RULES

        changes_input = _changes_input(function)
        name = function.overloadpacket.__name__
        name = name.removesuffix("_") if changes_input else name
        if name not in RULES:
            raise UntraceableError(f"It is not known what {name} depends on, which the network computes.")
        if changes_input and id(args[0]) in self.viewed:
            raise UntraceableError(f"The network changes a part of a tensor, by {name}.")
        if function.is_view:
            self.viewed |= {id(args[0]), id(result)}
        first = result[0] if isinstance(result, tuple) else result
        self.values[id(first)] = RULES[name](self, Call(name, str(function).rpartition(".")[2], args, keywords, first))

    def value(self, tensor: Any) -> Value:  # noqa: ANN401
        """Return what a tensor is, which must depend on the image."""
        found = self.values.get(id(tensor))
        if found is None:
            raise UntraceableError("The network uses a tensor that comes neither from the image nor from its weights.")
        return found

    def node(self, tensor: Any) -> int:  # noqa: ANN401
        """Return the node that gives a tensor whose axes are in their usual order."""
        value = self.value(tensor)
        if value.order != tuple(range(len(value.order))):
            raise UntraceableError("The network moves the axes of the image.")
        return value.node

    def constant(self, tensor: Tensor | None) -> Tensor | None:
        """Return the numbers of a tensor that does not depend on the image."""
        if tensor is None:
            return None
        if id(tensor) not in self.constants:
            raise UntraceableError("The network computes weights from the image.")
        return self.constants[id(tensor)]

    def weights(self, tensor: Tensor) -> Tensor:
        """Return the numbers of a tensor that must be there."""
        found = self.constant(tensor)
        assert found is not None
        return found

    def add(self, operation: Operation, sources: Sequence[int], result: Tensor) -> Value:
        """Append an operation, if what it says of sizes is what was seen."""
        shape = tuple(result.shape)
        lead, size = shape[: len(shape) - self.dims], shape[len(shape) - self.dims :]
        for source in sources:
            before = self.nodes[source].size
            if tuple(operation.size(axis, n) for axis, n in enumerate(before)) != size:
                raise UntraceableError(f"{type(operation).__name__} of {before} pixels gives {size}, unexpectedly.")
        self.nodes.append(Node(operation, tuple(sources), lead, size))
        return Value(len(self.nodes) - 1, tuple(range(len(shape))))

    def add_in_order(
        self, operation: Operation, sources: Sequence[int], result: Tensor, order: tuple[int, ...]
    ) -> Value:
        """Append an operation whose inputs have their axes in another order, and so its result."""
        if order == tuple(range(len(order))):
            return self.add(operation, sources, result)
        usual = result.permute([order.index(axis) for axis in range(len(order))])
        return Value(self.add(operation, sources, usual).node, order)

    def slots(self, arguments: Any) -> tuple[Any, list[int], tuple[int, ...]]:  # noqa: ANN401
        """Return arguments with slots for what depends on the image, those nodes, and their common order of axes.

        Constants must be the same for all pixels.
        """
        nodes: list[int] = []
        orders: set[tuple[int, ...]] = set()

        def put(tensor: Tensor) -> Slot | Tensor:
            if id(tensor) not in self.values:
                constant = self.weights(tensor)
                if any(n > 1 for n in constant.shape[-self.dims :]) and constant.ndim > 0:
                    raise UntraceableError("The network has weights for each pixel.")
                return constant
            value = self.value(tensor)
            nodes.append(value.node)
            orders.add(value.order)
            return Slot(len(nodes) - 1)

        filled = pytree.tree_map_only(Tensor, put, arguments)
        if len(orders) != 1:
            raise UntraceableError("The network mixes images whose axes are in different orders.")
        return filled, nodes, orders.pop()


def _at_hand(tensor: Tensor) -> Tensor:
    """Return numbers on the CPU, where constants are, and float64, which not every GPU knows."""
    return tensor.detach() if tensor.is_meta else tensor.detach().cpu()


def _changes_input(function: Any) -> bool:  # noqa: ANN401
    """Whether a function such as `relu_` changes its first argument."""
    return bool(function.overloadpacket.__name__.endswith("_"))


Rule = Callable[[Recorder, Call], Value]
