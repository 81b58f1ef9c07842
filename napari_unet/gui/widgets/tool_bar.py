"""The buttons of the correction tools, each with its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSizePolicy, QSlider, QToolButton, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.icons import icon
from napari_unet.gui.tools.showing import Scope, ToolName
from napari_unet.gui.widgets.base import Step, add_to_form, form_layout, silent
from napari_unet.gui.widgets.filter_options import FilterOptions
from napari_unet.gui.widgets.style import icon_colours

_GAP = 3
_ICON_PX = 22
_TOOLS: tuple[tuple[ToolName, str, str, str], ...] = (
    ("merge", "Merge", "J", "Click one object after the other, or draw a line across them: they become one"),
    ("split", "Split", "S", "Draw a line across an object, or click each of its parts and press Enter"),
    ("smart fill", "Smart fill", "A", "Click what is missing: the object that the network sees there is proposed"),
    (
        "delete",
        "Delete",
        "D",
        "Click an object, or draw a line across several. W deletes what is under the mouse at once",
    ),
)
_SCOPES: dict[Scope, tuple[str, str]] = {
    "one": (
        "The chosen object",
        "The one whose label is chosen; napari's picker (5) chooses the label under the mouse",
    ),
    "chosen": ("Rows chosen in the table", "The objects whose rows are chosen in the table of objects"),
    "reviewed": ("All reviewed objects", "All objects with a reviewed pixel, as one step that Ctrl+Z takes back"),
}


class ToolBar(Step):
    """Tools for the mouse, and operations on the chosen object or on several."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        tools = controller.tools
        self.tools = {
            name: _tool(name, title, key, tip, partial(tools.toggle, name)) for name, title, key, tip in _TOOLS
        }
        self.new = _keyed(
            "new",
            "New",
            "N",
            "Choose an id that no object has, and the brush. Q paints on with the object under the mouse",
            tools.new_object,
        )
        self.shapes = (
            _keyed("grow", "Grow", "G", "Move the outline out by a pixel", partial(tools.reshape, "grow")),
            _keyed("shrink", "Shrink", "Shift+G", "Move the outline in by a pixel", partial(tools.reshape, "shrink")),
            _keyed("fill holes", "Fill holes", "H", "Fill what is enclosed", partial(tools.reshape, "fill holes")),
            _keyed("smooth", "Smooth", "R", "Round the outline", partial(tools.reshape, "smooth", 2)),
            _keyed(
                "keep largest", "Largest", "K", "Keep the largest piece only", partial(tools.reshape, "keep largest")
            ),
        )
        self.slices = (
            _keyed("interpolate", "Interpolate", "I", "Fill the slices between those that show it", tools.interpolate),
            _keyed("copy on", "Copy on", "C", "Copy it to the next slice, and go there", partial(tools.copy, 1)),
            _keyed("copy back", "Copy back", "Shift+C", "Copy it to the slice before", partial(tools.copy, -1)),
        )
        for one in self.slices:
            one.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            one.setProperty("beside", True)
        self.scope = self._scopes()
        self.volume = QCheckBox("Edit all slices")
        self.volume.setToolTip(
            "Tools, brush and fill change the object in all slices or time points, not this one only"
        )
        self.volume.toggled.connect(tools.edit_volume)
        self.extent = QSlider(Qt.Orientation.Horizontal)
        self.extent.setRange(3, 97)
        self.extent.setToolTip("How much the proposal takes in (Shift and the wheel)")
        self.extent.valueChanged.connect(lambda value: tools.set_extent(value / 100))
        self.filter = FilterOptions(controller)
        self.taking = QWidget()
        add_to_form(form_layout(self.taking), "Take in", self.extent)
        self._lay_out()
        self.bind(self._show, "tooling")
        self.bind(self._enable, "axes", "counts", "image")
        self.bind(self._allow, "tooling", "counts", "image")

    def set_theme(self, theme: str) -> None:
        """Draw the pictures in the colours of a theme."""
        normal, chosen, disabled = icon_colours(theme)
        for one in self._buttons:
            one.setIcon(icon(one.property("picture"), normal=normal, chosen=chosen, disabled=disabled))

    @property
    def _buttons(self) -> tuple[QToolButton, ...]:
        return (*self.tools.values(), self.new, *self.shapes, *self.slices)

    def _lay_out(self) -> None:
        self._row([*self.tools.values(), self.new])
        self.add(self.taking)
        self.add_form(("Outlines of", self.scope))
        self._row(self.shapes)
        self._row(self.slices)
        self.add(self.volume, self.filter)

    def _row(self, buttons: Sequence[QToolButton]) -> None:
        row = QHBoxLayout()
        row.setSpacing(_GAP)
        for one in buttons:
            row.addWidget(one, 1)
        self.column.addLayout(row)

    def _scopes(self) -> QComboBox:
        made = QComboBox()
        for scope, (title, tip) in _SCOPES.items():
            made.addItem(title, scope)
            made.setItemData(made.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        made.setToolTip("What the five buttons below change. Their keys always change the object under the mouse.")
        made.currentIndexChanged.connect(lambda _: self.controller.tools.set_scope(made.currentData()))
        return made

    def _show(self) -> None:
        tooling = self.state.tooling
        for name, one in self.tools.items():
            one.setChecked(tooling.tool == name)
        self.taking.setVisible(tooling.tool == "smart fill")
        with silent(self.extent, self.scope):
            self.extent.setValue(round(100 * tooling.extent))
            self.scope.setCurrentIndex(self.scope.findData(tooling.scope))
            self.scope.setItemText(self.scope.findData("chosen"), _chosen_in_words(len(tooling.chosen)))

    def _enable(self) -> None:
        self.setVisible(any(count.image == self.state.image for count in self.state.counts))
        deep = bool({"T", "Z"} & {*self.state.axes})
        for one in (*self.slices, self.volume):
            one.setVisible(deep)

    def _allow(self) -> None:
        """Let outlines be changed where there is something to change, and say what is missing."""
        reason = self._missing()
        for one in self.shapes:
            one.setEnabled(not reason)
            one.setToolTip(reason or one.property("tip"))

    def _missing(self) -> str:
        scope = self.state.tooling.scope
        if scope == "chosen" and not self.state.tooling.chosen:
            return "No row is chosen: open the table of objects and choose some"
        count = next((count for count in self.state.counts if count.image == self.state.image), None)
        if scope == "reviewed" and (count is None or not count.objects):
            return "No object is reviewed: mark what you have checked, below"
        return ""


def _chosen_in_words(count: int) -> str:
    if not count:
        return _SCOPES["chosen"][0]
    return f"{count:,} row{'s' if count != 1 else ''} chosen in the table"


def _keyed(picture: str, title: str, key: str, tip: str, call: Callable[[], object]) -> QToolButton:
    made = QToolButton()
    made.setObjectName("tool")
    made.setText(title)
    made.setProperty("picture", picture)
    made.setProperty("tip", f"{tip} ({key})")
    made.setToolTip(f"{tip} ({key})")
    made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
    made.setIconSize(QSize(_ICON_PX, _ICON_PX))
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # all are equally wide
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys of the canvas go on working
    made.clicked.connect(lambda _checked=False: call())
    return made


def _tool(picture: str, title: str, key: str, tip: str, call: Callable[[], object]) -> QToolButton:
    made = _keyed(picture, title, key, tip, call)
    made.setCheckable(True)
    return made
