"""What saving costs while one paints: ``python benchmarks/painting.py [--side 2048] [--strokes 40]``.

Two label layers of the same size lie over an image; every edit of one is recorded and saved, as when correcting.
The mouse, moved by events of Qt, paints strokes of two seconds into one and into the other in turns. For each move the
processor time of the viewer's thread is noted until the next one, 16 ms later, with all that happens in between.
Needs a display, or ``xvfb-run -a``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest

from napari_unet.gui.recording import STROKE, Recorder
from napari_unet.session.identity import ImageIdentity
from napari_unet.session.project import open_project
from napari_unet.session.session import Session

MOVES, MOVE_MS = 120, 16
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Saving:
    """Records and saves a layer, as the panel does."""

    def __init__(self, layer: Labels, folder: Path) -> None:
        identity = ImageIdentity(name="cells", shape=layer.data.shape, dtype="<u2", fingerprint="00")
        self.session = Session(open_project(identity, folder), prompted=True)
        self.session.add_layer("correction", layer.data, {})
        self._layer = layer
        self._recorder = Recorder(layer, self._on_edit, strokes=True)
        self._timer = QTimer()
        self._timer.timeout.connect(self._answer)
        self._timer.start(200)

    def _on_edit(self, kind: str, boxes: list[tuple[tuple[int, int], ...]]) -> None:
        self.session.record("correction", kind, boxes, ended=kind != STROKE)

    def _answer(self) -> None:
        if self.session.asks:
            self._recorder.tell_stroke()
            self.session.all_is_told()

    def close(self) -> bool:
        """Write what is left; whether all of it is on the disk."""
        self._timer.stop()
        self._recorder.close()
        return self.session.close()


def stroke(viewer: napari.Viewer, layer: Labels, rng: np.random.Generator) -> list[float]:
    """Paint a stroke and return the processor time of each move in ms."""
    canvas = viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = layer
    layer.mode, layer.selected_label, layer.brush_size = "paint", int(rng.integers(1, 1000)), 20
    size = np.array([canvas.width(), canvas.height()])
    at = rng.uniform(0.3, 0.7, 2) * size
    QTest.mouseMove(canvas, QPoint(*map(int, at)))
    QTest.mousePress(canvas, LEFT, NONE, QPoint(*map(int, at)))
    costs = []
    for _ in range(MOVES):
        at = np.clip(at + rng.normal(0, 8, 2), 0.1 * size, 0.9 * size)
        begun = time.thread_time()
        QTest.mouseMove(canvas, QPoint(*map(int, at)))
        QTest.qWait(MOVE_MS)
        costs.append(1000 * (time.thread_time() - begun))
    QTest.mouseRelease(canvas, LEFT, NONE, QPoint(*map(int, at)))
    begun = time.thread_time()
    QTest.qWait(MOVE_MS)
    return [*costs, 1000 * (time.thread_time() - begun)]


def measure(side: int, strokes: int) -> dict[str, object]:
    """Paint in turns."""
    rng = np.random.default_rng(0)
    viewer = napari.Viewer()
    viewer.add_image(rng.integers(0, 999, (side, side)).astype(np.uint16), name="cells")
    layers = {name: viewer.add_labels(np.zeros((side, side), np.uint32), name=name) for name in ("plain", "saved")}
    with tempfile.TemporaryDirectory() as folder:
        saving = Saving(layers["saved"], Path(folder) / "cells.napari-unet")
        QTest.qWait(2000)
        costs: dict[str, list[float]] = {name: [] for name in layers}
        for number in range(2 * strokes + 2):
            name = ("plain", "saved")[number % 2]
            found = stroke(viewer, layers[name], rng)
            if number >= 2:  # the first ones compile and load
                costs[name] += found
        painted = {name: int((layer.data > 0).sum()) for name, layer in layers.items()}
        saved = saving.close()
    viewer.close()
    assert saved
    assert min(painted.values()) > 0
    return {"side": side, "moves": len(costs["saved"])} | {name: spread(found) for name, found in costs.items()}


def spread(costs: list[float]) -> dict[str, float]:
    """Percentiles."""
    return {f"p{part}_ms": round(float(np.percentile(costs, part)), 2) for part in (50, 95, 99, 100)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, nargs="+", default=[2048])
    parser.add_argument("--strokes", type=int, default=40)
    options = parser.parse_args()
    for side in options.side:
        print(json.dumps(measure(side, options.strokes)))


if __name__ == "__main__":
    main()
