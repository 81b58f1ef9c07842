"""A viewer that paints at random, writes down what it does and what is called saved, and is killed by `crash.py`.

It reads lines from standard input, a folder, a seed, and 1 if a model is to be trained meanwhile, and forks a viewer
for each; so napari is imported once. What a viewer does is in the file ``ledger`` of its folder:

    start CRC           the correction layer as it begins
    part N I CRC        it will have this checksum when part I of the stroke N is painted (found on a copy)
    next N KIND CRC     it will have this checksum when edit N is done
    raw N LABEL BOX     that edit fills this box behind napari's back
    drew N I TIME       part I of a stroke is painted
    done N TIME CRC     the edit is done; the checksum is that of the reviewed layer
    saved N             the panel says "Saved"
    child PID           of the background process
    training            it has trained a step
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", "")
os.environ["NUMBA_THREADING_LAYER"] = "forksafe"

import napari
import napari.viewer
import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QApplication

import napari_unet
from napari_unet.gui.controller import Controller
from napari_unet.gui.editing import apply_changes
from napari_unet.gui.layers import look_of
from napari_unet.jobs.client import JobClient
from napari_unet.objects.editing.changes import Change
from napari_unet.session.session import Session

SHAPE = (5, 256, 256)
KINDS = [*["paint"] * 5, *["drag"] * 4, "given up", "erase", "ball", "fill", "polygon", "undo", "undo", "redo"]
KINDS += ["ours", "ours", "raw", "data"]
Edit = Callable[[Labels], None]
WAIT_S = 20.0


class NoClient:
    """A background process that is none."""

    def start(self) -> None:
        """Do nothing."""

    def submit(self, request: object) -> int:  # noqa: ARG002
        """Do nothing."""
        return 0

    def cancel(self, job: int) -> None:
        """Do nothing."""

    def pause(self, job: int, paused: bool = True) -> None:
        """Do nothing."""

    def poll(self) -> list[object]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""


def checksum(layer: Labels) -> int:
    """Return the checksum of a layer's values."""
    return zlib.crc32(np.ascontiguousarray(layer.data).view(np.uint8))


def box_of(rng: np.random.Generator, plane: int) -> tuple[tuple[int, int], ...]:
    """Return a small box in a plane."""
    y, x = (int(rng.integers(0, n - 8)) for n in SHAPE[1:])
    return ((plane, plane + 1), (y, min(SHAPE[1], y + 25)), (x, min(SHAPE[2], x + 25)))


def drag(rng: np.random.Generator, plane: int) -> list[tuple[float, float, float]]:
    """Choose where a long stroke goes."""
    at = rng.uniform((0, 0), SHAPE[1:])
    way = np.cumsum(rng.normal(0, 7, (int(rng.integers(3, 16)), 2)), axis=0) + at
    return [(plane, *np.clip(place, 0, np.array(SHAPE[1:]) - 1)) for place in way]


def edit(rng: np.random.Generator, number: int, plane: int, kind: str) -> tuple[Edit, Any]:
    """Choose what is done next; return also what it will have been told of, if it writes behind napari's back."""
    label = number % 60000 + 1
    place = tuple(int(rng.integers(0, n)) for n in SHAPE)
    boxes = [box_of(rng, plane) for _ in range(3)]
    corners = [(place[0], int(rng.integers(0, SHAPE[1])), int(rng.integers(0, SHAPE[2]))) for _ in range(4)]
    fresh = np.where(rng.random(SHAPE) < 0.1, label, 0).astype(np.uint32)

    def stroke(layer: Labels) -> None:
        with layer.block_history():
            for step in range(5):
                layer.paint((place[0], place[1], min(SHAPE[2] - 1, place[2] + 3 * step)), label)

    def ball(layer: Labels) -> None:
        layer.n_edit_dimensions = 3
        layer.paint(place, label)
        layer.n_edit_dimensions = 2

    def ours(layer: Labels) -> None:
        changes = [Change(box, np.full([b - a for a, b in box], label, np.uint32)) for box in boxes]
        apply_changes(layer, changes)

    def raw(layer: Labels) -> None:
        layer.data[tuple(slice(*part) for part in boxes[0])] = label

    def replaced(layer: Labels) -> None:
        layer.data = fresh.copy()

    edits: dict[str, Edit] = {
        "paint": stroke,
        "erase": lambda layer: layer.paint(place, 0),
        "ball": ball,
        "fill": lambda layer: layer.fill(place, label),
        "polygon": lambda layer: layer.paint_polygon(corners, label),
        "undo": lambda layer: layer.undo(),
        "redo": lambda layer: layer.redo(),
        "ours": ours,
        "raw": raw,
        "data": replaced,
    }
    return edits[kind], f"raw {number} {label} {json.dumps(boxes[0])}" if kind == "raw" else ""


