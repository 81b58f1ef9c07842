"""The list of models, in groups that fold, with a search above it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QLineEdit, QTreeWidget, QTreeWidgetItem

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import Listed, ModelChoice, Shelf
from napari_unet.gui.widgets.base import Step, sentence, silent

HEIGHT_PX = 216
LISTED = Qt.ItemDataRole.UserRole


class ModelShelves(Step):
    """Search, choose a model, or open a file that was opened before or lies in the user's folder."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search models…")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Shows the models whose name or description has all of these words")
        self.search.textChanged.connect(self._filter)
        self.tree = QTreeWidget()
        self.tree.setObjectName("models")
        self.tree.setToolTip("Models with weights first, then new ones that have to be trained")
        self.tree.setHeaderHidden(True)
        self.tree.setIndentation(14)
        self.tree.setUniformRowHeights(True)
        self.tree.setFixedHeight(HEIGHT_PX)
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.tree.itemClicked.connect(self._choose)
        self.tree.itemActivated.connect(self._choose)
        self.nothing = sentence("No model has these words. Open a file, or search for something else.")
        self.nothing.hide()
        self.add(self.search, self.tree, self.nothing)
        self.bind(self._fill, "shelves")
        self.bind(self._mark, "model")

    def item(self, title: str) -> QTreeWidgetItem | None:
        """Find the first entry with a title."""
        return next((item for item in self._items() if item.data(0, LISTED).title == title), None)

    def _fill(self) -> None:
        open_now = {shelf.text(0): shelf.isExpanded() for shelf in self._shelves()}
        with silent(self.tree):
            self.tree.clear()
            for shelf in self.state.shelves:
                made = _shelf_item(shelf)
                self.tree.addTopLevelItem(made)
                made.setExpanded(open_now.get(shelf.title, not shelf.folded))
        self._filter()
        self._mark()

    def _mark(self) -> None:
        """Highlight the chosen model; a new one is known by its variant."""
        chosen = self.state.model
        with silent(self.tree):
            self.tree.setCurrentItem(None)
            for item in self._items():
                if _is(item.data(0, LISTED), chosen):
                    parent = item.parent()
                    if parent is not None:
                        parent.setExpanded(True)
                    self.tree.setCurrentItem(item)
                    self.tree.scrollToItem(item)
                    return

    def _filter(self) -> None:
        words = self.search.text().lower().split()
        for shelf in self._shelves():
            items = [shelf.child(number) for number in range(shelf.childCount())]
            shown = [item for item in items if _has(item.data(0, LISTED), words)]
            for item in items:
                item.setHidden(item not in shown)
            shelf.setHidden(not shown)
            if words and shown:
                shelf.setExpanded(True)
        self.nothing.setVisible(bool(words) and all(shelf.isHidden() for shelf in self._shelves()))

    def _choose(self, item: QTreeWidgetItem) -> None:
        listed = item.data(0, LISTED)
        if not isinstance(listed, Listed):
            item.setExpanded(not item.isExpanded())
        elif listed.choice is None:
            self.controller.opening.open_file(listed.path)
        elif not listed.choice.same_as(self.state.model):
            self.controller.opening.choose(listed.choice)

    def _shelves(self) -> list[QTreeWidgetItem]:
        return [self.tree.topLevelItem(number) for number in range(self.tree.topLevelItemCount())]

    def _items(self) -> list[QTreeWidgetItem]:
        return [shelf.child(number) for shelf in self._shelves() for number in range(shelf.childCount())]


def _shelf_item(shelf: Shelf) -> QTreeWidgetItem:
    made = QTreeWidgetItem([shelf.title])
    made.setToolTip(0, shelf.tip)
    made.setFlags(Qt.ItemFlag.ItemIsEnabled)
    font = made.font(0)
    font.setBold(True)
    made.setFont(0, font)
    for listed in shelf.items:
        item = QTreeWidgetItem([listed.title])
        item.setToolTip(0, listed.tip or listed.title)
        item.setData(0, LISTED, listed)
        made.addChild(item)
    return made


def _is(listed: Listed, chosen: ModelChoice | None) -> bool:
    return listed.choice is not None and listed.choice.same_as(chosen)


def _has(listed: Listed, words: list[str]) -> bool:
    text = f"{listed.title} {listed.tip}".lower()
    return all(word in text for word in words)
