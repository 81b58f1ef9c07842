"""How to save or share a model: in which format, and for a package who made it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_unet.export.package.card import LICENSES, PackageCard, description_of, title_of
from napari_unet.export.sharing import FORMATS, SUFFIXES, Format, ShareOptions
from napari_unet.gui.controller import Controller
from napari_unet.gui.sharing import Habits
from napari_unet.gui.widgets.base import MARGIN, SPACING, add_to_form, button, form_layout, heading, say

_TITLES: dict[Format, str] = {
    "model": "napari-unet model",
    "package": "bioimage.io package",
    "torchscript": "TorchScript",
    "onnx": "ONNX",
}
_WIDTH_PX = 460
# Under the words of a radio button, and not under its circle.
_INDENT_PX = 22


class ShareDialog(QDialog):  # type: ignore[misc]
    """Choose a format, say who made the model, and save.

    Parameters
    ----------
    controller : Controller
    parent : QWidget
        Whose style it shares.
    """

    def __init__(self, controller: Controller, parent: QWidget) -> None:
        super().__init__(parent)
        self._controller, self._sharing = controller, controller.sharing
        self.setWindowTitle("Save or share the model")
        self.setMinimumWidth(_WIDTH_PX)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._group = QButtonGroup(self)
        self.formats = {kind: self._format(kind) for kind in FORMATS}
        self.authors = QLineEdit()
        self.authors.setToolTip("Who made the model; commas between several")
        self.authors.setPlaceholderText("Ada Author, Ben Other")
        self.name, self.description = QLineEdit(), QLineEdit()
        self.name.setToolTip("What the model is called in other programs")
        self.description.setToolTip("What it finds, in what images: one or two sentences")
        self.license = QComboBox()
        self.license.setToolTip("What others may do with the model")
        self.license.addItems(LICENSES)
        self.picture = QCheckBox("Show a part of the chosen image")
        self.about = self._package_form()
        self.reason = _line("", "warning")
        self.save = button("Save…", "Choose the file and write it", self._save, primary=True)
        self.cancel = button("Cancel", "Leave everything as it is", self.reject)
        self._lay_out()
        self._fill(self._sharing.recall())
        for field in (self.authors, self.description):
            field.textChanged.connect(self._enable)
        self._group.buttonToggled.connect(self._enable)
        self._enable()

    @property
    def format(self) -> Format:
        """The chosen format."""
        return next(kind for kind, choice in self.formats.items() if choice.isChecked())

    def _format(self, kind: Format) -> QRadioButton:
        made = QRadioButton(f"{_TITLES[kind]} ({SUFFIXES[kind]})")
        obstacle = self._sharing.obstacle_of(kind)
        made.setToolTip(obstacle or FORMATS[kind])
        made.setEnabled(not obstacle)
        self._group.addButton(made)
        return made

    def _package_form(self) -> QWidget:
        made = QWidget()
        form = form_layout(made)
        form.setContentsMargins(_INDENT_PX, 0, 0, 0)
        for text, field in (
            ("Authors", self.authors),
            ("Name", self.name),
            ("Description", self.description),
            ("Licence", self.license),
            ("Example", self.picture),
        ):
            add_to_form(form, text, field)
        return made

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * MARGIN, MARGIN, 2 * MARGIN, MARGIN)
        column.setSpacing(SPACING)
        model = self._controller.state.model
        column.addWidget(heading(model.spec.name if model is not None else ""))
        for kind, choice in self.formats.items():
            column.addWidget(choice)
            hint = _line(self._sharing.obstacle_of(kind) or _what_for(kind), "hint")
            hint.setContentsMargins(_INDENT_PX, 0, 0, 0)
            column.addWidget(hint)
            if kind == "package":
                column.addWidget(self.about)
        column.addStretch(1)
        column.addWidget(self.reason)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.cancel)
        row.addWidget(self.save)
        column.addLayout(row)

    def _fill(self, habits: Habits) -> None:
        """Show what was typed last time, and what the model says about itself."""
        state = self._controller.state
        chosen = self.formats[habits.format]
        (chosen if chosen.isEnabled() else self.formats["model"]).setChecked(True)
        self.authors.setText(habits.authors)
        self.license.setCurrentText(habits.license)
        if state.model is not None:
            nobody = PackageCard(authors=("nobody",))
            self.name.setText(title_of(nobody, state.model.spec))
            self.description.setText(description_of(nobody, state.model.spec))
            self.description.setCursorPosition(0)
        obstacle = "" if state.image else "No image is chosen."
        self.picture.setEnabled(not obstacle)
        self.picture.setToolTip(
            obstacle
            or "Its middle becomes the test image and the picture of the package, for everybody to see. "
            "Otherwise an image of nuclei is shown that comes with this program"
        )

    def _card(self) -> PackageCard:
        authors = tuple(name.strip() for name in self.authors.text().split(",") if name.strip())
        return PackageCard(
            authors=authors,
            name=self.name.text(),
            description=self.description.text(),
            license=self.license.currentText(),
        )

    def _enable(self) -> None:
        """Show the fields of a package, and what is missing."""
        package = self.format == "package"
        self.about.setVisible(package)
        reason = self._sharing.obstacle
        if package and not reason:
            try:
                self._card()
            except ValidationError as error:
                field = error.errors()[0]["loc"][0]
                reason = (
                    "Type at least one author, without slashes." if field == "authors" else "Shorten the description."
                )
        say(self.reason, reason)
        self.save.setEnabled(not reason)
        self.save.setToolTip(reason or "Choose the file and write it")
        self.adjustSize()

    def _save(self) -> None:
        kind = self.format
        model, suffix = self._controller.state.model, SUFFIXES[kind]
        stem = Path(model.title.removesuffix(" (own)")).stem if model is not None else "model"
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the model", f"{stem}-shared{suffix}", f"{_TITLES[kind]} (*{suffix})"
        )
        if not path:
            return
        options = ShareOptions(format=kind, card=self._card() if kind == "package" else None)
        habits = Habits(format=kind, authors=self.authors.text(), license=self.license.currentText())
        shows = kind == "package" and self.picture.isChecked()
        self.accept()
        self._sharing.share(path, options, habits, show_image=shows)


def _line(text: str, name: str) -> QLabel:
    """Make a label of one line: one that wraps would leave the window too high."""
    made = QLabel(text)
    made.setObjectName(name)
    return made


def _what_for(kind: Format) -> str:
    """Return what a format is for, without its name."""
    purpose = FORMATS[kind].partition(": ")[2]
    return purpose[:1].upper() + purpose[1:]
