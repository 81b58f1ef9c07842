"""Slices of a stack that are shown together with those before and behind them, as further channels ("2.5D")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.imaging.gathering import Readable
    from napari_unet.imaging.statistics import Statistics

Block = TypeVar("Block", npt.NDArray[Any], "Tensor")


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """What is read of a stack so that each of some slices is shown with its neighbours.

    Where a neighbour is missing, before the first slice and behind the last one, the nearest slice takes its place.

    Attributes
    ----------
    read : slice
        Along Z, of the stack.
    places : (S, Z) integer
        Where in what was read the S slices lie that each of the Z slices is shown with, in the order of the stack.
    """

    read: slice
    places: npt.NDArray[np.intp]

    @classmethod
    def of(cls, z: slice, depth: int, count: int) -> Neighbours:
        """Find the neighbours of the slices `z`.

        Parameters
        ----------
        z : slice
            With start and stop.
        depth : int
            Of the stack.
        count : int
            How many slices are shown for each, itself included; odd.

        >>> shown = Neighbours.of(slice(0, 2), depth=4, count=3)
        >>> shown.read, shown.places.tolist()
        (slice(0, 3, None), [[0, 0], [0, 1], [1, 2]])
        """
        offsets = np.arange(count) - count // 2
        nearest = np.clip(np.arange(z.start, z.stop) + offsets[:, None], 0, depth - 1)
        first = int(nearest.min())
        return cls(slice(first, int(nearest.max()) + 1), nearest - first)

    @property
    def own(self) -> slice:
        """Where the slices themselves lie in what was read."""
        own = self.places[len(self.places) // 2]
        return slice(int(own[0]), int(own[-1]) + 1)

    def stacked(self, block: Block) -> Block:
        """Make the neighbours of each slice its channels: all channels of the first one, then those of the next.

        Parameters
        ----------
        block : (C, Z read, Y, X)

        Returns
        -------
        (S · C, Z, Y, X)
            The block itself if each slice is shown alone.
        """
        shown, slices = self.places.shape
        if shown == 1:
            return block
        found = block[:, self.places].swapaxes(0, 1)  # (S, C, Z, Y, X)
        return found.reshape(-1, slices, *block.shape[2:])


def read_shown(
    image: Readable, statistics: Statistics, place: tuple[int, slice, slice, slice], channels: Sequence[int], count: int
) -> npt.NDArray[np.float32]:
    """Read a window of an image as a network sees it: normalized, each slice with its neighbours.

    Parameters
    ----------
    image : Readable
    statistics : Statistics
        Normalize it.
    place : (t, z, y, x)
        The window.
    channels : sequence of int
        That are read.
    count : int
        How many slices are shown for each, itself included.

    Returns
    -------
    (count · C', Z, Y, X) float32
    """
    t, z, y, x = place
    near = Neighbours.of(z, image.sizes["Z"], count)
    return near.stacked(statistics.normalize(image.read(t, near.read, y, x, channels), t))
