"""The buttons of the correction tools, each with its key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QSlider, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.tools.showing import ToolName
from napari_unet.gui.widgets.base import SPACING, Step, add_to_form, button, form_layout, silent
from napari_unet.gui.widgets.filter_options import FilterOptions

_COLUMNS = 3
_TOOLS: tuple[tuple[ToolName, str, str, str], ...] = (
    ("merge", "Merge", "J", "Click one object after the other, or draw a line across them: they become one"),
    ("split", "Split", "S", "Draw a line across an object, or click each of its parts and press Enter"),
    ("smart fill", "Smart fill", "A", "Click what is missing: the object that the network sees there is proposed"),
    ("delete", "Delete", "D", "Click an object, or draw a line across several"),
)


class ToolBar(Step):
    """Tools for the mouse, and operations on the chosen object."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        tools = controller.tools
        self.tools = {name: _tool(title, key, tip, partial(tools.toggle, name)) for name, title, key, tip in _TOOLS}
        self.new = _keyed("New", "N", "Choose an id that no object has, and the brush", tools.new_object)
        self.shapes = (
            _keyed("Grow", "G", "Move the outline out by a pixel", partial(tools.reshape, "grow")),
            _keyed("Shrink", "Shift+G", "Move the outline in by a pixel", partial(tools.reshape, "shrink")),
            _keyed("Fill holes", "H", "Fill what the object encloses", partial(tools.reshape, "fill holes")),
            _keyed("Smooth", "R", "Round the outline", partial(tools.reshape, "smooth", 2)),
            _keyed("Largest", "K", "Keep the largest piece only", partial(tools.reshape, "keep largest")),
        )
        self.slices = (
            _keyed("Interpolate", "I", "Fill the slices between those that show the object", tools.interpolate),
            _keyed("Copy on", "C", "Copy the object to the next slice, and go there", partial(tools.copy, 1)),
            _keyed("Copy back", "Shift+C", "Copy it to the slice before, and go there", partial(tools.copy, -1)),
        )
        self.volume = QCheckBox("Edit all slices")
        self.volume.setToolTip(
            "Tools, brush and fill change the object in all slices or time points, not this one only"
        )
        self.volume.toggled.connect(tools.edit_volume)
        self.extent = QSlider(Qt.Orientation.Horizontal)
        self.extent.setRange(3, 97)
        self.extent.setToolTip("How much the proposal takes in (Shift and the wheel)")
        self.extent.valueChanged.connect(lambda value: tools.set_extent(value / 100))
        self._grid([*self.tools.values(), self.new, *self.shapes, *self.slices])
        self.filter = FilterOptions(controller)
        self.taking = QWidget()
        add_to_form(form_layout(self.taking), "Take in", self.extent)
        self.add(self.taking, self.volume, self.filter)
        self.bind(self._show, "tooling")
        self.bind(self._enable, "axes", "counts", "image")

    def _grid(self, buttons: list[QPushButton]) -> None:
        grid = QGridLayout()
        grid.setSpacing(SPACING // 2)
        for place, one in enumerate(buttons):
            grid.addWidget(one, place // _COLUMNS, place % _COLUMNS)
        self.column.addLayout(grid)

    def _show(self) -> None:
        for name, one in self.tools.items():
            one.setChecked(self.state.tooling.tool == name)
        self.taking.setVisible(self.state.tooling.tool == "smart fill")
        with silent(self.extent):
            self.extent.setValue(round(100 * self.state.tooling.extent))

    def _enable(self) -> None:
        self.setVisible(any(count.image == self.state.image for count in self.state.counts))
        deep = bool({"T", "Z"} & {*self.state.axes})
        for one in (*self.slices, self.volume):
            one.setVisible(deep)


def _keyed(title: str, key: str, tip: str, call: Callable[[], object]) -> QPushButton:
    made = button(title, f"{tip} ({key})", call)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys of the canvas go on working
    return made


def _tool(title: str, key: str, tip: str, call: Callable[[], object]) -> QPushButton:
    made = _keyed(title, key, tip, call)
    made.setCheckable(True)
    return made
