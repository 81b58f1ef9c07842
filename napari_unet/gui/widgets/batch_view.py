"""Many images, one after the other: which, where to, and what has become of each."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QMimeData
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QLineEdit

from napari_unet.gui.batch_state import Batch, BatchRow
from napari_unet.gui.controller import Controller
from napari_unet.gui.state import Activity, ViewerState
from napari_unet.gui.widgets.base import Step, beside, button, heading, say, sentence, silent
from napari_unet.gui.widgets.batch_outputs import BatchOutputs
from napari_unet.gui.widgets.batch_table import BatchTable
from napari_unet.imaging.reading import READERS

_RUN = "Segment the images one after the other, in the background; what is done already is left out"
_ESTIMATE = "The model looks at each image first, and finds out how large its objects are"
_IMAGES = " ".join(f"*{suffix}" for suffix in READERS)


class BatchView(Step):
    """Choose images and a folder for the results, run over them, and open what was made."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.batching = controller.batching
        self.setAcceptDrops(True)
        self.settings = sentence(name="facts")
        self.folder = button("Folder…", "Take the images of a folder. Or drop one here", self._choose_folder)
        self.files = button("Files…", "Take some images. Or drop them here", self._choose_files)
        self.images = QLabel()
        self.below = self._check(
            "Images in folders below, too", "The results lie in folders of the same names", "below"
        )
        self.results = QLineEdit()
        self.results.setToolTip("Folder for the results; it is made if it is missing")
        self.results.setPlaceholderText("a folder")
        self.results.editingFinished.connect(self._type_results)
        self.browse = button("…", "Choose the folder for the results", self._choose_results)
        self.outputs = BatchOutputs(controller)
        self.estimates = self._check("Estimate the diameter for each image", _ESTIMATE, "estimates")
        self.overwrite = self._check(
            "Do all again", "Also what is done already; files of these names are replaced", "overwrite"
        )
        self.obstacle, self.count, self.chosen = sentence(name="warning"), sentence(name="facts"), sentence()
        self.run = button("Run", _RUN, self.batching.run, primary=True)
        self.table = BatchTable(self.batching.open_row, self._show_chosen)
        self._lay_out()
        self.bind(self._show_batch, "batch")
        self.bind(self._show_settings, "model", "channels", "diameter_px", "turns", "fast", "objects", "batch")
        self.bind(self._enable, "activity", "batch", "model", "export_choice")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802  # Qt's name
        """Take files that are dragged here."""
        if _dropped(event.mimeData()) and not self.state.busy:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802  # Qt's name
        """Take the images that are dropped here."""
        files = _dropped(event.mimeData())
        if files and not self.state.busy:
            event.acceptProposedAction()
            self.batching.choose_files(files)

    def _lay_out(self) -> None:
        self.add(heading("Many images"), self.settings)
        self.add_form(("Images", beside(self.images, self.folder, self.files)))
        self.add(self.below)
        self.add_form(("Results", beside(self.results, self.browse)))
        self.add(self.outputs, self.estimates, self.overwrite, self.obstacle, self.run, self.count)
        self.column.addWidget(self.table, 1)
        self.add(self.chosen)

    def _check(self, text: str, tip: str, field: str) -> QCheckBox:
        """Make a box that is one of the fields of the batch."""
        box = QCheckBox(text)
        box.setToolTip(tip)
        box.toggled.connect(lambda on: self.batching.change(**{field: on}))
        return box

    def _show_batch(self) -> None:
        batch = self.state.batch
        where = batch.folder or (str(Path(batch.files[0]).parent) if batch.files else "")
        self.images.setText(Path(where).name if where else "none yet")
        self.images.setToolTip("\n".join((where, *(Path(file).name for file in batch.files[:20]))))
        with silent(self.results, self.below, self.estimates, self.overwrite):
            self.results.setText(batch.results)
            self.below.setChecked(batch.below)
            self.estimates.setChecked(batch.estimates)
            self.overwrite.setChecked(batch.overwrite)
        self.below.setVisible(bool(batch.folder))
        self.table.show_rows(batch.rows)
        self.table.setVisible(bool(batch.rows))
        say(self.count, counts_in_words(batch))

    def _show_settings(self) -> None:
        say(self.settings, settings_in_words(self.state))

    def _show_chosen(self, row: BatchRow | None) -> None:
        """Say in full what became of an image: its cell is narrow."""
        say(self.chosen, row.text if row is not None else "")

    def _enable(self) -> None:
        idle, batch = not self.state.busy, self.state.batch
        for widget in (self.folder, self.files, self.below, self.results, self.browse, self.overwrite):
            widget.setEnabled(idle)
        why_not = self.controller.recipes.estimate_obstacle
        self.estimates.setEnabled(idle and not why_not)
        self.estimates.setToolTip(why_not or _ESTIMATE)
        obstacle = self.batching.obstacle
        say(self.obstacle, obstacle if idle else "")
        self.run.setEnabled(idle and not obstacle)
        self.run.setText("Running…" if self.state.activity is Activity.BATCH else _verb(batch))
        self.run.setToolTip(f"{_RUN}.\n\nNot now: {obstacle}" if obstacle else _RUN)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder of images", self.state.batch.folder)
        if folder:
            self.batching.choose_folder(folder)

    def _choose_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(
            self, "Choose images", self.state.batch.folder, f"Images ({_IMAGES});;All files (*)"
        )
        self.batching.choose_files(tuple(files))

    def _choose_results(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for the results", self.state.batch.results)
        if folder:
            self.batching.choose_results(folder)

    def _type_results(self) -> None:
        self.batching.choose_results(self.results.text().strip())


def _dropped(mime: QMimeData) -> tuple[str, ...]:
    return tuple(url.toLocalFile() for url in mime.urls() if url.isLocalFile())


def _verb(batch: Batch) -> str:
    """Name the button that begins, or goes on."""
    waiting, failed = batch.count("waiting"), batch.count("failed")
    if waiting and batch.count("done", "skipped", "failed"):
        return "Continue"
    return "Try again" if failed and not waiting else "Run"


def counts_in_words(batch: Batch) -> str:
    """Say how many images there are, and what has become of them.

    >>> rows = [BatchRow(name=name, path=name) for name in "ab"]
    >>> counts_in_words(Batch(rows=(rows[0], rows[1].model_copy(update={"status": "done"}))))
    '2 images: 1 done, 1 waiting'
    """
    if not batch.rows:
        return ""
    words = {"done": "done", "skipped": "done before", "failed": "failed", "running": "running", "waiting": "waiting"}
    found = {status: sum(row.status == status for row in batch.rows) for status in words}
    parts = [f"{count:,} {words[status]}" for status, count in found.items() if count]
    total = len(batch.rows)
    return f"{total:,} image{'s' if total != 1 else ''}: {', '.join(parts)}"


def settings_in_words(state: ViewerState) -> str:
    """Say with which settings the images are segmented."""
    if state.model is None:
        return ""
    channels = "all channels"
    if state.channels is not None and state.channels != tuple(range(state.image_channels)):
        numbers = ", ".join(str(channel) for channel in state.channels)
        channels = f"channel{'s' if len(state.channels) > 1 else ''} {numbers}"
    diameter = "" if state.diameter_px is None else f"diameter {state.diameter_px:g} px"
    if state.batch.estimates:
        diameter = "diameter estimated"
    speed = [text for text, on in (("averaged", state.turns != "none"), ("fast mode", state.fast)) if on]
    parts = (state.model.title, channels, diameter, f"threshold {state.objects.threshold:g}", *speed)
    return f"As step 2 is set: {' · '.join(filter(None, parts))}."
