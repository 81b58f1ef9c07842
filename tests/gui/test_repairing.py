"""What the scripted annotator plans is done by hand in a viewer: it repairs the labels, and costs what was counted."""

import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, Qt
from scenes import disks

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from repairing.hand import Hand
from repairing.matching import Overlaps, errors_of
from repairing.ours import Seen
from repairing.replaying import Sheet
from repairing.work import Sample, repair

from napari_unet.gui.tools.toolbox import TOOL_KEYS

TRUTH = disks((100, 140), (30, 25, 14), (30, 52, 14), (30, 105, 14), (75, 30, 14), (75, 110, 13)).astype(np.int32)
KEYS = {name: key for key, name in TOOL_KEYS.items()} | {"erase": "1", "paint": "2", "fill": "4", "pick": "5"}
SHAPES = {"grow": "G", "shrink": "G", "smooth": "R", "fill holes": "H", "keep largest": "K"}
SHIFT = Qt.KeyboardModifier.ShiftModifier


def predicted():
    """Two objects are one, one is two, one is too small, one is missing, and one is not there at all."""
    found = np.where(np.isin(TRUTH, (1, 2)), 1, TRUTH)
    found[(TRUTH == 3) & (np.arange(140) > 107)] = 8
    small = disks((100, 140), (75, 30, 11))
    found[TRUTH == 4] = np.where(small[TRUTH == 4], 4, 0)
    found[TRUTH == 5] = 0
    found[(disks((100, 140), (80, 70, 8)) > 0)] = 7
    return found.astype(np.int32)


def seen():
    """(class, Y, X) probabilities that know better."""
    border = (TRUTH == 0) * 0.0
    inside = np.where(TRUTH > 0, 0.9, 0.05)
    return np.stack([1 - inside - border, inside, border]).astype(np.float32)


class Counter(QObject):
    """Counts what is pressed on a canvas."""

    def __init__(self, native):
        super().__init__()
        self.clicks = self.keys = 0
        native.installEventFilter(self)

    def eventFilter(self, _target, event):
        self.clicks += event.type() in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
        self.keys += event.type() == QEvent.Type.KeyPress
        return False


class Viewed:
    """Does in a viewer what was planned, by the mouse and the keyboard."""

    def __init__(self, scene):
        self.scene, self.hand, self.layer = scene, scene.hand, scene.layer
        self.counter = Counter(self.hand.native)
        self.modifiers = self.held = 0

    def do(self, actions):
        for name, *rest in actions:
            getattr(self, "_" + name.replace(" ", "_"))(*rest)
            self.scene.finish()
        return np.array(self.layer.data, np.int32)

    def _tool(self, name):
        self.hand.press(KEYS[name])

    def _new(self):
        self.hand.press("M")

    def _swap(self):
        self.hand.press("X")

    def _preserve(self):
        self.hand.press("B")

    def _escape(self):
        self.hand.press("Escape")

    def _pick(self, at):
        self.hand.click(at)

    def _size(self, size):
        self.layer.brush_size = size

    def _paint(self, _label, _size, _preserve, points):
        self._stroke(points)

    def _erase(self, _size, points):
        self._stroke(points)

    def _stroke(self, points):
        if len(points) == 1:
            self.hand.click(points[0])
        else:
            self.hand.draw(*points)

    def _fill(self, _label, at):
        self.hand.click(at)

    def _split(self, points, _first):
        self.hand.draw(*points)

    def _seeds(self, places, _first):
        for at in places:
            self.hand.click(at)
        self.hand.press("Enter")

    def _merge(self, points, drawn):
        self.hand.draw(*points) if drawn else [self.hand.click(at) for at in points]

    def _wipe(self, at):
        self.hand.move(at)
        self.hand.press("W")

    def _take(self, at):
        self.hand.move(at)
        self.hand.press("Q")

    def _delete(self, points):
        self._stroke(points)

    def _smart_fill(self, at, extent, _number):
        self.hand.click(at)
        self.scene.finish()
        steps = round((extent - self.scene.controller.state.tooling.extent) / 0.05)
        if steps:
            self.modifiers += 1
            self.hand.scroll(at, steps)
            self.scene.finish()
        self.hand.press("Enter")

    def _reshape(self, at, how, _pixels, times):
        self.hand.move(at)
        self.modifiers += how == "shrink"
        for _ in range(times):
            self.hand.press(SHAPES[how], *([SHIFT] if how == "shrink" else []))
            self.scene.finish()


@pytest.mark.parametrize("way", ["ours", "napari"])
def test_a_plan_does_in_a_viewer_what_it_says(scene, way):
    s = scene(predicted().astype(np.uint32))
    s.keep(seen())
    by_hand = Viewed(s)
    s.layer.mode = "pan_zoom"
    assert len(errors_of(Overlaps.of(TRUTH, predicted()), 0.85)) == 5
    rows = repair(Sample("fluo", "disks", TRUTH, predicted(), seen()), way, 0.85, by_hand)
    assert not errors_of(Overlaps.of(TRUTH, np.array(s.layer.data, np.int32)), 0.85)
    assert by_hand.counter.clicks == sum(row["clicks"] for row in rows)
    if way == "ours":
        assert by_hand.counter.keys + by_hand.modifiers == sum(row["keys"] for row in rows)
        assert "wipe" in {name for row in rows for name in row["actions"]}
        takes_a_label_by_a_key(by_hand)


def takes_a_label_by_a_key(by_hand):
    before, counter = np.array(by_hand.layer.data, np.int32), by_hand.counter
    clicks, keys, label = counter.clicks, counter.keys, int(before[75, 30])
    line = ((75.013, 30.013), (75.013, 60.013))
    hand = Hand((50.0, 70.0), next_id=50, quick=True).choose(label, (75, 30), 9).take("paint").draw(line, 9)
    actions = hand.did("paint", label, 10, False, line).actions
    painted = by_hand.do(actions)
    assert before[75, 60] == 0 != label == painted[75, 60]
    assert np.array_equal(painted, Sheet(before, Seen(seen())).do(actions))
    assert (counter.clicks - clicks, counter.keys - keys) == (hand.cost.clicks, hand.cost.keys) == (1, 1)
