"""What every engine is: it runs a network over windows of one plane or volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from napari_unet.inference.exact.intervals import Window

Read = Callable[[Window], Tensor]
"""From a window of the image, on the network's grid, to its pixels (N, C, *size of the window) float32."""


@dataclass(frozen=True, slots=True)
class Seam:
    """By how much windows that overlap differ in their probabilities, where they overlap.

    Attributes
    ----------
    mean : float
        Mean standard deviation between the windows that show a pixel.
    high : float
        Of the hundredth of the pixels where they differ most, the smallest.
    """

    mean: float
    high: float


class Engine(Protocol):
    """Runs a network over windows of a plane (2D networks) or a volume (3D ones).

    Where a network is 2D, several planes may be run at once: they are the N of what is read.
    """

    @property
    def exact(self) -> bool:
        """Whether the result equals one forward pass over the whole image."""
        ...

    @property
    def seam(self) -> Seam | None:
        """How well windows fit together so far; None where they do so exactly."""
        ...

    def pieces(self, window: Window) -> list[Window]:
        """Say which windows `run` will yield, in order; they partition `window`."""
        ...

    def run(self, read: Read, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Compute a window of the whole, piece by piece.

        Yields
        ------
        piece, probabilities : Window, (N, K, *size of the piece) float32
            On the engine's device.

        Raises
        ------
        PrecisionError
            If the numbers become too large for the arithmetic.
        MemoryError, RuntimeError
            If memory runs out, see `napari_unet.errors.is_out_of_memory`.
        """
        ...
