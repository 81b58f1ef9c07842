"""The graph of a network for images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from napari_unet.inference.exact.intervals import Window, whole
from napari_unet.inference.exact.operations import Image, Operation, Part


@dataclass(frozen=True, slots=True)
class Node:
    """An operation in its place.

    Attributes
    ----------
    operation : Operation
    sources : tuple of int
        Which nodes it gets its inputs from; all of them come before it.
    lead : tuple of int
        Sizes of the axes before the spatial ones, such as N and C.
    size : tuple of int
        Along the spatial axes, for the whole image.
    """

    operation: Operation
    sources: tuple[int, ...]
    lead: tuple[int, ...]
    size: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The operations of a network in the order in which they are computed.

    Attributes
    ----------
    nodes : tuple of Node
        The first one is the image, the last one the logits.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        assert isinstance(self.nodes[0].operation, Image)
        assert all(source < i for i, node in enumerate(self.nodes) for source in node.sources)

    @property
    def dims(self) -> int:
        """2 or 3 spatial axes."""
        return len(self.nodes[0].size)

    @property
    def image_size(self) -> tuple[int, ...]:
        """Of the whole image."""
        return self.nodes[0].size

    @property
    def size(self) -> tuple[int, ...]:
        """Of the logits."""
        return self.nodes[-1].size

    @cached_property
    def users(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the nodes that get their input from it."""
        users: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in dict.fromkeys(node.sources):
                users[source].append(i)
        return tuple(map(tuple, users))

    @cached_property
    def overwritable(self) -> tuple[bool, ...]:
        """For each node, whether its result may be put where its first input was.

        That input must be needed by nobody else, and be in memory of its own.
        """
        return tuple(node.operation.overwrites and self._expendable(node) for node in self.nodes)

    def _expendable(self, node: Node) -> bool:
        source = self.nodes[node.sources[0]]
        own = not source.operation.shares and not isinstance(source.operation, Image)
        larger = source.lead == node.lead and source.size == node.size
        return own and larger and len(self.users[node.sources[0]]) == 1 and node.sources.count(node.sources[0]) == 1

    def needs(self, index: int, window: Window) -> Window:
        """Return what a node needs of each of its sources for a window; it may reach beyond the border."""
        operation = self.nodes[index].operation
        return tuple(operation.needs(axis, wanted) for axis, wanted in enumerate(window))

    def part(self, index: int, source: int, window: Window) -> tuple[Window, Window]:
        """Return what a node needs of one source for a window, and what of it there is."""
        wanted = self.needs(index, window)
        given = tuple(interval.within(n) for interval, n in zip(wanted, self.nodes[source].size, strict=True))
        return wanted, given

    def demand(self, window: Window) -> tuple[Window | None, ...]:
        """Return for each node the window that must be computed of it for a window of the logits.

        Where several nodes need windows of the same one, it is the smallest that holds them all. Nodes
        that nothing depends on have none.
        """
        demands: list[Window | None] = [None] * len(self.nodes)
        demands[-1] = window
        for i in reversed(range(1, len(self.nodes))):
            here = demands[i]
            if here is None:
                continue
            for source in self.nodes[i].sources:
                _, given = self.part(i, source, here)
                there = demands[source]
                demands[source] = given if there is None else tuple(a | b for a, b in zip(there, given, strict=True))
        return tuple(demands)

    def run(self, index: int, pixels: Sequence[Tensor], window: Window, out: Tensor | None = None) -> Tensor:
        """Compute a node on a window from exactly what it needs of its sources."""
        node = self.nodes[index]
        parts = [Part(x, *self.part(index, source, window)) for x, source in zip(pixels, node.sources, strict=True)]
        return node.operation.run(parts, window, out)

    @property
    def everything(self) -> Window:
        """The window of all logits."""
        return whole(self.size)
