"""Measurements of the objects of a layer, worked out in a thread when they are wanted, and again after edits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_unet.axes import PixelSize
from napari_unet.gui.tasks import Aside, AsideThread
from napari_unet.imaging.image import Image
from napari_unet.objects.listing import Rows, Sources
from napari_unet.objects.measuring import Table, measure

Columns = Mapping[str, npt.NDArray[Any]]

_PAUSE_S = 0.7
_KEYS = ("label", "t")
_UNITS = {"px": "px", "um": "µm", "um2": "µm²", "um3": "µm³", "deg": "°"}
_TIME = 2**40


class Measuring:
    """Measures everything in one go, a moment after the last edit.

    Parameters
    ----------
    sources : Sources
    pixel_size : PixelSize

    Attributes
    ----------
    table : Table, optional
        What was measured last.
    """

    def __init__(self, sources: Sources, pixel_size: PixelSize) -> None:
        self._sources, self._size = sources, pixel_size
        self._thread: AsideThread | None = None
        self._due = math.inf
        self.table: Table | None = None

    @property
    def begun(self) -> bool:
        """Whether anybody has wanted measurements."""
        return self.table is not None or self.busy

    @property
    def busy(self) -> bool:
        """Whether there will be others soon."""
        return self._thread is not None or self._due < math.inf

    def begin(self) -> None:
        """Measure soon."""
        if not self.begun:
            self._due = 0

    def edited(self) -> None:
        """Measure again when nothing has been edited for a moment."""
        if self.begun:
            self._due = time.monotonic() + _PAUSE_S

    def poll(self) -> bool:
        """Go on; whether there is something new.

        Raises
        ------
        NapariUnetError
            If the image cannot be read.
        """
        thread = self._thread
        news = thread is not None and thread.done.is_set()
        if thread is not None and news:
            self._thread = None
            if thread.error is not None:
                raise thread.error
            self.table = thread.result
        if self._thread is None and time.monotonic() >= self._due:
            self._due = math.inf
            self._thread = AsideThread(Aside(self._measure))
            self._thread.start()
        return news

    def _measure(self) -> Table:
        """Measure a copy: the user may be painting, and a new id in the middle of it would be none of those counted."""
        return measure(np.array(self._sources.labels), self._size, self._sources.image)


@lru_cache
def columns_there(depth: int, channels: int, pixel_size: PixelSize) -> tuple[str, ...]:
    """Return the names of all columns that measuring gives.

    >>> columns_there(1, 1, PixelSize())[:2], "mean_channel_0" in columns_there(1, 1, PixelSize())
    (('area_px', 'equivalent_diameter_px'), True)
    """
    shape = (1, min(depth, 2), 1, 1)
    image = Image(np.zeros((channels, *shape[1:])), "CZYX") if channels else None
    return tuple(name for name in measure(np.zeros(shape, np.uint8), pixel_size, image) if name not in _KEYS)


def aligned(table: Table | None, names: Sequence[str], rows: Rows) -> Columns:
    """Return some columns in the order of a list of objects; NaN where an object has not been measured as it is now."""
    if table is None or not table["label"].size:
        return {name: np.full(rows.size, np.nan) for name in names}
    keys = table["t"].astype(np.int64) * _TIME + table["label"].astype(np.int64)
    wanted = rows.t * _TIME + rows.label
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    count = table["area_px"] if "area_px" in table else table["volume_px"]
    there = (keys[at] == wanted) & (count[at] == rows.count)
    nothing = np.full(keys.size, np.nan)
    return {name: np.where(there, table.get(name, nothing)[at], np.nan) for name in names}


def split_name(name: str) -> tuple[str, str]:
    """Return what a column is called, and its unit.

    >>> split_name("equivalent_diameter_um"), split_name("mean_channel_1"), split_name("solidity")
    (('Equivalent diameter', 'µm'), ('Mean of channel 1', ''), ('Solidity', ''))
    """
    stem, _, last = name.rpartition("_")
    words, unit = (stem, _UNITS[last]) if last in _UNITS else (name, "")
    text = words.replace("_channel_", " of channel ").replace("_", " ")
    return text[:1].upper() + text[1:], unit


def titled(name: str) -> str:
    """Return the title of a column in one line.

    >>> titled("area_um2")
    'Area (µm²)'
    """
    text, unit = split_name(name)
    return f"{text} ({unit})" if unit else text
