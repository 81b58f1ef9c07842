"""Which channel of the image feeds which input of the model."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QWidget

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, add_to_form, form_layout
from napari_unet.gui.widgets.choices import combo

_COLOUR = (0, 1, 2)
Picked = tuple[int, ...] | None


class ChannelChooser(Step):
    """One combo box an input; hidden while the image has a single channel."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.boxes: list[QComboBox] = []
        self._offered: list[Picked] = []
        self._rows = QWidget()
        self.bind(self._show, "image_channels", "channels", "model")

    def _show(self) -> None:
        self._rows.hide()
        self._rows.deleteLater()
        self._rows, self.boxes = QWidget(), []
        form = form_layout(self._rows)
        self.column.addWidget(self._rows)
        model, count = self.state.model, self.state.image_channels
        self.setVisible(model is not None and count > 1)
        if model is None or count < 2:
            return
        names = model.spec.channel_names
        grey = model.spec.normalization.channels == "grey" and count >= len(_COLOUR)
        single: list[Picked] = [(channel,) for channel in range(count)]
        self._offered = [None, *([_COLOUR] if grey else []), *single]
        inputs = model.spec.image_channels
        for i in range(inputs):
            title = names[i] if len(names) == inputs > 1 else "Channel"
            self.boxes.append(self._box(i, self._offered))
            add_to_form(form, title, self.boxes[-1])

    def _box(self, place: int, offered: list[Picked]) -> QComboBox:
        box = combo("Which channel of the image the model sees here")
        box.addItems([_in_words(picked, self.state.image_channels) for picked in offered])
        chosen = self.state.channels
        if chosen in offered:
            box.setCurrentIndex(offered.index(chosen))
        elif chosen is not None and chosen[place : place + 1] in offered:
            box.setCurrentIndex(offered.index(chosen[place : place + 1]))
        box.activated.connect(self._choose)
        return box

    def _choose(self) -> None:
        picked = [self._offered[box.currentIndex()] for box in self.boxes]
        if all(one is not None for one in picked):
            self.state.channels = tuple(channel for one in picked if one for channel in one)


def _in_words(picked: Picked, count: int) -> str:
    if picked is None:
        return "Choose…"
    return "Colour (1, 2, 3) as grey" if picked == _COLOUR else f"{picked[0] + 1} of {count}"
