"""The values of a time point: all of them in one pass, or ever larger samples."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_unet.imaging.distributions import Distribution, Floats, Pile, Sampled, Tally
from napari_unet.imaging.image import Image
from napari_unet.imaging.sampling import Cells, Region, cut, thin

# Time points of more values are sampled, unless they are in memory and can be counted.
WHOLE_PX = 2**24
# What is read at once of a whole one.
PIECE_PX = 2**20
# A sample: cells of so many pixels or one chunk, as many as one pass may read but within these bounds, and so many
# values of all; twice, it may be doubled.
CELL_PX = 2**16
READ_PX = 2**25
FEWEST_CELLS, MOST_CELLS = 8, 256
KEPT_PX = 2**21
DOUBLINGS = 2


class Readable(Protocol):
    """What is needed of an image: its name, its sizes, its type, its chunks and its regions."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def sizes(self) -> dict[str, int]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def chunks(self) -> dict[str, int]: ...  # noqa: D102
    def read(  # noqa: D102
        self, t: int, z: slice, y: slice, x: slice, channels: Sequence[int] | None = None
    ) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at.

    Attributes
    ----------
    image : Readable
    channels : sequence of int, optional
    reduce : (C, ...) -> (C', ...) float32
        What is done to the pixels before.
    outputs : int
        How many channels that gives.
    by_value : bool
        Whether it does the same to each channel, and keeps or turns round the order of the values.
    """

    image: Readable
    channels: Sequence[int] | None
    reduce: Callable[[npt.NDArray[Any]], Floats]
    outputs: int
    by_value: bool

    @property
    def countable(self) -> bool:
        """Whether the values can be counted one by one."""
        kind = self.image.dtype
        return self.by_value and isinstance(self.image, Image) and kind.kind in {"b", "i", "u"} and kind.itemsize <= 2

    def read(self, t: int, region: Region) -> npt.NDArray[Any]:
        """Read a region (C, Z, Y, X)."""
        return self.image.read(t, *region, self.channels)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The values that were seen.

    Attributes
    ----------
    distributions : function
        Of the finite values of each channel, or of one that all channels share. After it was called for all channels,
        it knows single ones no more.
    unknown : int
        How many values are no finite number.
    share : float
        Of the pixels that were looked at.
    """

    distributions: Callable[[bool], Sequence[Distribution]]
    unknown: int
    share: float


def gather(look: Look, t: int) -> Iterator[Gathered]:
    """Yield all values of a time point, or a sample and then larger ones, as long as they are asked for.

    At most `WHOLE_PX` values are held, and one piece or chunk of the image.
    """
    image = look.image
    count = image.sizes["Z"] * image.sizes["Y"] * image.sizes["X"]
    inputs = image.sizes["C"] if look.channels is None else len(look.channels)
    cells = cut(image.sizes, image.chunks, CELL_PX)
    wanted = min(MOST_CELLS, max(FEWEST_CELLS, READ_PX // math.prod(cells.side)))
    if look.countable and (_is_in_memory(image) or len(cells) <= 2 * wanted):
        yield _counted(look, t)
    elif inputs * count <= WHOLE_PX:
        yield _listed(look, t, count)
    else:
        yield from _sampled(look, t, cells, wanted)


def _is_in_memory(image: Readable) -> bool:
    """Whether nothing has to be read or computed."""
    part = getattr(image, "array", None)
    if not isinstance(part, np.ndarray):
        return False
    while isinstance(part, np.ndarray):
        if isinstance(part, np.memmap):
            return False
        part = part.base
    return not isinstance(part, mmap.mmap)


def _counted(look: Look, t: int) -> Gathered:
    tally = Tally(look.outputs, look.image.dtype)
    for region in cut(look.image.sizes, look.image.chunks, PIECE_PX):
        tally.add(look.read(t, region))
    reduced = look.reduce(tally.values[None])[0]
    return Gathered(lambda shared: tally.distributions(reduced, shared=shared), 0, 1.0)


def _listed(look: Look, t: int, count: int) -> Gathered:
    pile = Pile(look.outputs, count)
    for region in cut(look.image.sizes, look.image.chunks, PIECE_PX):
        pile.add(look.reduce(look.read(t, region)))
    return Gathered(lambda shared: pile.distributions(shared=shared), pile.unknown, 1.0)


def _sampled(look: Look, t: int, cells: Cells, wanted: int) -> Iterator[Gathered]:
    """Look at `wanted` cells, then at twice as many, and so on; at all where that is little more."""
    kept = max(2**8, KEPT_PX // (wanted * look.outputs))
    seen: dict[int, Floats] = {}
    coming = cells.spread()
    for _ in range(1 + DOUBLINGS):
        more = wanted if len(seen) + 2 * wanted < len(cells) else len(cells)
        for place, region in islice(coming, more):
            seen[place] = look.reduce(thin(look.read(t, region), kept)).reshape(look.outputs, -1)
        yield _of_cells(seen, cells)
        if len(seen) == len(cells):
            return
        wanted = len(seen)


def _of_cells(seen: dict[int, Floats], cells: Cells) -> Gathered:
    """Return what was seen in cells (C, n), by their place along the curve."""
    values = [seen[place] for place in sorted(seen)]
    unknown = sum(cell.size - int(np.isfinite(cell).sum()) for cell in values)
    share = sum(cell.shape[1] for cell in values) / math.prod(cells.size)

    def distributions(shared: bool) -> list[Distribution]:
        rows = [cell.reshape(1, -1) for cell in values] if shared else values
        return [Sampled([row[k][np.isfinite(row[k])] for row in rows], len(cells), share) for k in range(len(rows[0]))]

    return Gathered(distributions, unknown, share)
