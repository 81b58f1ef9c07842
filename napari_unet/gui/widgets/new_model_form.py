"""What a new, untrained model takes and gives, and how large it is."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QLineEdit, QSpinBox

from napari_unet.gui.controller import Controller
from napari_unet.gui.modelling import MOST_CHANNELS, adjustable
from napari_unet.gui.widgets.base import Step, show_row, silent
from napari_unet.weights.spec import Meaning


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
        self.dims = QComboBox()
        self.dims.addItems(["Planes", "Volumes"])
        self.dims.setToolTip("Whether the network sees single planes, or whole stacks of them")
        self.width = QSpinBox()
        self.width.setRange(4, 256)
        self.width.setSingleStep(4)
        self.width.setToolTip("Channels of the first level; more can learn more, and need more time and memory")
        self.depth = QSpinBox()
        self.depth.setRange(1, 7)
        self.depth.setToolTip("How often the resolution is halved; deeper networks see further")
        self._form = self.add_form(
            ("Gives", self.output),
            ("Classes", self.classes),
            ("Channels", self.channels),
            ("Sees", self.dims),
            ("Width", self.width),
            ("Depth", self.depth),
        )
        self.output.activated.connect(self._describe)
        self.classes.editingFinished.connect(self._describe)
        self.dims.activated.connect(self._describe)
        for field in (self.channels, self.width, self.depth):
            field.setKeyboardTracking(False)
            field.valueChanged.connect(self._describe)
        self.bind(self._show, "new_model", "model")

    def _show(self) -> None:
        model = self.state.model
        if model is None or model.trained:
            return
        new = self.state.new_model
        semantic = new.meaning == "semantic"
        sizes = {**adjustable(model.variant), **new.options}
        with silent(self.output, self.classes, self.channels, self.dims, self.width, self.depth):
            self.output.setCurrentIndex(int(semantic))
            self.channels.setValue(new.in_channels)
            if semantic:
                self.classes.setText(", ".join(new.classes))
            self.dims.setCurrentIndex(int(sizes.get("dims") == 3))
            self.width.setValue(sizes.get("width", 0))
            self.depth.setValue(sizes.get("depth", 0))
        show_row(self._form, self.classes, shown=semantic)
        for name, field in (("dims", self.dims), ("width", self.width), ("depth", self.depth)):
            show_row(self._form, field, shown=name in sizes)

    def _describe(self) -> None:
        model = self.state.model
        if model is None or model.trained:
            return
        values = {
            "dims": 3 if self.dims.currentIndex() else 2,
            "width": self.width.value(),
            "depth": self.depth.value(),
        }
        options = {name: values[name] for name in adjustable(model.variant)}
        meaning: Meaning = "semantic" if self.output.currentIndex() else "instances"
        self.controller.modelling.describe_new(meaning, self.classes.text(), self.channels.value(), options)
        self._show()  # what is impossible goes back
