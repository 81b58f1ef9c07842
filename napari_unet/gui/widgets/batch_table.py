"""The list of images: what has become of each; a double click opens it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QModelIndex, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_unet.gui.batch_state import BatchRow
from napari_unet.gui.widgets.batch_list import BatchList

ROW_PX, MIN_HEIGHT_PX, STATUS_PX = 22, 140, 150
_OPENS = {Qt.Key.Key_Return, Qt.Key.Key_Enter}


class BatchTable(QTableView):  # type: ignore[misc]
    """A row for each image.

    Parameters
    ----------
    open_row : callable
        Is given the number of a row that is double-clicked, or on which Enter is pressed.
    choose_row : callable
        Is given the row that is chosen, or None.
    """

    def __init__(self, open_row: Callable[[int], None], choose_row: Callable[[BatchRow | None], None]) -> None:
        super().__init__()
        self._open_row, self._choose_row = open_row, choose_row
        self.list = BatchList()
        self.setObjectName("objects")
        self.setModel(self.list)
        self.setMinimumHeight(MIN_HEIGHT_PX)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setAlternatingRowColors(True)
        self.setTabKeyNavigation(False)  # Tab leads on to the next widget
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        self.doubleClicked.connect(self._open)
        self.selectionModel().currentRowChanged.connect(self._tell)
        self.installEventFilter(self)

    def show_rows(self, rows: tuple[BatchRow, ...]) -> None:
        """Show other rows; the one that is running stays in sight, as long as none is chosen."""
        self.list.show(rows)
        running = next((number for number, row in enumerate(rows) if row.status == "running"), None)
        if running is not None and not self.currentIndex().isValid():
            self.scrollTo(self.list.index(running, 0))
        self._tell()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Open the chosen image with Enter."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and event.key() in _OPENS:
            self._open(self.currentIndex())
            return True
        return bool(super().eventFilter(watched, event))

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            self._open_row(index.row())

    def _tell(self, *_: QModelIndex) -> None:
        index = self.currentIndex()
        self._choose_row(self.list.rows[index.row()] if index.isValid() else None)
