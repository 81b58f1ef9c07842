"""Step 5: masks and tables as files."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, button, heading, say, sentence, silent
from napari_unet.gui.widgets.choices import combo, show_choices

_AXES = "ZYX"


class ExportStep(Step):
    """Choose labels, check the pixel size, save."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.labels = combo("The label layer to save")
        self.labels.activated.connect(self._choose)
        self.sizes = tuple(self._size(axis) for axis in _AXES)
        self.size_hint = sentence()
        self.masks = button(
            "Save masks (TIFF)…",
            "One integer image with a label for each object, readable by ImageJ and Fiji",
            lambda: self._save("masks.tif", "TIFF (*.tif *.tiff)", controller.exporting.save_masks),
            primary=True,
        )
        self.table = button(
            "Save object table (CSV)…",
            "One row for each object: position, size and shape",
            lambda: self._save("objects.csv", "CSV (*.csv)", controller.exporting.save_table),
        )
        self.obstacle = sentence(name="warning")
        self.add(heading("Export"), self.obstacle)
        self.add_form(("Labels", self.labels))
        self.add(heading("Pixel size"))
        self.form = self.add_form(*((f"{axis}", box) for axis, box in zip(_AXES, self.sizes, strict=True)))
        self.add(self.size_hint, self.masks, self.table)
        self.column.addStretch(1)
        self.bind(self._show_labels, "labels", "export_layer")
        self.bind(self._show_sizes, "pixel_size_um", "export_axes", "export_layer")
        self.bind(self._enable, "activity", "export_layer")

    def _size(self, axis: str) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setRange(0, 100_000)
        box.setDecimals(4)
        box.setSingleStep(0.05)
        box.setSuffix(" µm")
        box.setSpecialValueText("unknown")
        box.setToolTip(f"Size of a pixel along {axis}; it is written into the file")
        box.valueChanged.connect(self._set_sizes)
        return box

    def _show_labels(self) -> None:
        show_choices(self.labels, self.state.labels, self.state.export_layer, "No labels")

    def _show_sizes(self) -> None:
        with silent(*self.sizes):
            for box, value in zip(self.sizes, self.state.pixel_size_um, strict=True):
                box.setValue(value or 0)
        # setRowVisible needs Qt 6.4, which napari does not ask for.
        for shown in (self.sizes[0], self.form.labelForField(self.sizes[0])):
            shown.setVisible("Z" in self.state.export_axes)
        known = any(self.state.pixel_size_um) or self.state.export_layer is None
        say(self.size_hint, "" if known else "The layer has no pixel size. Give it here if you know it.")

    def _enable(self) -> None:
        can = self.state.export_layer is not None
        for widget in (self.labels, *self.sizes, self.masks, self.table):
            widget.setEnabled(can and not self.state.busy)
        say(self.obstacle, "" if can else "There are no labels to save. Segment an image in step 2 first.")

    def _choose(self, index: int) -> None:
        self.state.export_layer = self.state.labels[index].id

    def _set_sizes(self) -> None:
        z, y, x = (box.value() or None for box in self.sizes)
        self.state.pixel_size_um = (z, y, x)

    def _save(self, name: str, kinds: str, save: object) -> None:
        assert callable(save)
        chosen = next((c.name for c in self.state.labels if c.id == self.state.export_layer), "")
        suggested = f"{chosen} {name}" if chosen else name
        path, _ = QFileDialog.getSaveFileName(self, "Save", suggested, kinds)
        if path:
            save(path)
