"""Step 5: masks, tables, outlines and pictures as files."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog, QGridLayout, QLineEdit, QMessageBox, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.export_choice import KINDS, Kind
from napari_unet.gui.widgets.base import Step, button, heading, quiet_button, say, sentence, silent
from napari_unet.gui.widgets.choices import combo, show_choices

_AXES = "ZYX"
_COLUMNS = 2
OUTPUT_TITLES: dict[Kind, str] = {
    "masks": "Masks (TIFF)",
    "binary": "Binary mask (TIFF)",
    "classes": "Class masks (TIFF)",
    "probabilities": "Probabilities (TIFF)",
    "zarr": "OME-Zarr",
    "table": "Table (CSV)",
    "parquet": "Table (Parquet)",
    "rois": "Fiji ROIs",
    "geojson": "QuPath (GeoJSON)",
    "overlay": "Picture (PNG)",
    "summary": "Summary (HTML)",
}
_MOST_NAMES = 4


class ExportStep(Step):
    """Choose labels, check the pixel size, save one file or all that are ticked."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.exporting = controller.exporting
        self.labels = combo("The label layer to save")
        self.labels.activated.connect(self._choose)
        self.sizes = tuple(self._size(axis) for axis in _AXES)
        self.size_hint, self.obstacle = sentence(), sentence(name="warning")
        self.masks = button(
            "Save masks…",
            "One TIFF with a number for each object, which ImageJ and Fiji open with the right pixel size",
            lambda: self._save("masks.tif", "TIFF (*.tif *.tiff)", self.exporting.save_masks),
        )
        self.table = button(
            "Save table…",
            "One row for each object: position, size, shape and intensities",
            lambda: self._save("objects.csv", "CSV (*.csv);;Parquet (*.parquet)", self.exporting.save_table),
        )
        self.boxes = {kind: self._box(kind) for kind in KINDS}
        self.stem = QLineEdit()
        self.stem.setToolTip("What the names of the files begin with")
        self.export = button("Export…", "Choose a folder, and write all that is ticked into it", self._export)
        self.export.setProperty("primary", True)
        self.written, self.warning = sentence(name="facts"), sentence(name="warning")
        self.show_folder = quiet_button("Show folder", "Open the folder with the files", self._show_folder)
        self._lay_out()
        self.bind(self._show_labels, "labels", "export_layer")
        self.bind(self._show_sizes, "pixel_size_um", "export_axes", "export_layer")
        self.bind(self._show_stem, "export_stem")
        self.bind(self._show_choice, "export_choice", "export_obstacles")
        self.bind(self._show_written, "exported")
        self.bind(self._enable, "activity", "export_layer", "export_choice", "export_obstacles")

    def _lay_out(self) -> None:
        self.add(heading("Export"), self.obstacle)
        self.add_form(("Labels", self.labels))
        self.form = self.add_form(
            *((f"Pixel {axis}", box) for axis, box in zip(_AXES, self.sizes, strict=True)),
        )
        self.add(self.size_hint)
        self.add_row(self.masks, self.table)
        self.add(heading("Several files at once"))
        grid = QGridLayout()
        grid.setVerticalSpacing(2)
        for place, box in enumerate(self.boxes.values()):
            rows = -(-len(self.boxes) // _COLUMNS)
            grid.addWidget(box, place % rows, place // rows)
        self.column.addLayout(grid)
        self.add_form(("Name", self.stem))
        self.add(self.export, self.written, self.warning)
        self.column.addWidget(self.show_folder, 0, Qt.AlignmentFlag.AlignLeft)
        self.column.addStretch(1)

    def _size(self, axis: str) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setRange(0, 100_000)
        box.setDecimals(4)
        box.setSingleStep(0.05)
        box.setSuffix(" µm")
        box.setSpecialValueText("unknown")
        box.setToolTip(f"Size of a pixel along {axis}; it is written into the files")
        box.valueChanged.connect(self._set_sizes)
        return box

    def _box(self, kind: Kind) -> QCheckBox:
        box = QCheckBox(OUTPUT_TITLES[kind])
        box.toggled.connect(partial(self.exporting.choose, kind))
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

    def _show_stem(self) -> None:
        self.stem.setText(self.state.export_stem)

    def _show_choice(self) -> None:
        with silent(*self.boxes.values()):
            for kind, box in self.boxes.items():
                obstacle = self.state.export_obstacles.get(kind, "")
                box.setChecked(kind in self.state.export_choice.kinds and not obstacle)
                box.setToolTip(obstacle or KINDS[kind])

    def _show_written(self) -> None:
        exported = self.state.exported
        say(self.warning, exported.warning if exported else "")
        say(self.written, f"Written: {', '.join(exported.names)}" if exported else "")
        self.show_folder.setVisible(exported is not None)

    def _enable(self) -> None:
        can = self.state.export_layer is not None
        ready = can and not self.state.busy
        for widget in (self.labels, *self.sizes, self.masks, self.table, self.stem):
            widget.setEnabled(ready)
        for kind, box in self.boxes.items():
            box.setEnabled(ready and kind not in self.state.export_obstacles)
        self.export.setEnabled(ready and bool(self.exporting.chosen))
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

    def _export(self) -> None:
        stem = self.stem.text().strip()
        folder = QFileDialog.getExistingDirectory(self, "Export to the folder", self.state.export_choice.folder)
        if folder and may_replace(self, self.exporting.there(folder, stem)):
            self.exporting.export(folder, stem)

    def _show_folder(self) -> None:
        if self.state.exported is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self.state.exported.folder))


def may_replace(parent: QWidget, names: tuple[str, ...]) -> bool:
    """Ask whether files that are there already may be replaced."""
    if not names:
        return True
    listed = ", ".join(names[:_MOST_NAMES]) + (" and others" if len(names) > _MOST_NAMES else "")
    those = "them" if len(names) > 1 else "it"
    answer = QMessageBox.question(parent, "Replace files?", f"The folder holds {listed} already. Replace {those}?")
    return bool(answer == QMessageBox.StandardButton.Yes)
