"""How often the window is drawn while work runs."""

import time

import numpy as np
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_unet.events import TileDone
from napari_unet.gui import layers
from napari_unet.gui.pacing import SHARE, Pace
from napari_unet.gui.state import Advance
from napari_unet.gui.widgets.status_strip import StatusStrip


@pytest.fixture
def pace(qtbot):
    return Pace()


def every_5_ms(qtbot, call, seconds):
    timer = QTimer()
    timer.timeout.connect(call)
    timer.start(5)
    qtbot.wait(round(1000 * seconds))
    timer.stop()


def test_the_first_change_is_shown_at_once_and_the_last_one_in_the_end(pace, qtbot):
    shown, latest = [], [0]

    def draw():
        shown.append(latest[0])

    pace.ask(draw)
    assert shown == [0]
    for latest[0] in range(1, 50):
        pace.ask(draw)
    assert shown == [0]
    qtbot.waitUntil(lambda: shown == [0, 49], timeout=1000)


def test_slow_drawing_takes_a_small_part_of_the_time(pace, qtbot):
    spent = []

    def draw():
        began = time.perf_counter()
        time.sleep(0.012)
        spent.append(time.perf_counter() - began)

    draw()
    spent.clear()
    every_5_ms(qtbot, lambda: pace.ask(draw), 1.5)
    assert 2 <= len(spent) <= 8
    assert sum(spent) < 5 * SHARE * 1.5


def test_one_slow_drawing_is_soon_forgotten_and_many_are_not(pace, qtbot):
    lasts = iter([0.25, *[0.001] * 100])
    shown = []

    def draw():
        shown.append(time.perf_counter())
        time.sleep(next(lasts))

    every_5_ms(qtbot, lambda: pace.ask(draw), 1.5)
    assert len(shown) >= 4
    lasts = iter([0.1] * 100)
    shown.clear()
    every_5_ms(qtbot, lambda: pace.ask(draw), 2.5)
    assert len(shown) <= 4


def test_the_time_until_qt_has_painted_counts(pace, qtbot):
    class Slow(QWidget):
        painted = 0

        def paintEvent(self, event):
            self.painted += 1
            time.sleep(0.015)

    widget = Slow()
    qtbot.addWidget(widget)
    with qtbot.waitExposed(widget):
        widget.show()
    qtbot.wait(50)
    widget.painted = 0
    every_5_ms(qtbot, lambda: pace.ask(widget.update), 1.5)
    assert 2 <= widget.painted <= 8


def test_what_is_over_is_not_drawn(pace, qtbot):
    shown = []
    pace.ask(lambda: None)
    pace.ask(lambda: shown.append(1))
    pace.forget()
    qtbot.wait(300)
    assert not shown


def test_the_bar_does_not_make_qt_paint_at_once(controller, qtbot, monkeypatch):
    strip = StatusStrip(controller)
    qtbot.addWidget(strip)
    with qtbot.waitExposed(strip):
        strip.show()
    controller.state.activity = "Segmenting"
    controller.state.advance = Advance(stage="Running the network", done=1, total=100)
    qtbot.wait(50)
    paints = []
    monkeypatch.setattr(type(strip.bar), "paintEvent", lambda *_: paints.append(1), raising=False)
    controller.state.advance = Advance(stage="Running the network", done=50, total=100)
    assert not paints
    assert strip.bar.value() == 50
    assert strip.bar.updatesEnabled()


@pytest.mark.parametrize(("plane", "drawn"), [(0, 0), (3, 1)])
def test_planes_that_nobody_looks_at_are_not_drawn(viewer, controller, client, qtbot, blobs, plane, drawn):
    viewer.add_image(np.stack([blobs] * 5))
    viewer.dims.set_current_step(0, 3)
    client.hold_after = 1
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: client.hold)
    qtbot.wait(300)
    (layer,) = layers.with_role(viewer, "probability")
    refreshed = []
    layer.events.set_data.connect(lambda: refreshed.append(1))
    controller._desk.runner._tell(TileDone(2, 9, (((0, 1), (plane, plane + 1), (0, 96), (0, 128)),)))
    qtbot.wait(300)
    assert len(refreshed) == drawn
