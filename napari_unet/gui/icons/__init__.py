"""Pictures on buttons, drawn for this panel, in the colours of napari's theme."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from qtpy.QtCore import QByteArray, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

# Of the pixmaps; Qt takes the one that fits the screen.
_SIDES_PX = (20, 30, 40, 60)


def icon(name: str, *, normal: str, chosen: str, disabled: str) -> QIcon:
    """Return a picture in three colours.

    Parameters
    ----------
    name : str
        Of the file, with spaces for its hyphens.
    normal, chosen, disabled : str
        Colours as "#rrggbb".
    """
    made = QIcon()
    for side in _SIDES_PX:
        made.addPixmap(_drawn(name, normal, side), QIcon.Mode.Normal, QIcon.State.Off)
        made.addPixmap(_drawn(name, chosen, side), QIcon.Mode.Normal, QIcon.State.On)
        for state in (QIcon.State.Off, QIcon.State.On):
            made.addPixmap(_drawn(name, disabled, side), QIcon.Mode.Disabled, state)
    return made


def _drawn(name: str, colour: str, side: int) -> QPixmap:
    pixmap = QPixmap(side, side)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(_svg(name).replace("currentColor", colour).encode())).render(painter)
    painter.end()
    return pixmap


@cache
def _svg(name: str) -> str:
    return (files(__name__) / f"{name.replace(' ', '-')}.svg").read_text("utf-8")
