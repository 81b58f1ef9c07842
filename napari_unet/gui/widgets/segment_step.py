"""Step 2: segment an image."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit, QSpinBox
from superqt import QLabeledDoubleSlider

from napari_unet.gui.controller import Controller
from napari_unet.gui.progress import percent
from napari_unet.gui.widgets.base import Step, beside, button, heading, quiet_button, say, sentence, show_row, silent
from napari_unet.gui.widgets.batch_links import BatchLinks
from napari_unet.gui.widgets.channels import ChannelChooser
from napari_unet.gui.widgets.choices import combo, show_choices
from napari_unet.gui.widgets.speed_options import SpeedOptions
from napari_unet.gui.widgets.verdict import Verdict
from napari_unet.objects.config import MOST_REACH_PX

_DEBOUNCE_MS = 250
_WHOLE = "Segment the whole image; what is on the screen comes first"
_ESTIMATE = "Find out the diameter: the model looks at the image around the middle of what is on the screen"
_ADAPT = (
    "Let a copy of the model get used to this image: the brightness and contrast of its features, which it remembers "
    "from its training, are estimated anew. Takes seconds and needs no corrections. It may help or not: you see before "
    "and after, and decide. The old model stays in the list"
)


class SegmentStep(Step):
    """Choose an image and how to read it, run the network, and tune how objects are found."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self._build_inputs()
        self._build_objects()
        self.preview = button(
            "Preview visible region",
            "Segment only what is on the screen, to try the settings",
            controller.segmenting.preview,
        )
        self.segment = button("Segment", _WHOLE, controller.segmenting.segment, primary=True)
        self.start_over = button(
            "Start over",
            "Forget what is there of the probabilities and segment again",
            controller.segmenting.start_over,
        )
        self.adapt = quiet_button("Adapt to this image…", _ADAPT, controller.adapting.start)
        self.adapted = Verdict(controller, ("image",))
        self.obstacle = sentence(name="warning")
        self.add(heading("Segment"))
        self.add_form(
            ("Image", self.images),
            ("Axes", self.axes),
        )
        self.add(self.reading)
        self.add(self.channels)
        self.add_form(("Device", self.devices), ("Diameter", self.size))
        self.add(self.speed, self.obstacle)
        self.add_row(self.preview, self.segment)
        self.add_row(self.start_over)
        self.add(self.adapt, self.adapted)
        self.add(self.tuning_title)
        self.tuning = self.add_form(
            ("Threshold", self.threshold), ("Join within", self.reach), ("Smallest size", self.min_size)
        )
        self.others = BatchLinks(controller)
        self.add(self.fill_holes, self.close_gaps, self.join_z, self.tuning_hint, self.others)
        self.column.addStretch(1)
        self._bind_all()

    def _build_inputs(self) -> None:
        choosing = self.controller.choosing
        self.images = combo("The image layer to segment")
        self.images.activated.connect(lambda i: choosing.choose_image(self.state.images[i].id))
        self.axes = QLineEdit()
        self.axes.setToolTip("One letter for each dimension of the image: T, C, Z, Y and X")
        self.axes.editingFinished.connect(lambda: choosing.set_axes(self.axes.text()))
        self.reading = sentence()
        self.channels = ChannelChooser(self.controller)
        self.devices = combo("Where the network runs; Automatic takes a GPU if there is one")
        self.devices.activated.connect(self._set_device)
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0, 10_000)
        self.diameter.setDecimals(0)
        self.diameter.setSuffix(" px")
        self.diameter.setSpecialValueText("not given")
        self.diameter.setToolTip(
            "Diameter of your objects in pixels, if they are much larger or smaller than those that the "
            "model was trained on: the image is then rescaled for the network, and the smallest size follows"
        )
        self.diameter.valueChanged.connect(self._set_diameter)
        self.estimate = button("Estimate", _ESTIMATE, self.controller.sizing.estimate)
        self.size = beside(self.diameter, self.estimate)
        self.speed = SpeedOptions(self.controller)

    def _build_objects(self) -> None:
        self.tuning_title = heading("Objects")
        self.threshold = QLabeledDoubleSlider()
        self.threshold.setOrientation(Qt.Orientation.Horizontal)
        self.threshold.setRange(0.05, 0.95)
        self.threshold.setSingleStep(0.05)
        self.threshold.setDecimals(2)
        self.threshold.setToolTip("Higher makes objects smaller; the network does not run again")
        self.reach = QSpinBox()
        self.reach.setRange(1, MOST_REACH_PX)
        self.reach.setSuffix(" px")
        self.reach.setToolTip(
            "The model leads each pixel towards the middle of its object, and pixels that arrive so near to each other "
            "are one object: higher joins what is split, lower parts what is merged; the network does not run again"
        )
        self.min_size = QSpinBox()
        self.min_size.setRange(0, 1_000_000)
        self.min_size.setSuffix(" px")
        self.min_size.setToolTip("Smaller objects are dropped; the network does not run again")
        self.fill_holes = QCheckBox("Fill holes")
        self.fill_holes.setToolTip("Fill background that an object encloses")
        self.close_gaps = QCheckBox("Close gaps")
        self.close_gaps.setToolTip(
            "Continue walls, such as membranes, where they are faint, so that the cells between them stay apart"
        )
        self.join_z = QCheckBox("Join objects across slices")
        self.join_z.setToolTip("With a model for planes: objects that overlap in Z become one")
        self.tuning_hint = sentence()
        self._debounce = QTimer(self)
        self._debounce.setSingleShot(True)
        self._debounce.setInterval(_DEBOUNCE_MS)
        self._debounce.timeout.connect(self.controller.segmenting.find_objects)
        self.threshold.valueChanged.connect(self._tune)
        self.reach.valueChanged.connect(self._tune)
        self.min_size.valueChanged.connect(self._tune)
        self.fill_holes.toggled.connect(self._tune)
        self.close_gaps.toggled.connect(self._tune)
        self.join_z.toggled.connect(self._tune)

    def _bind_all(self) -> None:
        self.bind(self._show_images, "images", "image")
        self.bind(self._show_reading, "axes", "image", "image_sentence")
        self.bind(self._show_devices, "devices", "device")
        self.bind(self._show_diameter, "diameter_px")
        self.bind(self._show_objects, "objects", "model", "axes")
        self.bind(self._enable, "activity", "obstacle", "image", "segmented", "model")
        self.bind(self._enable_adapting, "activity", "obstacle", "model", "proposal")
        self.bind(self._show_interrupted, "interrupted", "image", "activity")

    def _show_images(self) -> None:
        show_choices(self.images, self.state.images, self.state.image, "No image layer")

    def _show_reading(self) -> None:
        with silent(self.axes):
            self.axes.setText(self.state.axes)
        say(self.reading, self.state.image_sentence)

    def _show_devices(self) -> None:
        with silent(self.devices):
            self.devices.clear()
            for device in self.state.devices:
                free = f" · {device.free_bytes / 1e9:.1f} GB free" if device.free_bytes else ""
                self.devices.addItem(device.title + free, device.name)
            self.devices.setCurrentIndex(max(0, self.devices.findData(self.state.device)))

    def _show_diameter(self) -> None:
        diameter = self.state.diameter_px or 0
        with silent(self.diameter):
            self.diameter.setDecimals(0 if float(diameter).is_integer() else 2)  # of a recipe
            self.diameter.setValue(diameter)

    def _show_objects(self) -> None:
        objects, model = self.state.objects, self.state.model
        with silent(self.threshold, self.reach, self.min_size, self.fill_holes, self.close_gaps, self.join_z):
            self.threshold.setValue(objects.threshold)
            self.reach.setValue(objects.reach_px)
            self.min_size.setValue(objects.min_size_px)
            self.fill_holes.setChecked(objects.fill_holes)
            self.close_gaps.setChecked(objects.close_gaps)
            self.join_z.setChecked(objects.join_z)
        planes = model is not None and model.spec.dims == 2 and model.spec.meaning == "instances"
        show_row(self.tuning, self.reach, shown=model is not None and model.spec.activation == "flows")
        self.join_z.setVisible(planes and "Z" in self.state.axes)
        self.close_gaps.setVisible(model is not None and model.spec.meaning == "semantic")

    def _enable(self) -> None:
        state = self.state
        idle = not state.busy
        for widget in (self.images, self.axes, self.channels, self.devices, self.diameter, self.speed.options):
            widget.setEnabled(idle and state.image is not None)
        for runs in (self.preview, self.segment):
            runs.setEnabled(idle and not state.obstacle)
        why_not = self.controller.sizing.obstacle
        self.estimate.setEnabled(idle and not why_not)
        self.estimate.setToolTip(why_not or _ESTIMATE)
        say(self.obstacle, state.obstacle)
        kept = state.segmented is not None and state.segmented.image == state.image
        say(self.tuning_hint, "Applied at once, without the network." if kept else "")

    def _enable_adapting(self) -> None:
        obstacle = self.controller.adapting.obstacle
        self.adapt.setEnabled(not self.state.busy and not obstacle)
        self.adapt.setToolTip(f"{_ADAPT}.\n\nNot now: {obstacle}" if obstacle else _ADAPT)

    def _show_interrupted(self) -> None:
        interrupted = self.state.interrupted
        waits = interrupted is not None and interrupted.image == self.state.image and not self.state.busy
        self.segment.setText("Continue" if waits else "Segment")
        self.start_over.setVisible(waits)
        tip = _WHOLE
        if waits and interrupted is not None:
            tip = (
                f"Go on with the segmentation that was interrupted: {percent(interrupted.share)} of the probabilities "
                "are there. Image, model and settings are the same as then."
            )
        self.segment.setToolTip(tip)

    def _set_device(self, index: int) -> None:
        self.state.device = self.devices.itemData(index)

    def _set_diameter(self, value: float) -> None:
        self.state.diameter_px = value or None

    def _tune(self) -> None:
        self.state.change_objects(
            threshold=round(self.threshold.value(), 3),
            reach_px=self.reach.value(),
            min_size_px=self.min_size.value(),
            fill_holes=self.fill_holes.isChecked(),
            close_gaps=self.close_gaps.isChecked(),
            join_z=self.join_z.isChecked(),
        )
        self._debounce.start()
