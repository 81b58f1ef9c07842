"""What all steps are built of."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.controller import Controller
from napari_unet.gui.state import ViewerState

MARGIN = 10
SPACING = 8
LABEL_WIDTH = 88


class Step(QWidget):  # type: ignore[misc]
    """A widget over the state of a viewer.

    Subclasses build their children, `bind` them to fields of the state, and hold no other state.

    Parameters
    ----------
    controller : Controller
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller = controller
        self._bindings: list[_Binding] = []
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        self.column.setSpacing(SPACING)

    @property
    def state(self) -> ViewerState:
        """The state that all panels of the viewer share."""
        return self.controller.state

    def bind(self, show: Callable[[], None], *fields: str) -> None:
        """Call `show` now and whenever one of the fields changes."""
        binding = _Binding(show)
        self._bindings.append(binding)
        for name in fields:
            getattr(self.state.events, name).connect(binding.update, max_args=0)
        show()

    def add(self, *items: QWidget) -> None:
        """Put widgets below each other."""
        for item in items:
            self.column.addWidget(item)

    def add_row(self, *items: QWidget) -> None:
        """Put widgets beside each other, with equal widths."""
        row = QHBoxLayout()
        row.setSpacing(SPACING)
        for item in items:
            row.addWidget(item, 1)
        self.column.addLayout(row)

    def add_form(self, *rows: tuple[str, QWidget]) -> QFormLayout:
        """Put labelled widgets below each other."""
        form = form_layout()
        for text, field in rows:
            add_to_form(form, text, field)
        self.column.addLayout(form)
        return form


def show_row(form: QFormLayout, field: QWidget, *, shown: bool) -> None:
    """Show or hide a widget of a form with its label."""
    field.setVisible(shown)
    label = form.labelForField(field)
    if isinstance(label, QWidget):
        label.setVisible(shown)


class _Binding:
    """Calls a method of a widget as long as Qt has not deleted the widget.

    The signal holds it weakly, and the widget strongly: it goes with the widget.
    """

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = weakref.WeakMethod(show)

    def update(self) -> None:
        show = self._show()
        # Python may keep a widget for a while after Qt has deleted it.
        if show is not None and isalive(getattr(show, "__self__", None)):
            show()


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Make a layout for labelled widgets."""
    form = QFormLayout(parent)
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(SPACING)
    form.setVerticalSpacing(6)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return form


def add_to_form(form: QFormLayout, text: str, field: QWidget) -> None:
    """Add a labelled widget; all labels are equally wide."""
    label = QLabel(text)
    label.setMinimumWidth(LABEL_WIDTH)
    label.setToolTip(field.toolTip())
    field.setSizePolicy(QSizePolicy.Policy.Expanding, field.sizePolicy().verticalPolicy())
    form.addRow(label, field)


def beside(field: QWidget, *others: QWidget) -> QWidget:
    """Put a field and what belongs to it into one row; the field takes the room that is left."""
    made = QWidget()
    made.setToolTip(field.toolTip())
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(SPACING)
    row.addWidget(field, 1)
    for other in others:
        row.addWidget(other)
    return made


def button(text: str, tip: str, call: Callable[[], Any], *, primary: bool = False) -> QPushButton:
    """Make a push button."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setProperty("primary", primary)
    made.clicked.connect(lambda _checked=False: call())
    return made


def quiet_button(text: str, tip: str, call: Callable[[], Any]) -> QPushButton:
    """Make a flat button, for a picture beside its text."""
    made = button(text, tip, call)
    made.setObjectName("quiet")
    return made


def fold(text: str, tip: str, unfold: Callable[[bool], None]) -> QToolButton:
    """Make a title with an arrow, below which something is shown or hidden.

    Parameters
    ----------
    text, tip : str
    unfold : callable
        Shows the rest, or hides it.
    """
    made = QToolButton()
    made.setObjectName("fold")
    made.setText(text)
    made.setToolTip(tip)
    made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    made.setArrowType(Qt.ArrowType.RightArrow)
    made.setCheckable(True)
    made.toggled.connect(lambda on: made.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow))
    made.toggled.connect(unfold)
    return made


def set_primary(made: QPushButton, primary: bool) -> None:
    """Make a button stand out, or no longer."""
    made.setProperty("primary", primary)
    # The style depends on the property, and is only read again when it is set again.
    made.style().unpolish(made)
    made.style().polish(made)


def heading(text: str) -> QLabel:
    """Make the title of a group."""
    label = QLabel(text)
    label.setObjectName("heading")
    return label


def sentence(text: str = "", name: str = "hint") -> QLabel:
    """Make a label for sentences of any length; "hint", "warning" or "error" gives its colour."""
    label = QLabel(text)
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    return label


def say(label: QLabel, text: str) -> None:
    """Show a sentence, or hide the label if there is none."""
    label.setText(text)
    label.setVisible(bool(text))


def card() -> tuple[QFrame, QVBoxLayout]:
    """Make a box with its own background."""
    frame = QFrame()
    frame.setObjectName("card")
    column = QVBoxLayout(frame)
    column.setContentsMargins(MARGIN, SPACING, MARGIN, SPACING)
    column.setSpacing(6)
    return frame, column


@contextmanager
def silent(*widgets: QWidget) -> Iterator[None]:
    """Change widgets without their signals: the change comes from the state."""
    blockers = [QSignalBlocker(widget) for widget in widgets]
    try:
        yield
    finally:
        for blocker in blockers:
            blocker.unblock()
