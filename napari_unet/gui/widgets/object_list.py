"""The rows of the table of objects: as many as there are, and no widget for any of them."""

# No postponed annotations here: Qt's own signatures.

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_unet.gui.measuring import split_name, titled
from napari_unet.gui.object_table import Listed
from napari_unet.objects.listing import Rows

Column = tuple[str, str, str]
"""Key, title and what it says."""

_NO_PARENT = QModelIndex()
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CENTRE = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter


class ObjectList(QAbstractTableModel):  # type: ignore[misc]
    """What a table view shows of the objects, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = Listed()
        self.columns = columns_of(self.listed)
        self._order = np.zeros(0, np.intp)
        self._sorted: tuple[str, bool] = ("label", False)

    def show(self, listed: Listed) -> None:
        """Show other rows, in the order that was chosen."""
        self.beginResetModel()
        self.listed, self.columns = listed, columns_of(listed)
        self._order = self._ordered()
        self.endResetModel()

    def place(self, row: int) -> int:
        """Return the place of a row in the list of objects."""
        return int(self._order[row])

    def places(self, rows: list[int]) -> npt.NDArray[np.intp]:
        """Return the places of rows in the list of objects."""
        return self._order[rows]

    def row_of(self, t: int, label: int) -> int | None:
        """Return the row of an object; None if it is not there."""
        place = self.listed.rows.find(t, label)
        return None if place is None else int(np.flatnonzero(self._order == place)[0])

    def runs_of(self, keys: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the first and the last row of each run of rows that some objects are in, by time points and ids."""
        known, wanted = self.listed.rows, np.array(keys, np.int64).reshape(-1, 2)
        there = np.isin(known.t * 2**40 + known.label, wanted[:, 0] * 2**40 + wanted[:, 1])
        rows = np.flatnonzero(there[self._order])
        if not rows.size:
            return []
        breaks = np.flatnonzero(np.diff(rows) > 1)
        ends = zip(rows[np.r_[0, breaks + 1]].tolist(), rows[np.r_[breaks, rows.size - 1]].tolist(), strict=True)
        return list(ends)

    def keys(self, rows: list[int]) -> list[tuple[int, int]]:
        """Return time points and ids of some rows."""
        known = self.listed.rows
        return [(int(known.t[place]), int(known.label[place])) for place in self._order[rows]]

    def tsv(self, rows: list[int]) -> str:
        """Return some rows as a table of tab-separated values, with the titles above."""
        lines = ["\t".join(title.replace("-\n", "").replace("\n", " ") for _, title, _ in self.columns)]
        for row in rows:
            place = self.place(row)
            lines.append("\t".join(_exact(key, self.listed, place) for key, _, _ in self.columns))
        return "\n".join(lines) + "\n"

    def rowCount(self, parent: QModelIndex = _NO_PARENT) -> int:  # noqa: N802  # Qt's name
        """How many objects there are."""
        return 0 if parent.isValid() else int(self._order.size)

    def columnCount(self, parent: QModelIndex = _NO_PARENT) -> int:  # noqa: N802
        """How many columns there are."""
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401
        """Return what a cell shows."""
        if not index.isValid():
            return None
        key = self.columns[index.column()][0]
        if role == Qt.ItemDataRole.DisplayRole:
            return _short(key, self.listed, self.place(index.row()))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _CENTRE if key in {"reviewed", "slices"} else _RIGHT
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:  # noqa: ANN401
        """Return what a title shows."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self.columns):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section][1]
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.columns[section][2]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; objects that are equal there stay in the order of their ids."""
        self.layoutAboutToBeChanged.emit()
        kept = [(index, self.place(index.row())) for index in self.persistentIndexList()]
        self._sorted = (self.columns[column][0], order == Qt.SortOrder.DescendingOrder)
        self._order = self._ordered()
        rows = np.argsort(self._order)
        for index, place in kept:
            self.changePersistentIndex(index, self.index(int(rows[place]), index.column()))
        self.layoutChanged.emit()

    def _ordered(self) -> npt.NDArray[np.intp]:
        key, descending = self._sorted
        values = _sort_key(key, self.listed)
        return np.argsort(-values if descending else values, kind="stable")


