"""The table of objects: click a row to go there, click an object to find its row."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QItemSelection, QItemSelectionModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QFileDialog, QHeaderView, QTableView

from napari_unet.gui.controller import Controller
from napari_unet.gui.object_table import Listed, ObjectTable
from napari_unet.gui.widgets.base import Step, button, say, sentence, silent
from napari_unet.gui.widgets.column_menu import ColumnMenu
from napari_unet.gui.widgets.object_list import ObjectList
from napari_unet.gui.widgets.object_plot import ObjectPlot

ROW_PX = 22
MOST_ABREAST = 6
_DELETE = "Delete the chosen objects (Del); Ctrl+Z takes it back"
_ROWS = QItemSelectionModel.SelectionFlag.Rows


class ObjectTableView(Step):
    """All objects of the correction layer, or of the prediction where there is none."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.table = controller.objects
        self.list = ObjectList()
        self.count = sentence(name="facts")
        self.channel = QComboBox()
        self.channel.setToolTip("The channel of the image whose mean is listed")
        self.channel.currentIndexChanged.connect(self.table.choose_channel)
        self.view = self._make_view()
        self.copy = button("Copy", "Copy the chosen rows, or all, as a table (Ctrl+C)", self.copy_rows)
        self.remove = button("Delete", _DELETE, self.delete_rows)
        self.columns = button("Columns", "Choose what is measured and listed", lambda: None)
        self.menu = ColumnMenu(self.columns, self.table.choose_columns)
        self.plotting = button("Plot", "Show how a measurement is distributed, or one against another", lambda: None)
        self.plotting.setCheckable(True)
        self.save = button("Save as…", "Save all measurements of all objects as CSV or Parquet", self._save)
        self.plot = ObjectPlot(controller, self._go_to_place)
        self.plotting.toggled.connect(self.plot.open)
        self.add(self.count, self.channel)
        self.add_row(self.columns, self.plotting, self.save)
        self.column.addWidget(self.plot)
        self.column.addWidget(self.view, 1)
        self.add_row(self.copy, self.remove)
        self.table.listed.connect(self._show)
        self.table.picked.connect(self.find)
        self.table.open()
        # Python may keep the widget for a while after Qt has deleted it.
        table, show, find = self.table, self._show, self.find
        self.destroyed.connect(lambda: _leave(table, show, find))

    def find(self, t: int, label: int) -> None:
        """Choose the row of an object and scroll to it."""
        row = self.list.row_of(t, label)
        if row is None:
            return
        index = self.list.index(row, 0)
        if not self.view.selectionModel().isRowSelected(row, QModelIndex()):
            self._quietly(index)
        self.view.scrollTo(index)

    def rows(self) -> list[int]:
        """Return the rows that are chosen, from the top."""
        ranges = self.view.selectionModel().selection()
        return sorted({row for part in ranges for row in range(part.top(), part.bottom() + 1)})

    def copy_rows(self) -> None:
        """Put the chosen rows, or all if there are none, on the clipboard."""
        rows = self.rows() or list(range(self.list.rowCount()))
        QGuiApplication.clipboard().setText(self.list.tsv(rows))
        self.state.tell(f"Copied {len(rows):,} row{'s' if len(rows) != 1 else ''}.")

    def delete_rows(self) -> None:
        """Delete the chosen objects."""
        self.table.delete([self.list.place(row) for row in self.rows()])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  # Qt's name
        """Take the keys that mean something in a table."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.matches(QKeySequence.StandardKey.Copy):
                self.copy_rows()
                return True
            if event.key() in {Qt.Key.Key_Delete, Qt.Key.Key_Backspace}:
                self.delete_rows()
                return True
        return bool(super().eventFilter(watched, event))

    def set_theme(self, theme: str) -> None:
        """Draw the plot in the colours of a theme."""
        self.plot.set_theme(theme)

    def _save(self) -> None:
        suggested = f"{self.list.listed.title} objects.csv"
        path, _ = QFileDialog.getSaveFileName(self, "Save", suggested, "CSV (*.csv);;Parquet (*.parquet)")
        if path:
            self.controller.exporting.save_table(path, self.table.layer_id)

    def _go_to_place(self, place: int) -> None:
        rows = self.list.listed.rows
        if place < rows.size:
            self.find(int(rows.t[place]), int(rows.label[place]))
            self.table.leap(place)

    def _make_view(self) -> QTableView:
        view = QTableView()
        view.setObjectName("objects")
        view.setModel(self.list)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setShowGrid(False)
        view.setWordWrap(False)
        view.setAlternatingRowColors(True)
        view.verticalHeader().hide()
        view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        view.verticalHeader().setDefaultSectionSize(ROW_PX)
        header = view.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(34)
        header.setHighlightSections(False)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        view.setSortingEnabled(True)
        view.clicked.connect(self._go)
        view.installEventFilter(self)
        selection = view.selectionModel()
        selection.currentRowChanged.connect(self._on_current)
        selection.selectionChanged.connect(self._say_count)
        return view

    def _go(self, index: QModelIndex) -> None:
        self.table.leap(self.list.place(index.row()))

    def _on_current(self, index: QModelIndex, _before: QModelIndex) -> None:
        """Follow the arrow keys; a click is followed when the button is up again."""
        pressed = QGuiApplication.mouseButtons() != Qt.MouseButton.NoButton
        if index.isValid() and not pressed:
            self._go(index)

    def _quietly(self, index: QModelIndex) -> None:
        """Choose one row without going there: the user is there."""
        model = self.view.selectionModel()
        with silent(model):
            model.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect | _ROWS)
        self.view.viewport().update()
        self._say_count()

    def _show(self, listed: Listed) -> None:
        chosen, current = self.list.keys(self.rows()), self.view.currentIndex()
        current_key = self.list.keys([current.row()]) if current.isValid() else []
        top = self.view.verticalScrollBar().value()
        columns = self.list.columns
        self.list.show(listed)
        self.menu.offer(listed.there, listed.columns)
        if self.list.columns != columns:
            self._show_channels(listed)
            self._fit_columns()
        self._choose_again(chosen, current_key)
        self.view.verticalScrollBar().setValue(top)
        self._say_count()

    def _choose_again(self, chosen: list[tuple[int, int]], current: list[tuple[int, int]]) -> None:
        selection, last = QItemSelection(), self.list.columnCount() - 1
        for first, final in self.list.runs_of(chosen):
            selection.select(self.list.index(first, 0), self.list.index(final, last))
        model = self.view.selectionModel()
        with silent(model):
            for key in current:
                at = self.list.row_of(*key)
                if at is not None:
                    model.setCurrentIndex(self.list.index(at, 0), QItemSelectionModel.SelectionFlag.NoUpdate)
            model.select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def _fit_columns(self) -> None:
        """Let the columns share the width, if they are few; the title of the last one is the longest."""
        header, last = self.view.horizontalHeader(), self.list.columnCount() - 1
        many = last >= MOST_ABREAST
        on = Qt.ScrollBarPolicy.ScrollBarAsNeeded if many else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.view.setHorizontalScrollBarPolicy(on)
        header.setResizeContentsPrecision(0)  # by what is on the screen, not by all rows
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents if many else QHeaderView.ResizeMode.Stretch)
        if self.list.columns[last][0] == "reviewed":
            header.setSectionResizeMode(last, QHeaderView.ResizeMode.ResizeToContents)

    def _show_channels(self, listed: Listed) -> None:
        with silent(self.channel):
            self.channel.clear()
            self.channel.addItems([f"Mean of channel {number}" for number in range(listed.channels)])
            self.channel.setCurrentIndex(listed.channel)
        self.channel.setVisible(listed.channels > 1)

    def _say_count(self) -> None:
        rows = self.rows()
        listed, chosen = self.list.listed, len(rows)
        self.table.choose(self.list.places(rows))
        self.plot.show_objects(listed, self.list.places(rows))
        count = self.list.rowCount()
        if not listed.title:
            say(self.count, "Segment an image, or start correcting: then its objects are listed here.")
        else:
            objects = f"{count:,} object{'s' if count != 1 else ''} in “{listed.title}”"
            more = f", {chosen:,} chosen" if chosen else ""
            say(self.count, f"{objects}{more}{'' if listed.complete else ', looking for more…'}")
        for one in (self.copy, self.columns, self.plotting):
            one.setEnabled(count > 0)
        self.save.setEnabled(count > 0 and not self.state.busy)
        self.remove.setEnabled(chosen > 0 and listed.editable)
        reason = "" if listed.editable else "Press “Start correcting” first: a prediction itself stays as it is"
        self.remove.setToolTip(reason or (_DELETE if chosen else "Choose rows first"))


def _leave(table: ObjectTable, show: Callable[[Listed], None], find: Callable[[int, int], None]) -> None:
    """Stop listing for a widget that is gone."""
    table.listed.disconnect(show, missing_ok=True)
    table.picked.disconnect(find, missing_ok=True)
    table.leave()
