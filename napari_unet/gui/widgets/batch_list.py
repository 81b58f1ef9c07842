"""The rows of the list of images: as many as there are, and no widget for any of them."""

# No postponed annotations here: Qt's own signatures.

from typing import Any, assert_never

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_unet.gui.batch_state import BatchRow
from napari_unet.gui.progress import percent

TITLES = ("Image", "Status")
_NO_PARENT = QModelIndex()
_OPEN = "Double-click to open it in the viewer, with its masks as corrections"


class BatchList(QAbstractTableModel):  # type: ignore[misc]
    """What a table view shows of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[BatchRow, ...] = ()

    def show(self, rows: tuple[BatchRow, ...]) -> None:
        """Show other rows; where they are the same images, only what has changed is drawn."""
        former = self.rows
        if [row.path for row in rows] != [row.path for row in former]:
            self.beginResetModel()
            self.rows = rows
            self.endResetModel()
            return
        self.rows = rows
        changed = [number for number, (old, new) in enumerate(zip(former, rows, strict=True)) if old != new]
        if changed:
            self.dataChanged.emit(self.index(changed[0], 0), self.index(changed[-1], len(TITLES) - 1))

    def rowCount(self, parent: QModelIndex = _NO_PARENT) -> int:  # noqa: N802  # Qt's name
        """How many images there are."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex = _NO_PARENT) -> int:  # noqa: N802
        """How many columns there are."""
        return 0 if parent.isValid() else len(TITLES)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401
        """Return what a cell shows."""
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.name if index.column() == 0 else status_in_words(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(part for part in (row.path, row.text, _OPEN) if part)
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:  # noqa: ANN401
        """Return what a title shows."""
        horizontal = orientation == Qt.Orientation.Horizontal and section < len(TITLES)
        return TITLES[section] if horizontal and role == Qt.ItemDataRole.DisplayRole else None


def status_in_words(row: BatchRow) -> str:
    """Say briefly what has become of an image.

    >>> status_in_words(BatchRow(name="a", path="a.tif", status="done", objects=1))
    'done · 1 object'
    """
    match row.status:
        case "waiting":
            return "waiting"
        case "running":
            return f"running {percent(row.share)}" if row.share else "running"
        case "done":
            return f"done{_counted(row)}"
        case "skipped":
            return f"done before{_counted(row)}"
        case "failed":
            return f"failed: {row.text}"
        case _:
            assert_never(row.status)


def _counted(row: BatchRow) -> str:
    return "" if row.objects is None else f" · {row.objects:,} object{'s' if row.objects != 1 else ''}"
