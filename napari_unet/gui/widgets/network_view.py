"""The picture of the chosen network, and what it costs on the chosen image."""

from __future__ import annotations

from qtpy.QtCore import QByteArray, QEvent
from qtpy.QtGui import QPalette
from qtpy.QtSvgWidgets import QSvgWidget
from qtpy.QtWidgets import QSizePolicy

from napari_unet.gui.controller import Controller
from napari_unet.gui.widgets.base import Step, say, sentence
from napari_unet.inference.config import Cost
from napari_unet.networks.drawing import DARK, LIGHT, draw
from napari_unet.networks.registry import resolve_options

WIDTH_PX = 300


class NetworkView(Step):
    """A drawing to scale, and one line of cost."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.picture = QSvgWidget()
        self.picture.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.picture.setToolTip("Boxes are as wide as a block has channels, and as high as its features are")
        self.cost = sentence()
        self.cost.setToolTip("From one small forward pass on this computer; the overlap of tiles is included")
        self.add(self.picture, self.cost)
        self.bind(self._show_picture, "model")
        self.bind(self._show_cost, "cost", "measuring")

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802  # Qt's name
        """Draw again in the colours of another theme."""
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange}:
            self._show_picture()

    def _show_picture(self) -> None:
        model = self.state.model
        self.picture.setVisible(model is not None)
        if model is None:
            return
        network = model.spec.network
        outline = resolve_options(network).outline(network.in_channels, network.out_channels)
        dark = self.palette().color(QPalette.ColorRole.Window).lightness() < 128
        self.picture.load(QByteArray(draw(outline, WIDTH_PX, DARK if dark else LIGHT).encode()))
        self.picture.setFixedSize(self.picture.renderer().defaultSize())

    def _show_cost(self) -> None:
        if self.state.cost is None:
            say(self.cost, "Measuring what it costs…" if self.state.measuring else "")
        else:
            where = "this image" if self.state.image else "an image of usual size"
            say(self.cost, cost_in_words(self.state.cost, where))


def cost_in_words(cost: Cost, where: str) -> str:
    """Say what a network costs.

    >>> cost_in_words(Cost(parameters=7_762_531, operations=5.4e11, memory_bytes=387_000_000, seconds=4.75, tiles=4,
    ...     device="cpu"), "this image")
    '7.8 million parameters. On this image: 5 s on cpu, 540 billion operations, 390 MB of memory, 4 pieces.'
    """
    return (
        f"{_short(cost.parameters)} parameters. On {where}: {duration(cost.seconds)} on {cost.device}, "
        f"{_short(cost.operations)} operations, {_bytes(cost.memory_bytes)} of memory, "
        f"{cost.tiles:,} piece{'s' if cost.tiles > 1 else ''}."
    )


def duration(seconds: float) -> str:
    """Say how long something takes, roughly.

    >>> duration(0.2), duration(42), duration(200), duration(9000)
    ('less than 1 s', '42 s', '3 min', '2.5 h')
    """
    if seconds < 1:
        return "less than 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _short(number: float) -> str:
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{_two_digits(number / size)} {word}"
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    for size, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{_two_digits(number / size)} {word}"
    return f"{number:.0f} bytes"


def _two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{float(f'{number:.2g}'):g}"
