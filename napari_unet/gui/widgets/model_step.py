"""Step 1: the model."""

from __future__ import annotations

from html import escape
from typing import assert_never

from qtpy.QtCore import QMimeData
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_unet.gui.browsing import SUFFIXES
from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, button, card, heading, say, sentence
from napari_unet.gui.widgets.model_shelves import ModelShelves
from napari_unet.gui.widgets.network_view import NetworkView
from napari_unet.gui.widgets.new_model_form import NewModelForm
from napari_unet.gui.widgets.opening_card import OpeningCard
from napari_unet.gui.widgets.report_view import ReportView
from napari_unet.gui.widgets.share_dialog import ShareDialog
from napari_unet.imaging.config import Normalization
from napari_unet.weights.spec import ModelSpec

_SHARE = (
    "Write this model as a file for somebody else: for napari-unet, ilastik, deepImageJ, QuPath, or your own program"
)


class ModelStep(Step):
    """Choose a model, open anybody's weights, see what a model expects and gives, or describe a new one."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.setAcceptDrops(True)
        self.models = ModelShelves(controller)
        self.open = button(
            "Open a weights file…",
            "Weights of any U-Net, also of other programs: PyTorch, Keras, TensorFlow, ONNX. Or drop a file here",
            self._open,
        )
        self.folder = button(
            "Choose a folder…",
            "List the weights files of a folder, now and next time; a folder that is a model as a whole "
            "(a bioimage.io package, results of nnU-Net) is opened",
            self._folder,
        )
        self.download = button(
            "bioimage.io…", "Download a model of the bioimage.io collection by its name", self._download
        )
        self.opening = OpeningCard(controller)
        self.form = NewModelForm(controller)
        self.card, column = card()
        self.title, self.facts = heading(""), sentence(name="facts")
        self.title.setWordWrap(True)
        self.report = ReportView(controller)
        for widget in (self.title, self.facts, self.report):
            column.addWidget(widget)
        self.untrained = sentence(
            "This model has no weights yet: it must be trained. Paint and review some objects in step 3, "
            "then train it from scratch in step 4.",
            "warning",
        )
        self.only_predicts = sentence(
            "This model can only predict: its file holds a program and no weights that could be trained.", "warning"
        )
        self.random = sentence(name="warning")
        self.add(heading("Model"), self.models, self.open)
        self.add_row(self.folder, self.download)
        self.share = button("Save or share…", _SHARE, self._share)
        self.add(self.opening, self.form, self.card, self.untrained, self.random, self.only_predicts, self.share)
        self.add(NetworkView(controller))
        self.column.addStretch(1)
        self.bind(self._show_model, "model")
        self.bind(self._enable, "activity", "model")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802  # Qt's name
        """Take a file that is dragged here."""
        if _dropped_file(event.mimeData()) and not self.state.busy:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802  # Qt's name
        """Open a file that is dropped here."""
        path = _dropped_file(event.mimeData())
        if path:
            event.acceptProposedAction()
            self.controller.opening.open_file(path)

    def _show_model(self) -> None:
        model = self.state.model
        self.card.setVisible(model is not None)
        self.form.setVisible(model is not None and not model.trained)
        self.untrained.setVisible(model is not None and not model.trained)
        self.only_predicts.setVisible(model is not None and not model.can_train)
        made = len(model.report.made) if model is not None and model.report is not None else 0
        what = "1 tensor has" if made == 1 else f"{made} tensors have"
        say(self.random, f"{what} random weights: train this model before you use it." if made else "")
        if model is not None:
            self.title.setText(model.title if model.trained else model.variant)
            say(self.facts, facts(model.spec, model.description))

    def _enable(self) -> None:
        for widget in (self.models, self.open, self.folder, self.download, self.form):
            widget.setEnabled(not self.state.busy)
        obstacle = self.controller.sharing.obstacle
        self.share.setEnabled(not self.state.busy and not obstacle)
        self.share.setToolTip(obstacle or _SHARE)

    def _share(self) -> None:
        ShareDialog(self.controller, self).open()

    def _open(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        path, _ = QFileDialog.getOpenFileName(self, "Open a weights file", "", f"Weights ({patterns});;All files (*)")
        if path:
            self.controller.opening.open_file(path)

    def _folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder with weights files")
        if folder:
            self.controller.opening.open_folder(folder)

    def _download(self) -> None:
        name, wanted = QInputDialog.getText(
            self, "Download from bioimage.io", "Name of the model, for example affable-shark:"
        )
        if wanted:
            self.controller.opening.download(name)


def _dropped_file(mime: QMimeData) -> str:
    """Return the first file of what is dropped; empty if there is none."""
    return next((url.toLocalFile() for url in mime.urls() if url.isLocalFile()), "")


def facts(spec: ModelSpec, description: str = "") -> str:
    """Say what a model expects and gives, as rich text."""
    origin = spec.provenance
    rows = [
        ("Architecture", description),
        ("Takes", _takes(spec)),
        ("Scales", _scales(spec.normalization)),
        ("Gives", _gives(spec)),
        ("Pixel size", f"{spec.pixel_size_um:g} µm" if spec.pixel_size_um else ""),
        ("Diameter", f"{spec.diameter_px:g} pixels" if spec.diameter_px else ""),
        ("Trained on", origin.trained_on),
        ("Source", origin.source),
        ("Licence", origin.license),
        ("Made", _made(spec)),
        ("Notes", origin.notes),
    ]
    return "".join(f"<p style='margin:0 0 4px 0'><b>{k}:</b> {escape(v)}</p>" for k, v in rows if v)


def _made(spec: ModelSpec) -> str:
    origin = spec.provenance
    version = f"with version {origin.version}" if origin.version else ""
    return " ".join(part for part in (origin.created[:10], version) if part)


def _takes(spec: ModelSpec) -> str:
    shape = "planes" if spec.dims == 2 else "volumes"
    if spec.normalization.channels == "grey":
        channels = "one channel, or colour made grey"
        if spec.normalization.polarity == "bright-objects":
            channels += "; dark objects are inverted"
        if spec.normalization.stain == "haematoxylin":
            channels += "; of stained sections the haematoxylin"
    else:
        count = spec.image_channels
        channels = f"{count} channel{'s' if count > 1 else ''}"
        if spec.channel_names:
            channels += f" ({', '.join(spec.channel_names)})"
    beside = spec.slices // 2
    neighbours = f", with {beside} slice{'s' if beside > 1 else ''} on each side" if beside else ""
    return f"{shape}{neighbours}, {channels}"


def _scales(normalization: Normalization) -> str:
    """Say what happens to pixel values."""
    match normalization.method:
        case "percentile":
            low, high = normalization.low_percentile, normalization.high_percentile
            return f"percentiles {low:g} and {high:g} of the image become 0 and 1"
        case "z-score":
            return "to mean 0 and standard deviation 1 of the image"
        case "dtype":
            return "by the largest value of the image's type, such as 255"
        case "fixed":
            return "by fixed values, whatever the image"
        case _:
            assert_never(normalization.method)


def _gives(spec: ModelSpec) -> str:
    if spec.meaning == "instances":
        return "objects, each with its own label"
    return f"classes: {', '.join(spec.foreground_classes)}"