class Painter:
    """Paints in a viewer, and tells of it."""

    def __init__(self, folder: Path, seed: int, *, trains: bool) -> None:
        self._rng = np.random.default_rng(seed)
        self._folder = folder
        self._ledger = (folder / "ledger").open("a", buffering=1)
        self.app = napari.qt.get_qapp()
        self._viewer = napari.Viewer(show=False)
        self._client = JobClient() if trains else NoClient()
        self._controller = Controller(self._viewer, self._client)
        image = np.random.default_rng(7).integers(0, 999, SHAPE).astype(np.uint16)
        self._viewer.add_image(image, name="cells")
        self._training = False

    def tell(self, text: str) -> None:
        """Write a line that outlives this process."""
        self._ledger.write(text + "\n")

    def spin(self, until: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
        """Let the viewer live until something is so."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.app.processEvents()
            if until():
                return True
            time.sleep(0.002)
        return False

    def begin(self, *, again: bool) -> None:
        """Start correcting, or go on with what was recovered."""
        state = self._controller.state
        if again and self.spin(lambda: state.keeping.offer is not None):
            self._controller.keeper.go_on()
        else:
            self._controller.correcting.start()
        if not self.spin(lambda: state.keeping.kept):
            raise SystemExit(f"nothing is kept: {state.message.text}")
        self.layer, self.reviewed = self._controller._desk.correction()
        self.layer.brush_size = 9
        self.spin(lambda: False, 0.7)  # the plane on the screen has been looked over then
        # Doing edits twice, once here, tells beforehand what they lead to.
        self._copy = Labels(self.layer.data.copy())
        self._copy.brush_size = 9
        self.tell(f"start {checksum(self.layer)}")

    def train(self) -> None:
        """Begin to fine-tune a model on what is reviewed."""
        self._controller.correcting.mark("plane")
        state = self._controller.state
        self.spin(lambda: any(count.reviewed_px for count in state.counts))
        state.minutes = 2
        self._controller.finetuning.start()
        self.tell(f"child {self._client.process_id}")
        self._training = True

    def go(self, number: int) -> None:
        """Make an edit."""
        plane = self._viewer.dims.current_step[0]
        kind = str(self._rng.choice(KINDS))
        if kind in {"drag", "given up"}:
            self._drag(number, plane, given_up=kind == "given up")
        else:
            self._edit(number, plane, kind)
        self.tell(f"done {number} {time.time()} {checksum(self.reviewed)}")
        if self._training and self._controller.state.curve.loss:
            self.tell("training")
            self._training = False
        self._between(number)

    def _drag(self, number: int, plane: int, *, given_up: bool) -> None:
        """Paint a stroke for a second or so, and perhaps take it back before it ends."""
        places, label = drag(self._rng, plane), number % 60000 + 1
        for layer in (self._copy, self.layer):
            layer._begin_stroke()
            for part, place in enumerate(places):
                layer.paint(place, label)
                if layer is self._copy:
                    self.tell(f"part {number} {part} {checksum(layer)}")
                else:
                    self.tell(f"drew {number} {part} {time.time()}")
                    self.spin(lambda: False, float(self._rng.uniform(0.01, 0.15)))
            (layer._abort_stroke if given_up else layer._commit_stroke)()
            if layer is self._copy:
                self.tell(f"next {number} {'given-up' if given_up else 'drag'} {checksum(layer)}")
        self.app.processEvents()

    def _edit(self, number: int, plane: int, kind: str) -> None:
        change, raw = edit(self._rng, number, plane, kind)
        if raw:
            self.tell(raw)
        change(self._copy)
        self.tell(f"next {number} {kind} {checksum(self._copy)}")
        session = self._session
        before, old = session.journal.state, self.layer.data.copy()
        change(self.layer)
        self.app.processEvents()
        if kind == "raw" and not np.array_equal(old, self.layer.data):
            count = before.number + before.waiting
            if not self.spin(lambda: session.journal.state.number + session.journal.state.waiting > count, 5):
                raise SystemExit("a raw write was not seen")
        if checksum(self._copy) != checksum(self.layer):
            raise SystemExit(f"{kind} did something else the second time")

    @property
    def _session(self) -> Session:
        return next(iter(self._controller.keeper._kept.values())).session

    def _between(self, number: int) -> None:
        """Pause, mark as reviewed, export, make snapshots."""
        chance = self._rng.random()
        if chance < 0.04:
            self._controller.correcting.mark("plane")
            self.app.processEvents()
            self.tell(f"done {number} {time.time()} {checksum(self.reviewed)}")
        elif chance < 0.10:
            self._session.snapshot()
        elif chance < 0.13:
            napari_unet.save_masks(self._folder / "masks.tif", self.layer.data.copy(), axes="ZYX")
        wait = 0.5 if chance > 0.6 else float(self._rng.random()) * 0.03
        keeping = self._controller.state
        if self.spin(lambda: keeping.keeping.saved, wait):
            self.tell(f"saved {number}")


def paint(folder: Path, seed: int, *, trains: bool) -> None:
    """Paint until killed."""
    os.environ["NAPARI_UNET_HOME"] = str(folder / "home")
    painter = Painter(folder, seed, trains=trains)
    painter.begin(again=any((folder / "home").rglob("project.json")))
    number = 0
    while True:
        number += 1
        painter.go(number)
        if trains and number == 3:
            painter.train()


def warm_up() -> None:
    """Import and compile beforehand what each viewer would for itself; no thread may be left, forks have none."""
    for name in ("napari._qt.qt_main_window", "napari._vispy.utils.visual", "pyqtgraph", "zarr", "tifffile"):
        importlib.import_module(name)
    numbers = np.ones((4, 4), np.uint32)
    Labels(numbers), Labels(numbers.astype(np.uint8), **look_of("reviewed"))
    assert QApplication.instance() is None
    assert threading.active_count() == 1, threading.enumerate()


def main() -> None:
    """Fork a viewer for each line."""
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        folder, seed, trains = line.rsplit(maxsplit=2)
        child = os.fork()
        if not child:
            log = os.open(Path(folder) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                paint(Path(folder), int(seed), trains=trains == "1")
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
