"""A hand on the mouse and the keyboard of a viewer that is shown."""

from itertools import pairwise

import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

LEFT = Qt.MouseButton.LeftButton
KEYS = {"Enter": Qt.Key.Key_Return, "Escape": Qt.Key.Key_Escape, "Space": Qt.Key.Key_Space}


class Pointer:
    """Points at indices of a layer's array; the axes that are not on the screen stay where they are."""

    def __init__(self, viewer, layer):
        self.viewer, self.layer = viewer, layer
        self.canvas = viewer.window._qt_viewer.canvas
        self.native = self.canvas.native
        self.native.setFocus()

    def at(self, index):
        """The place on the canvas of an index along the displayed axes."""
        displayed = list(self.viewer.dims.displayed)
        full = np.array(self.viewer.dims.point, float)
        ahead = self.viewer.dims.ndim - self.layer.ndim
        place = np.array(self.layer.world_to_data(full[ahead:]), float)
        for dim, at in zip(displayed, index, strict=True):
            place[dim - ahead] = at
        world = np.array(self.layer.data_to_world(place))[[dim - ahead for dim in displayed]]
        x, y = self.canvas.view.scene.transform.map(world[::-1])[:2]
        return QPoint(round(float(x)), round(float(y)))

    def move(self, index):
        """Move there, until napari has noticed."""
        where = self.at(index)
        for _ in range(100):
            QTest.mouseMove(self.native, where)
            QTest.qWait(10)
            seen = self.layer.world_to_data(self.viewer.cursor.position)
            shown = [dim - self.viewer.dims.ndim + self.layer.ndim for dim in self.viewer.dims.displayed]
            if np.allclose([seen[dim] for dim in shown], index, atol=1):
                return
            QTest.mouseMove(self.native, where + QPoint(1, 0))
        raise AssertionError

    def click(self, index):
        where = self.at(index)
        QTest.mouseMove(self.native, where)
        QTest.mousePress(self.native, LEFT, Qt.KeyboardModifier.NoModifier, where)
        QTest.mouseRelease(self.native, LEFT, Qt.KeyboardModifier.NoModifier, where)

    def draw(self, *indices):
        """Drag from point to point, in small steps."""
        points = [self.at(index) for index in indices]
        QTest.mousePress(self.native, LEFT, Qt.KeyboardModifier.NoModifier, points[0])
        for a, b in pairwise(points):
            for share in np.linspace(0.1, 1, 10):
                QTest.mouseMove(self.native, a + (b - a) * float(share))
                QTest.qWait(8)  # napari drops moves that follow each other faster
        QTest.mouseRelease(self.native, LEFT, Qt.KeyboardModifier.NoModifier, points[-1])

    def press(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        QTest.keyClick(self.native, KEYS.get(key) or getattr(Qt.Key, f"Key_{key}"), modifier)

    def undo(self):
        self.press("Z", Qt.KeyboardModifier.ControlModifier)

    def redo(self):
        self.press("Z", Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)

    def scroll(self, index, steps, modifier=Qt.KeyboardModifier.ShiftModifier):
        where = QPointF(self.at(index))
        QApplication.sendEvent(
            self.native,
            QWheelEvent(
                where,
                QPointF(self.native.mapToGlobal(where.toPoint())),
                QPoint(0, 0),
                QPoint(0, 120 * steps),
                Qt.MouseButton.NoButton,
                modifier,
                Qt.ScrollPhase.NoScrollPhase,
                False,
            ),
        )
