"""The engine of test-time augmentation: the image is flipped and turned, and the answers, turned back, are averaged.

Each member of the mean is what the network says about the whole turned image, so a border that is filled up, or
sampling that is not symmetric, is where it would be if somebody had turned the image by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor

from napari_unet.inference.config import Turns
from napari_unet.inference.engines.base import Engine, Read, Seam
from napari_unet.inference.exact.intervals import Interval, Window, size_of, view
from napari_unet.networks.base import Network
from napari_unet.networks.field import receptive_field
from napari_unet.weights.spec import FLOWS

# What pieces compute of their surroundings, over and over, may be this share of the pieces.
MOST_EXTRA = 0.2
# Of the halo, what is computed of it: most layers need only a part.
COMPUTED = 1 / 3


@dataclass(frozen=True, slots=True)
class Turn:
    """A flip or turn of the plane: Y and X are exchanged, and then reversed.

    Attributes
    ----------
    size : (Y, X)
        Of the image before.
    exchanged, flip_y, flip_x : bool
    """

    size: tuple[int, int]
    exchanged: bool = False
    flip_y: bool = False
    flip_x: bool = False

    def pixels(self, image: Tensor) -> Tensor:
        """Turn an image (..., Y, X)."""
        turned = image.transpose(-2, -1) if self.exchanged else image
        return turned.flip(self._axes).contiguous()

    def pixels_back(self, turned: Tensor) -> Tensor:
        """Undo `pixels`."""
        image = turned.flip(self._axes)
        return image.transpose(-2, -1) if self.exchanged else image

    def flows_back(self, flows: Tensor) -> Tensor:
        """Undo `pixels` for flows along Y and X (..., 2, Y, X) from 0 to 1: where they point to turns, too."""
        image = self.pixels_back(flows)
        along_y, along_x = image.unbind(dim=-3)
        along_y, along_x = (1 - along_y if self.flip_y else along_y), (1 - along_x if self.flip_x else along_x)
        return torch.stack([along_x, along_y] if self.exchanged else [along_y, along_x], dim=-3)

    def window(self, window: Window) -> Window:
        """Return where a window (..., Y, X) of the image is after the turn."""
        return (*window[:-2], *self._reversed(self._swapped(window[-2:])))

    def window_back(self, window: Window) -> Window:
        """Undo `window`."""
        return (*window[:-2], *self._swapped(self._reversed(window[-2:])))

    @property
    def _axes(self) -> list[int]:
        return [axis for axis, flip in ((-2, self.flip_y), (-1, self.flip_x)) if flip]

    def _swapped(self, plane: Window) -> Window:
        return plane[::-1] if self.exchanged else plane

    def _reversed(self, plane: Window) -> Window:
        size = self.size[::-1] if self.exchanged else self.size
        parts = zip(plane, size, (self.flip_y, self.flip_x), strict=True)
        return tuple(Interval(n - part.stop, n - part.start) if flip else part for part, n, flip in parts)


def turns_of(turns: Turns, size: Sequence[int]) -> list[Turn]:
    """Return the turns of images of a size ([Z,] Y, X): what they are averaged over.

    >>> len(turns_of("none", (4, 6))), len(turns_of("flips", (4, 6))), len(turns_of("all", (4, 6)))
    (1, 4, 8)
    """
    plane, flips = (size[-2], size[-1]), (False, True) if turns != "none" else (False,)
    exchanges = (False, True) if turns == "all" else (False,)
    return [Turn(plane, *which) for which in product(exchanges, flips, flips)]


@dataclass(frozen=True, slots=True)
class TurnedEngine:
    """Averages what another engine finds in the image and in its turned versions.

    Attributes
    ----------
    members : tuple of (Turn, Engine)
        What is averaged.
    side_px : int
        Of a piece, about.
    most_px : int
        Of a piece.
    flows : bool
        Whether the last two outputs are flows.
    """

    members: tuple[tuple[Turn, Engine], ...]
    side_px: int
    most_px: int
    flows: bool = False

    @classmethod
    def of(
        cls,
        make: Callable[[Sequence[int]], Engine],
        size: Sequence[int],
        turns: Turns,
        context_px: int,
        most_px: int,
        *,
        flows: bool = False,
    ) -> TurnedEngine:
        """Turn images of a size ([Z,] Y, X).

        Parameters
        ----------
        make : callable
            From a size to an engine.
        turns : "none" | "flips" | "all"
        context_px : int
            What an engine computes around a window beside it, on each side.
        most_px : int
            Of a piece.
        flows : bool
            Whether the last two outputs are flows.
        """
        here, across = size[-2:], (*size[:-2], size[-1], size[-2])
        turning = turns_of(turns, size)
        engine = make(size)
        other = make(across) if turns == "all" and here != across[-2:] else engine
        side = math.ceil(2 * context_px / ((1 + MOST_EXTRA) ** (1 / len(size)) - 1))
        return cls(tuple((turn, other if turn.exchanged else engine) for turn in turning), max(1, side), most_px, flows)

    @property
    def exact(self) -> bool:
        """Whether all members are."""
        return all(engine.exact for _, engine in self.members)

    @property
    def seam(self) -> Seam | None:
        """That of the member whose windows differ most."""
        seams = [engine.seam for _, engine in self.members]
        return max((seam for seam in seams if seam is not None), key=lambda seam: seam.mean, default=None)

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield: about cubes, large beside the surroundings that each needs."""
        lengths = size_of(window)
        parts = [max(1, round(length / self.side_px)) for length in lengths]
        while math.prod(sides := [-(-length // n) for length, n in zip(lengths, parts, strict=True)]) > self.most_px:
            longest = max(range(len(sides)), key=lambda axis: sides[axis])
            if sides[longest] == 1:
                break
            parts[longest] += 1
        along = [_divided(interval, n) for interval, n in zip(window, parts, strict=True)]
        return list(product(*along))

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield windows and their probabilities (N, K, *size)."""
        for piece in self.pieces(window):
            yield piece, self._mean(read, piece)

    @torch.inference_mode()
    def _mean(self, read: Read, piece: Window) -> Tensor:
        """Average over the members, one after the other."""
        total: Tensor | None = None
        for turn, engine in self.members:
            for part, values in engine.run(_turned(read, turn), turn.window(piece)):
                if total is None:
                    total = values.new_zeros((*values.shape[:2], *size_of(piece)))
                view(total, piece, turn.window_back(part)).add_(self._back(turn, values))
        assert total is not None, "pieces are not empty"
        return total.div_(len(self.members))

    def _back(self, turn: Turn, values: Tensor) -> Tensor:
        """Turn the answer (N, K, ...) to a turned image back."""
        if not self.flows:
            return turn.pixels_back(values)
        classes, flows = values.tensor_split([-len(FLOWS)], dim=1)
        return torch.cat([turn.pixels_back(classes), turn.flows_back(flows)], dim=1)


def context_px(network: Network) -> int:
    """Estimate how much an engine computes around a window beside it, on each side."""
    return round(receptive_field(network).halo * COMPUTED)


def _turned(read: Read, turn: Turn) -> Read:
    """Read from the turned image."""
    return lambda window: turn.pixels(read(turn.window_back(window)))


def _divided(interval: Interval, parts: int) -> list[Interval]:
    cuts = [interval.start + interval.length * number // parts for number in range(parts + 1)]
    return [Interval(*cut) for cut in pairwise(cuts)]
