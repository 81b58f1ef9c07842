"""Where tiles of probabilities are put together, on the grid of the image that was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.image import from_canonical
from napari_unet.imaging.rescaling import interpolate, positions
from napari_unet.inference.tiles import Region, Tile

Floats = npt.NDArray[np.float32]


class Reordered:
    """An array with the class first and then the user's axes, written as (K, T, Z, Y, X).

    Parameters
    ----------
    array : numpy or Zarr array
        (class, *axes).
    axes : str
        Of the image without C, in the user's order.
    """

    def __init__(self, array: Any, axes: str) -> None:  # noqa: ANN401
        self.array, self.axes = array, f"C{axes}"

    def __setitem__(self, key: tuple[Any, ...], values: Floats) -> None:
        """Write (K, Z, Y, X) values at [:, t, z, y, x]."""
        classes, t, z, y, x = key
        wanted = {"C": classes, "T": slice(t, t + 1), "Z": z, "Y": y, "X": x}
        self.array[tuple(wanted[axis] for axis in self.axes)] = from_canonical(values[None], self.axes)


@dataclass(slots=True)
class _Pending:
    """A rescaled plane that is not complete yet."""

    buffer: Floats
    missing: int


@dataclass(slots=True)
class Canvas:
    """Takes tiles in the network's grid and writes them in the image's.

    Attributes
    ----------
    out : array written as (K, T, Z, Y, X)
        Of the window's size.
    window : slices along T, Z, Y, X
        In the image.
    scaled_window : slices along Z, Y, X
        In the network's grid; covers the window.
    old, new : (Y, X) sizes
        Of the image and of the network's grid.
    tiles_per_plane : int
    """

    out: Any
    window: Region
    scaled_window: Region
    old: tuple[int, int]
    new: tuple[int, int]
    tiles_per_plane: int
    pending: dict[tuple[int, int], _Pending] = field(default_factory=dict)

    def write(self, t: int, tile: Tile, values: Floats) -> None:
        """Put what is written of a tile of time point `t`, (K, Z, Y, X), in its place."""
        if self.old == self.new:
            where = (_shift(w, start.start) for w, start in zip(tile.write, self.window[1:], strict=True))
            self.out[(slice(None), t - self.window[0].start, *where)] = values
            return
        key = (t, tile.write[0].start)
        if key not in self.pending:
            sides = (part.stop - part.start for part in self.scaled_window[1:])
            self.pending[key] = _Pending(np.empty((*values.shape[:2], *sides), np.float32), self.tiles_per_plane)
        plane = self.pending[key]
        y, x = (_shift(w, part.start) for w, part in zip(tile.write[1:], self.scaled_window[1:], strict=True))
        plane.buffer[:, :, y, x] = values
        plane.missing -= 1
        if not plane.missing:
            self._finish(t, tile.write[0], self.pending.pop(key).buffer)

    def _finish(self, t: int, z: slice, buffer: Floats) -> None:
        """Resample a complete plane to the image's grid."""
        for axis in (0, 1):
            wanted, start = self.window[2 + axis], self.scaled_window[1 + axis].start
            places = positions(wanted, old=self.new[axis], new=self.old[axis]) - start
            buffer = interpolate(buffer, places, axis=2 + axis)
        self.out[:, t - self.window[0].start, _shift(z, self.window[1].start)] = buffer

    def region(self, t: int, tile: Tile) -> tuple[tuple[int, int], ...]:
        """Write region of a tile in T, Z, Y and X of the image."""
        y, x = (
            (part.start * old // new, min(old, -(-part.stop * old // new)))
            for part, old, new in zip(tile.write[1:], self.old, self.new, strict=True)
        )
        z = tile.write[0]
        return ((t, t + 1), (z.start, z.stop), y, x)


def _shift(part: slice, origin: int) -> slice:
    return slice(part.start - origin, part.stop - origin)