def columns_of(listed: Listed) -> list[Column]:
    """Return the columns that say something about a list."""
    flat = listed.depth == 1
    unit = _unit(listed)[1]
    size = "Area" if flat else "Volume"
    columns = [("label", "Id", "Id of the object, which is the label that it is painted with")]
    if listed.times > 1:
        columns.append(("t", "Time", "Time point, from 0"))
    columns.append(("size", f"{size}\n{unit}", f"{size} in {'pixels' if unit == 'px' else unit}"))
    if not flat:
        columns.append(("slices", "Slices", "First and last slice, from 0"))
    if listed.channels:
        channel = f"\nch {listed.channel}" if listed.channels > 1 else ""
        columns.append(("mean", f"Mean{channel}", "Mean of the image over the object"))
    columns += [(name, _two_lines(name), f"{titled(name)}, measured") for name in listed.columns]
    if listed.judged:
        columns.append(("reviewed", "Reviewed", "Whether all of its pixels are reviewed, some, or none"))
    return columns


def _two_lines(name: str) -> str:
    r"""Title of a measured column; as short as it can be told.

    >>> _two_lines("area_um2"), _two_lines("mean_channel_1"), _two_lines("solidity")
    ('Area\nµm²', 'Mean\nch 1', 'Solidity')
    """
    text, unit = split_name(name)
    text = text.replace(" of channel ", "\nch ")
    return f"{text}\n{unit}" if unit else text


def _unit(listed: Listed) -> tuple[float, str]:
    """Return the size of a pixel in µm² or µm³, and the name of the unit."""
    z, y, x = listed.pixel_size.along("ZYX")
    if listed.depth == 1 and y is not None and x is not None:
        return y * x, "µm²"
    if listed.depth > 1 and z is not None and y is not None and x is not None:
        return z * y * x, "µm³"
    return 1.0, "px"


def _sort_key(key: str, listed: Listed) -> npt.NDArray[Any]:
    rows: Rows = listed.rows
    if key in listed.columns:
        return listed.measured[key]
    if key == "mean":
        return rows.total / np.maximum(rows.count, 1)
    if key == "reviewed":
        return rows.reviewed / np.maximum(rows.count, 1)
    if key == "slices":
        return rows.start[:, 0] * 2.0**32 + rows.stop[:, 0]
    if key == "t":
        return rows.t
    return rows.label if key == "label" else rows.count


def _short(key: str, listed: Listed, place: int) -> str:
    rows = listed.rows
    if key in listed.columns:
        measured = float(listed.measured[key][place])
        return "…" if math.isnan(measured) else _digits(measured)
    if key == "size":
        size, unit = _unit(listed)
        value = rows.count[place] * size
        return f"{value:,.0f}" if unit == "px" or value >= 1000 else _digits(value)
    if key == "mean":
        return _digits(float(rows.total[place] / rows.count[place]))
    if key == "slices":
        first, last = rows.start[place, 0], rows.stop[place, 0] - 1
        return f"{first}" if first == last else f"{first}–{last}"
    return _exact(key, listed, place)


def _exact(key: str, listed: Listed, place: int) -> str:
    rows = listed.rows
    if key in listed.columns:
        measured = float(listed.measured[key][place])
        return "" if math.isnan(measured) else f"{measured:.9g}"
    if key == "size":
        return f"{rows.count[place] * _unit(listed)[0]:.9g}"
    if key == "mean":
        return f"{rows.total[place] / rows.count[place]:.9g}"
    if key == "slices":
        return f"{rows.start[place, 0]}-{rows.stop[place, 0] - 1}"
    if key == "reviewed":
        seen, count = int(rows.reviewed[place]), int(rows.count[place])
        return "no" if not seen else "all" if seen == count else "partly"
    return str(int(rows.t[place] if key == "t" else rows.label[place]))


def _digits(value: float) -> str:
    """Write a number with about three digits.

    >>> _digits(12.345), _digits(0.01234), _digits(1234.5)
    ('12.3', '0.0123', '1,234')
    """
    if not value:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
