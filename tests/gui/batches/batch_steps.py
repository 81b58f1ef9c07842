"""Images for a run over many, and what a user does there with the mouse."""

import numpy as np
from qtpy.QtCore import QPoint, Qt

LEFT = Qt.MouseButton.LeftButton


def pixels(number):
    return np.random.default_rng(number).integers(0, 200, (24, 28), dtype="uint8")


def click(qtbot, widget):
    assert widget.isEnabled()
    qtbot.mouseClick(widget, LEFT)


def tick(qtbot, box):
    assert box.isEnabled()
    qtbot.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))


def double_click(qtbot, view, row):
    place = view.table.visualRect(view.table.list.index(row, 0)).center()
    qtbot.mouseClick(view.table.viewport(), LEFT, pos=place)
    qtbot.mouseDClick(view.table.viewport(), LEFT, pos=place)


def statuses(controller):
    return [row.status for row in controller.state.batch.rows]


def run(qtbot, view, idle):
    click(qtbot, view.run)
    idle(60_000)


def cells(view, column=1):
    return [view.table.list.index(row, column).data() for row in range(view.table.list.rowCount())]


def run_until(qtbot, view, client, image):
    """Run until an image, counted from 1, has its turn; the process then rests."""
    client.hold_at_image = image
    click(qtbot, view.run)
    qtbot.waitUntil(lambda: client.hold, timeout=60_000)


def row_at(view, row):
    return view.table.visualRect(view.table.list.index(row, 0)).center()
