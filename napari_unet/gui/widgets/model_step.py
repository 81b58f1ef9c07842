"""Step 1: the model."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QComboBox, QFileDialog, QLineEdit, QSpinBox, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.modelling import MOST_CHANNELS
from napari_unet.gui.state import ModelChoice
from napari_unet.gui.widgets.base import Step, button, card, heading, say, sentence, silent
from napari_unet.weights.spec import Meaning, ModelSpec


class ModelStep(Step):
    """Choose a model, see what it expects and gives, or describe a new one."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.models = QComboBox()
        self.models.setToolTip("Models with weights first, then new ones that have to be trained")
        self.models.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.models.activated.connect(self._choose)
        self.open = button("Open a weights file…", "A .safetensors file that this program saved", self._open)
        self.form = NewModelForm(controller)
        self.card, column = card()
        self.title, self.facts = heading(""), sentence(name="facts")
        column.addWidget(self.title)
        column.addWidget(self.facts)
        self.untrained = sentence(
            "This model has no weights yet: it must be trained. Paint and review some objects in step 3, "
            "then train it from scratch in step 4.",
            "warning",
        )
        self.add(heading("Model"), self.models, self.open, self.form, self.card, self.untrained)
        self.column.addStretch(1)
        self.bind(self._show_models, "models", "model")
        self.bind(self._show_model, "model")
        self.bind(self._enable, "activity")

    def _show_models(self) -> None:
        with silent(self.models):
            self.models.clear()
            self.models.addItems([choice.title for choice in self.state.models])
            self.models.setCurrentIndex(_position(self.state.models, self.state.model))

    def _show_model(self) -> None:
        model = self.state.model
        self.card.setVisible(model is not None)
        self.form.setVisible(model is not None and not model.trained)
        self.untrained.setVisible(model is not None and not model.trained)
        if model is not None:
            self.title.setText(model.title if model.trained else model.variant)
            say(self.facts, facts(model.spec, model.description))

    def _enable(self) -> None:
        for widget in (self.models, self.open, self.form):
            widget.setEnabled(not self.state.busy)

    def _choose(self, index: int) -> None:
        self.controller.modelling.choose(self.state.models[index])

    def _open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a weights file", "", "Models (*.safetensors);;All files (*)")
        if path:
            self.controller.modelling.open_file(path)


class NewModelForm(Step):
    """What a new, untrained model takes and gives."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.output = QComboBox()
        self.output.addItems(["Objects", "Classes"])
        self.output.setToolTip("Objects that are told apart, or one label for each class of pixel")
        self.classes = QLineEdit("background, cell")
        self.classes.setToolTip("Names with commas between them, the background first")
        self.channels = QSpinBox()
        self.channels.setRange(1, MOST_CHANNELS)
        self.channels.setToolTip("How many channels of the image the model takes; 3 for colour")
        form = self.add_form(("Gives", self.output), ("Classes", self.classes), ("Channels", self.channels))
        self._label = form.labelForField(self.classes)
        self.output.activated.connect(self._describe)
        self.classes.editingFinished.connect(self._describe)
        self.channels.valueChanged.connect(self._describe)
        self.bind(self._show, "new_model")

    def _show(self) -> None:
        new = self.state.new_model
        semantic = new.meaning == "semantic"
        with silent(self.output, self.classes, self.channels):
            self.output.setCurrentIndex(int(semantic))
            self.channels.setValue(new.in_channels)
            if semantic:
                self.classes.setText(", ".join(new.classes))
        self._show_classes(semantic)

    def _show_classes(self, semantic: bool) -> None:
        self.classes.setVisible(semantic)
        if isinstance(self._label, QWidget):
            self._label.setVisible(semantic)

    def _describe(self) -> None:
        meaning: Meaning = "semantic" if self.output.currentIndex() else "instances"
        self.controller.modelling.describe_new(meaning, self.classes.text(), self.channels.value())


def _position(models: tuple[ModelChoice, ...], chosen: ModelChoice | None) -> int:
    """Position of the chosen model; an untrained one is recognised by its variant."""
    for index, choice in enumerate(models):
        if chosen is not None and choice.title == chosen.title and choice.source == chosen.source:
            return index
    return -1


def facts(spec: ModelSpec, description: str = "") -> str:
    """Say what a model expects and gives, as rich text."""
    origin = spec.provenance
    rows = [
        ("Architecture", description),
        ("Takes", _takes(spec)),
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
        count = spec.network.in_channels
        channels = f"{count} channel{'s' if count > 1 else ''}"
        if spec.channel_names:
            channels += f" ({', '.join(spec.channel_names)})"
    return f"{shape}, {channels}"


def _gives(spec: ModelSpec) -> str:
    if spec.meaning == "instances":
        return "objects, each with its own label"
    return f"classes: {', '.join(spec.foreground_classes)}"
