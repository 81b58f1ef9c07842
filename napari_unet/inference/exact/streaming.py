"""All logits, strip by strip, nothing computed twice along the way.

While strips of the logits are wanted from the top to the bottom, each layer is computed downwards too,
each row of it once. Layers run ahead of one another by as much as the next one looks beyond its row::

    rows of the image      ==================|            read up to here
    encoder                ................==|            kept: what lies between the dots and the end
    decoder                ...............==|
    logits                 ..............|                given away up to here

What is kept of a layer are the few last rows that a kernel above still has to see, and for a skip the
rows that the decoder has not reached yet. So memory holds one strip and not the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from napari_unet.inference.exact.executor import Read
from napari_unet.inference.exact.graph import Graph
from napari_unet.inference.exact.intervals import Interval, Window, replaced, size_of, view
from napari_unet.inference.exact.operations import Concat, Image, like


@dataclass(slots=True)
class Kept:
    """What is kept of a layer: tensors that follow or overlap one another along the axis of the strips.

    Attributes
    ----------
    axis : int
        Of the strips.
    pieces : list of (Window, Tensor)
        The last one ends at `done`.
    done : int
        Everything before has been computed.
    """

    axis: int
    done: int
    pieces: list[tuple[Window, Tensor]] = field(default_factory=list)

    def take(self, wanted: Window) -> Tensor:
        """Return a window, as a view where it lies in one piece."""
        lying = [(here, x) for here, x in self.pieces if here[self.axis].start <= wanted[self.axis].start]
        here, x = lying[-1]
        if here[self.axis].stop >= wanted[self.axis].stop:
            return view(x, here, wanted)
        out = like(x, size_of(wanted))
        self.copy(wanted, out)
        return out

    def copy(self, wanted: Window, out: Tensor) -> None:
        """Write a window into a tensor of its size."""
        rows, everything = wanted[self.axis], tuple(Interval(0, n) for n in size_of(wanted))
        position = rows.stop
        for here, x in reversed(self.pieces):
            start = max(here[self.axis].start, rows.start)
            if start < position:
                part = Interval(start, position)
                there = replaced(everything, self.axis, Interval(start - rows.start, position - rows.start))
                view(out, everything, there).copy_(view(x, here, replaced(wanted, self.axis, part)))
                position = start
        assert position == rows.start

    def forget(self, before: int) -> None:
        """Drop the rows before a position; of a large piece of which little is left, keep a copy of that."""
        kept = []
        end = self.done
        for here, x in reversed(self.pieces):
            rows = Interval(max(here[self.axis].start, before), min(here[self.axis].stop, end))
            if rows.length <= 0:
                continue
            there = replaced(here, self.axis, rows)
            left = view(x, here, there)
            few = 2 * rows.length <= here[self.axis].length
            kept.append((there, left.clone(memory_format=torch.preserve_format) if few else left))
            end = rows.start
        self.pieces = kept[::-1]


class Strip:
    """Computes the logits of one column of the image from the top to the bottom.

    Parameters
    ----------
    graph : Graph
    read : callable
        From a window of the image to its pixels (N, C, *size of the window); each row is read once.
    axis : int
        Along which strips follow one another.
    rows : int
        Of a strip, at most; more of the image are not read at once either, as far as that can be.
    """

    def __init__(self, graph: Graph, read: Read, axis: int, rows: int) -> None:
        self.graph, self.read, self.axis, self.rows = graph, read, axis, rows
        self.windows: list[Window | None] = []
        self.kept: list[Kept] = []

    def run(self, column: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows of the column and their logits."""
        first, last = column[self.axis]
        # Of a mirrored image, rows that are wanted later may lie before those that are wanted first.
        self.kept = [Kept(self.axis, window[self.axis].start if window else 0) for window in self.graph.demand(column)]
        for start in range(first, last, self.rows):
            wanted = replaced(column, self.axis, Interval(start, min(last, start + self.rows)))
            self.windows = list(self.graph.demand(wanted))
            for targets in self._targets():
                self._advance(targets)
            logits = self.kept[-1].take(wanted)
            self.kept[-1].forget(wanted[self.axis].stop)
            yield wanted, logits

    def _targets(self) -> Iterator[list[int]]:
        """Yield how far each node is to be computed, in as many steps as keep memory low."""
        final = [self._rounded(i, window[self.axis].stop) if window else 0 for i, window in enumerate(self.windows)]
        while final[0] - self.kept[0].done > 2 * self.rows:
            ready = [self.kept[0].done + self.rows]
            for i in range(1, len(final)):
                ready.append(self._feasible(i, final[i], ready))
            yield ready
        yield final

    def _rounded(self, index: int, stop: int) -> int:
        """Round up to rows that are computed anyway."""
        grain = self.graph.nodes[index].operation.grain(self.axis)
        return min(-(-stop // grain) * grain, self.graph.nodes[index].size[self.axis])

    def _feasible(self, index: int, final: int, ready: Sequence[int]) -> int:
        """Return how far a node can be computed from sources that are ready up to some rows."""
        node = self.graph.nodes[index]
        low, high = self.kept[index].done, final
        while low < high:
            middle = (low + high + 1) // 2
            needed = node.operation.needs(self.axis, Interval(self.kept[index].done, middle))
            enough = all(needed.within(self.graph.nodes[s].size[self.axis]).stop <= ready[s] for s in node.sources)
            low, high = (middle, high) if enough else (low, middle - 1)
        grain = node.operation.grain(self.axis)
        return max(self.kept[index].done, low if low == final else low // grain * grain)

    def _advance(self, targets: Sequence[int]) -> None:
        """Compute all nodes up to their targets."""
        new = [Interval(kept.done, max(kept.done, target)) for kept, target in zip(self.kept, targets, strict=True)]
        waiting = [sum(new[user].length > 0 for user in users) for users in self.graph.users]
        for i, rows in enumerate(new):
            if not rows.length:
                continue
            self._compute(i, rows, new)
            for source in dict.fromkeys(self.graph.nodes[i].sources):
                waiting[source] -= 1
                if not waiting[source]:
                    self.kept[source].forget(self._first_needed(source))

    def _first_needed(self, index: int) -> int:
        """Return the first row of a node that will be needed again."""
        first = self.kept[index].done
        for user in self.graph.users[index]:
            node = self.graph.nodes[user]
            rest = Interval(self.kept[user].done, node.size[self.axis])
            if self.windows[user] is not None and rest.length > 0:
                needed = node.operation.needs(self.axis, rest)
                first = min(first, needed.within(self.graph.nodes[index].size[self.axis]).start)
        return first

    def _compute(self, index: int, rows: Interval, new: Sequence[Interval]) -> None:
        """Compute the new rows of a node, in one piece with older ones where a kernel will see both."""
        kept, window = self.kept[index], self.windows[index]
        assert window is not None
        here = replaced(window, self.axis, rows)
        head = self._head(index, rows, new)
        if head < rows.start:
            there = replaced(window, self.axis, Interval(head, rows.stop))
            old = replaced(window, self.axis, Interval(head, rows.start))
            buffer = like(kept.pieces[-1][1], size_of(there))
            kept.copy(old, view(buffer, there, old))
            out = view(buffer, there, here)
            result = self._result(index, here, out)
            if result is not out:
                out.copy_(result)
            kept.pieces.append((there, buffer))
        else:
            kept.pieces.append((here, self._result(index, here, None)))
        kept.done = rows.stop

    def _head(self, index: int, rows: Interval, new: Sequence[Interval]) -> int:
        """Return the first row that a node above will see together with the new ones."""
        head = rows.start
        for user in self.graph.users[index]:
            operation = self.graph.nodes[user].operation
            if new[user].length and not isinstance(operation, Concat):
                needed = operation.needs(self.axis, new[user])
                head = min(head, needed.within(self.graph.nodes[index].size[self.axis]).start)
        # Where more is old than new it is cheaper to put it together for the one that needs it.
        known = bool(self.kept[index].pieces) and rows.start - head < rows.length
        return head if known else rows.start

    def _result(self, index: int, here: Window, out: Tensor | None) -> Tensor:
        """Compute a node on a window."""
        node = self.graph.nodes[index]
        if isinstance(node.operation, Image):
            return self.read(here)
        if isinstance(node.operation, Concat):
            return self._joined(index, node.operation.axis, here, out)
        inputs = [self.kept[source].take(self.graph.part(index, source, here)[1]) for source in node.sources]
        if out is None and self.graph.overwritable[index]:
            out = inputs[0]
        return self.graph.run(index, inputs, here, out)

    def _joined(self, index: int, axis: int, here: Window, out: Tensor | None) -> Tensor:
        """Concatenate without putting together the pieces of each input first."""
        node = self.graph.nodes[index]
        if out is None:
            example = self.kept[node.sources[0]].pieces[-1][1]
            lead = list(example.shape[: example.ndim - len(here)])
            lead[axis] = sum(self.graph.nodes[source].lead[axis] for source in node.sources)
            out = like(example, size_of(here), lead)
        begin = 0
        for source in node.sources:
            count = self.graph.nodes[source].lead[axis]
            self.kept[source].copy(here, out.narrow(axis, begin, count))
            begin += count
        return out


def longest_axis(graph: Graph) -> int:
    """Return the axis along which the logits have most pixels."""
    return max(range(graph.dims), key=lambda axis: graph.size[axis])


def stream(
    graph: Graph,
    read: Read,
    *,
    rows: int = 64,
    axis: int | None = None,
    columns: Sequence[int] | None = None,
    window: Window | None = None,
) -> Iterator[tuple[Window, Tensor]]:
    """Compute logits in strips, as one forward pass over the whole image would.

    Parameters
    ----------
    graph : Graph
        For the size of the whole image.
    read : callable
        From a window of the image to its pixels (N, C, *size of the window). Within a column of blocks,
        nothing is read twice.
    rows : int
        Of a strip.
    axis : int, optional
        Along which strips follow one another; the longest one by default.
    columns : sequence of int, optional
        Largest block along each axis; that of the strips does not count. Where a strip as wide as the image
        needs too much memory; between columns, a part is computed twice.
    window : Window, optional
        Of the logits; all of them by default.

    Yields
    ------
    window, logits : Window, (N, out_channels, *size of the window)
        The windows partition that which is wanted.
    """
    along, wanted = longest_axis(graph) if axis is None else axis, window or graph.everything
    blocks = []
    for i, (start, stop) in enumerate(wanted):
        side = stop - start if i == along or columns is None else columns[i]
        blocks.append([Interval(first, min(stop, first + side)) for first in range(start, stop, side)])
    for column in product(*blocks):
        with torch.inference_mode():
            strips = Strip(graph, read, along, rows).run(column)
        while True:
            # Not around the yield: what the caller does with the logits is not our business.
            with torch.inference_mode():
                found = next(strips, None)
            if found is None:
                break
            yield found
