"""From pieces on the network's grid to blocks on the image's grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.chunks import Chunks
from napari_unet.imaging.image import from_canonical
from napari_unet.imaging.rescaling import interpolate, positions
from napari_unet.inference.exact.intervals import Interval, Window, size_of

Block = npt.NDArray[Any]
Placed = tuple[Window, Block]
"""A window of the image along T, Z, Y, X, and the probabilities (K, Z, Y, X) there."""

# Rescaled slabs are held until they are complete, and so must not be large.
MOST_RESCALED_PX = {2: 2**22, 3: 2**23}
# To interpolate, one neighbour is needed; one more makes up for rounding.
MARGIN_PX = 2


class Reordered:
    """An array with the class first and then the user's axes, written as (K, T, Z, Y, X).

    Parameters
    ----------
    array : numpy or Zarr array
        (class, *axes).
    axes : str
        Of the image without C, in the user's order.
    classes : int, optional
        How many of the outputs are written; all by default.
    """

    def __init__(self, array: Any, axes: str, classes: int | None = None) -> None:  # noqa: ANN401
        self.array, self.axes, self.classes = array, f"C{axes}", classes

    def put(self, window: Window, values: Block) -> None:
        """Write (K, T, Z, Y, X) values to a window along T, Z, Y and X."""
        wanted = {"C": slice(None), **{axis: slice(*part) for axis, part in zip("TZYX", window, strict=True)}}
        place = tuple(wanted[axis] for axis in self.axes)
        self.array[place] = from_canonical(values[: self.classes].swapaxes(0, 1), self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def chunks(self) -> Chunks | None:
        """What should be written at once, along T, Z, Y and X; None where nothing is gained by it."""
        found = Chunks.of(self.array)
        if found is None:
            return None
        along = {"T": (0, 1), "Z": (0, 1), **dict(zip(self.axes, found.cuts, strict=True))}
        itemsize = self.dtype.itemsize * int(self.array.shape[0])
        return Chunks(tuple(along[axis] for axis in "TZYX")).grown(itemsize, (3,))


@dataclass(frozen=True, slots=True)
class Grids:
    """The plane of the image and that of the network, which may be a rescaled one.

    Attributes
    ----------
    image, network : (Y, X) sizes
    """

    image: tuple[int, int]
    network: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether nothing has to be rescaled."""
        return self.image == self.network

    def on_network(self, plane: Window) -> Window:
        """Return the window (Y, X) of the network's grid from which one of the image can be interpolated."""
        if self.same:
            return plane
        sides = zip(plane, self.image, self.network, strict=True)
        return tuple(
            Interval(max(0, part.start * new // old - MARGIN_PX), min(new, -(-part.stop * new // old) + MARGIN_PX))
            for part, old, new in sides
        )


@dataclass(slots=True)
class Canvas:
    """Takes the pieces of a slab on the network's grid, and gives blocks on that of the image.

    Attributes
    ----------
    slab : Window along T, Z, Y, X
        On the image's grid.
    grids : Grids
    """

    slab: Window
    grids: Grids
    _buffer: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    _missing: int = 0

    def place(self, piece: Window, values: Block) -> list[Placed]:
        """Return what can be written now.

        Parameters
        ----------
        piece : Window along Z, Y, X
            On the network's grid.
        values : (K, Z, Y, X)
        """
        if self.grids.same:
            return [((self.slab[0], *piece), values)]
        window = (self.slab[1], *self.grids.on_network(self.slab[2:]))
        if self._buffer is None:
            self._buffer = np.empty((len(values), *size_of(window)), np.float32)
            self._missing = self._buffer[0].size
        where = (slice(i.start - j.start, i.stop - j.start) for i, j in zip(piece, window, strict=True))
        self._buffer[(slice(None), *where)] = values
        self._missing -= values[0].size
        if self._missing:
            return []
        complete, self._buffer = self._buffer, None
        return [(self.slab, self._on_image(complete, window[1:]))]

    def _on_image(self, values: Block, window: Window) -> Block:
        """Interpolate linearly along Y and X."""
        for axis, (wanted, here) in enumerate(zip(self.slab[2:], window, strict=True)):
            places = positions(slice(*wanted), old=self.grids.network[axis], new=self.grids.image[axis]) - here.start
            values = interpolate(values, places, axis=2 + axis)
        return values
