"""The engine of networks whose graph is known: strips in which nothing is computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from napari_unet.inference.engines.base import Read
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Window, size_of
from napari_unet.inference.exact.planning import StripPlan, pieces_of, plan_strips
from napari_unet.inference.exact.preparing import prepare
from napari_unet.inference.exact.streaming import stream
from napari_unet.inference.running import Runner
from napari_unet.networks.base import Network

# Rows of a strip, the best number first. On a CPU more win nothing, on a GPU each strip has a fixed cost.
ROWS = {
    ("cpu", 2): (128, 64, 32, 16),
    ("cpu", 3): (32, 16, 8),
    ("gpu", 2): (2048, 1024, 512, 256, 128, 64),
    ("gpu", 3): (128, 64, 32, 16, 8),
}

PlanKey = tuple[tuple[int, ...], int, int | None]
"""Size of a window, bytes of a budget, and largest side."""


@dataclass(frozen=True, slots=True)
class ExactEngine:
    """Computes just what a window depends on, in strips, each layer once.

    Attributes
    ----------
    runner : Runner
    graph : Graph
        Of a plane, or of the volume.
    budget_bytes : int
        That features may take.
    tile : int, optional
        Largest side of a piece; None chooses by the budget.
    """

    runner: Runner
    graph: Graph
    budget_bytes: int
    tile: int | None = None
    _plans: dict[PlanKey, StripPlan] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, runner: Runner, size: Sequence[int], budget_bytes: int, tile: int | None = None) -> ExactEngine:
        """Trace a network for planes or volumes of a size.

        Raises
        ------
        UntraceableError
            If that cannot be done.
        """
        prepared = _prepared(runner.network, size, runner)
        return cls(runner, prepared.graph, budget_bytes, tile, prepared.plans)

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    @property
    def seam(self) -> None:
        """There is none."""
        return

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield."""
        return pieces_of(window, self.plan(window))

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows and their probabilities (N, K, *size)."""
        plan = self.plan(window)

        def pixels(wanted: Window) -> Tensor:
            return self.runner.upload(read(wanted), self.runner.dtype)

        strips = stream(self.graph, pixels, rows=plan.rows, axis=plan.axis, columns=plan.columns, window=window)
        while True:
            with self.runner.arithmetic():
                found = next(strips, None)
            if found is None:
                return
            yield found[0], self.runner.probabilities(found[1])
            del found

    def plan(self, window: Window) -> StripPlan:
        """Return how a window is cut into strips."""
        key = (size_of(window), self.budget_bytes, self.tile)
        if key not in self._plans:
            self._plans[key] = self._plan(window)
        return self._plans[key]

    def _plan(self, window: Window) -> StripPlan:
        rows = ROWS["cpu" if self.runner.device.type == "cpu" else "gpu", self.graph.dims]
        return plan_strips(self.graph, self.budget_bytes, window, rows, self.runner.dtype, self.tile)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A graph, for which state of a network it was made, and how windows of it are cut into strips."""

    state: object
    graph: Graph
    plans: dict[PlanKey, StripPlan] = field(default_factory=dict)


# The graph made last of each network: a preview and the run that follows it share one.
_PREPARED: WeakKeyDictionary[Network, _Prepared] = WeakKeyDictionary()


def _prepared(network: Network, size: Sequence[int], runner: Runner) -> _Prepared:
    """Return the graph of a network for images of a size; made again if its weights have changed."""
    tensors = (*network.parameters(), *network.buffers())
    versions = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)  # noqa: SLF001
    state = (tuple(size), runner.device, runner.dtype, versions)
    known = _PREPARED.get(network)
    if known is not None and known.state == state:
        return known
    del known
    _PREPARED.pop(network, None)  # its weights are not held beside those of the new one
    with torch.no_grad():
        made = _PREPARED[network] = _Prepared(state, prepare(network, size, runner.device, runner.dtype))
    return made
