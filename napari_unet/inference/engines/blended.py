"""The engine of networks that see all of their input at once: windows as in training, blended.

Instance and group normalization, squeeze-and-excitation and global attention look at the whole input, so
what such a network says about a pixel depends on what else it is shown, and nothing can be exact. It is shown
windows of the size that it was trained on, where its answers are best, and where these overlap they are
averaged. Averaged are probabilities, not logits: these have no bounds, and one window that is very sure of
itself at its end, where it sees least, would outvote another; a mean of probabilities lies between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from math import prod

import torch
from torch import Tensor

from napari_unet.inference.engines.base import Read, Seam
from napari_unet.inference.engines.overlapping import AxisCover, product_of, shared_in, spread_along
from napari_unet.inference.engines.seams import SeamMeter
from napari_unet.inference.exact.intervals import Interval, Window, replaced, size_of, view
from napari_unet.inference.regions import overlap
from napari_unet.inference.running import Runner
from napari_unet.networks.options.base import NetworkOptions

# Where the size of the patches of training is not known.
USUAL_SIDE = {2: 256, 3: 96}
FLOAT_BYTES = 4
# Rows in flight, in sides of a window: those of the windows at hand, and the same anew for the next ones.
ROWS_IN_FLIGHT = 2


def window_sides(geometry: NetworkOptions, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Sides of the windows that a network is shown, ([Z,] Y, X).

    Parameters
    ----------
    geometry : NetworkOptions
    wanted : sequence of int
        Sides of the patches of training, where they are known. They are rounded up to multiples of the strides.
    """
    usual = (USUAL_SIDE[geometry.dims],) * geometry.dims
    return tuple(-(-side // stride) * stride for side, stride in zip(wanted or usual, geometry.strides, strict=True))


@dataclass(slots=True)
class _Flight:
    """Pixels for which more windows are still to come: running means and deviations, after West (1979).

    See https://doi.org/10.1145/359146.359153. Sums of squares would lose small deviations to rounding.
    """

    window: Window
    weight: Tensor  # (*size) float32
    mean: Tensor  # (N, K, *size) float32
    squares: Tensor  # of the differences, weighted, of the same shape

    @classmethod
    def over(cls, window: Window, values: Tensor) -> _Flight:
        """Begin, with nothing known, for (N, K) values."""
        size = size_of(window)
        mean = values.new_zeros((*values.shape[:2], *size))
        return cls(window, values.new_zeros(size), mean, torch.zeros_like(mean))

    def add(self, part: Window, values: Tensor, weight: Tensor) -> None:
        """Take in the values (N, K, *size) of a part."""
        total, mean, squares = (view(x, self.window, part) for x in (self.weight, self.mean, self.squares))
        total += weight
        before = values - mean
        mean += before * (weight / total)
        squares += before.mul_(values - mean).mul_(weight)

    def take_over(self, other: _Flight) -> None:
        """Go on with what another knows of the pixels of both."""
        shared = overlap(self.window, other.window)
        if shared is not None:
            for here, there in ((self.weight, other.weight), (self.mean, other.mean), (self.squares, other.squares)):
                view(here, self.window, shared).copy_(view(there, other.window, shared))


@dataclass(frozen=True, slots=True)
class BlendedEngine:
    """Shows the network windows that overlap, and averages its probabilities.

    The windows are those of the whole image, whatever part of it is wanted.

    Attributes
    ----------
    runner : Runner
    covers : tuple of AxisCover
        Windows along each axis of the image.
    most_px : int
        That may be in flight: a wider image is done in columns.
    at_once : int
        Windows that are run together.
    """

    runner: Runner
    covers: tuple[AxisCover, ...]
    most_px: int
    at_once: int = 1
    _meter: SeamMeter = field(default_factory=SeamMeter, repr=False)

    @classmethod
    def of(
        cls, runner: Runner, size: Sequence[int], budget_bytes: int, sides: Sequence[int] = (), batch_px: int = 0
    ) -> BlendedEngine:
        """Lay windows over images of a size ([Z,] Y, X).

        Parameters
        ----------
        budget_bytes : int
            For what is in flight.
        sides : sequence of int
            Of the windows; by default those that networks are usually trained on.
        batch_px : int
            That the network is given at once, if more than one window.
        """
        geometry = runner.network.geometry
        sides = window_sides(geometry, sides)
        covers = tuple(
            AxisCover.of(spread_along(n, side, stride), runner.device)
            for n, side, stride in zip(size, sides, geometry.strides, strict=True)
        )
        pixel_bytes = ROWS_IN_FLIGHT * FLOAT_BYTES * (2 * runner.model.spec.network.out_channels + 1)
        return cls(runner, covers, budget_bytes // pixel_bytes, max(1, batch_px // prod(sides)))

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    @property
    def seam(self) -> Seam | None:
        """By how much windows differed so far; None if there was but one."""
        return self._meter.seam

    @property
    def axis(self) -> int:
        """Along which rows of windows follow each other: the longest one of the image."""
        return max(range(len(self.covers)), key=lambda axis: len(self.covers[axis].shared))

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield: rows that are complete, from column to column."""
        return [
            replaced(column, self.axis, rows)
            for column in self._columns(window)
            for _, rows in self._rows(column)
            if rows.length
        ]

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows and their probabilities (N, K, *size)."""
        for column in self._columns(window):
            flight: _Flight | None = None
            for number, rows in self._rows(column):
                flight = self._blend(read, column, number, rows.start, flight)
                if rows.length:
                    piece = replaced(column, self.axis, rows)
                    self._measure(flight, piece)
                    yield piece, view(flight.mean, flight.window, piece)

    def _columns(self, window: Window) -> Iterator[Window]:
        """Halve a window across the rows until what is in flight is small enough."""
        height = min(window[self.axis].length, self._side(self.axis))
        widest = max((axis for axis in range(len(window)) if axis != self.axis), key=lambda axis: window[axis].length)
        start, stop = window[widest]
        if height * prod(size_of(replaced(window, self.axis, Interval(0, 1)))) <= self.most_px or (
            stop - start <= self._side(widest)
        ):
            yield window
            return
        middle = (start + stop) // 2
        for half in (Interval(start, middle), Interval(middle, stop)):
            yield from self._columns(replaced(window, widest, half))

    def _side(self, axis: int) -> int:
        return self.covers[axis].windows[0].length

    def _rows(self, column: Window) -> Iterator[tuple[int, Interval]]:
        """Return the numbers of the rows of windows that a column needs, and the pixels complete after each."""
        wanted, cover = column[self.axis], self.covers[self.axis]
        done = wanted.start
        for number in cover.touching(wanted):
            following = cover.windows[number + 1].start if number + 1 < len(cover.windows) else wanted.stop
            complete = min(max(done, following), wanted.stop)
            yield number, Interval(done, complete)
            done = complete

    @torch.inference_mode()
    def _blend(self, read: Read, column: Window, row: int, start: int, before: _Flight | None) -> _Flight:
        """Take in a row of windows; `start` is the first row of pixels that is not complete yet."""
        here = self.covers[self.axis].windows[row]
        area = replaced(column, self.axis, Interval(start, min(here.stop, column[self.axis].stop)))
        flight: _Flight | None = None
        for numbers, values in self._answers(read, column, row):
            if flight is None:
                flight = _Flight.over(area, values)
                if before is not None:
                    flight.take_over(before)
            window = self._window(numbers)
            part = overlap(window, area)
            if part is not None:
                weights = [c.weight(n, p) for c, n, p in zip(self.covers, numbers, part, strict=True)]
                flight.add(part, view(values, window, part), product_of(weights))
        assert flight is not None, "windows cover the image"
        return flight

    def _answers(self, read: Read, column: Window, row: int) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        """Run the windows of a row, by their numbers along each axis; probabilities (N, K, *size)."""
        along = [[row] if axis == self.axis else c.touching(column[axis]) for axis, c in enumerate(self.covers)]
        for _, alike in groupby(product(*along), key=lambda numbers: size_of(self._seen(numbers))):
            together = list(alike)
            for first in range(0, len(together), self.at_once):
                batch = together[first : first + self.at_once]
                pixels = torch.cat([read(self._seen(numbers)) for numbers in batch])
                for numbers, logits in zip(batch, self.runner.logits(pixels).chunk(len(batch)), strict=True):
                    inside = view(logits, self._seen(numbers), self._window(numbers))
                    yield numbers, self.runner.probabilities(inside)

    def _window(self, numbers: Sequence[int]) -> Window:
        return tuple(cover.windows[number] for cover, number in zip(self.covers, numbers, strict=True))

    def _seen(self, numbers: Sequence[int]) -> Window:
        """Return a window with the surroundings that convolutions without padding lose, where the image has them."""
        geometry = self.runner.network.geometry
        grown = []
        for part, cover, stride in zip(self._window(numbers), self.covers, geometry.strides, strict=True):
            lost = -(-geometry.margin // stride) * stride
            grown.append(Interval(max(0, part.start - lost), min(len(cover.shared), part.stop + lost)))
        return tuple(grown)

    @torch.inference_mode()
    def _measure(self, flight: _Flight, piece: Window) -> None:
        """Note by how much windows differed in a piece that is complete, in the class where they do so most."""
        weight, squares = (view(x, flight.window, piece) for x in (flight.weight, flight.squares))
        deviation = (squares.amax(dim=1) / weight).clamp(min=0).sqrt()
        self._meter.add(deviation[:, shared_in(self.covers, piece)])
