"""How long each correction tool takes: ``python benchmarks/correcting.py``.

For label layers of 512², 2048², 8192² and 64 x 2048 x 2048 pixels with an object of 40 pixels every 64, each
operation is called as its button calls it. "blocked" is the longest time that it kept the viewer from reacting
(drawing apart, which a graphics card does), "done" the time until the labels have changed. For comparison,
napari's own bucket fill of one object and of the background. Needs a display, or ``xvfb-run -a``; 8 GB of memory
for the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("NAPARI_CONFIG", "")
os.environ.setdefault("NAPARI_UNET_HOME", tempfile.mkdtemp(prefix="napari-unet-benchmark-"))

import napari
import numpy as np
from qtpy.QtCore import QCoreApplication

from napari_unet.gui.controller import Controller, controller_of
from napari_unet.gui.tools import shaped
from napari_unet.gui.tools.clicked import Delete, Merge, Split
from napari_unet.gui.tools.filling import SmartFill

PITCH, RADIUS = 64, 20
SIZES = {"512": (512, 512), "2048": (2048, 2048), "8192": (8192, 8192), "stack": (64, 2048, 2048)}
TIMEOUT_S = 300


def grid(shape: tuple[int, ...]) -> np.ndarray:
    """Disks in rows and columns; in a stack, through slices 8 to 56."""
    y, x = np.ogrid[:PITCH, :PITCH]
    disk = (y - PITCH // 2) ** 2 + (x - PITCH // 2) ** 2 <= RADIUS**2
    rows, columns = shape[-2] // PITCH, shape[-1] // PITCH
    ids = np.arange(1, rows * columns + 1, dtype=np.uint32).reshape(rows, columns)
    plane = np.kron(ids, np.ones((PITCH, PITCH), np.uint32)) * np.tile(disk, (rows, columns))
    if len(shape) == 2:
        return plane
    stack = np.zeros(shape, np.uint32)
    stack[8:56] = plane
    return stack


def disk(row: int, column: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the centre of an object."""
    at = [row * PITCH + PITCH / 2, column * PITCH + PITCH / 2]
    return np.array([32.0, *at] if len(shape) == 3 else at)


def clock(controller: Controller, call: Callable[[], object]) -> dict[str, float]:
    """Time a call until its edit is there, and how long the event loop stood still at most."""
    QCoreApplication.processEvents()
    began = time.perf_counter()
    call()
    turns = [time.perf_counter() - began]
    done = turns[0]
    works = [controller.tools._work, controller.tools.filtering._work]
    for work in works:
        work._timer.timeout.disconnect()
        work._timer.timeout.connect(lambda work=work: turns.append(taken(work._go_on)))
    while any(work.busy for work in works):
        time.sleep(0.001)
        QCoreApplication.processEvents()
        if controller.tools.busy:
            done = time.perf_counter() - began
        if time.perf_counter() - began > TIMEOUT_S:
            sys.exit("an edit took too long")
    message = controller.state.message
    if message.level == "error":
        sys.exit(message.text)
    return {"blocked_ms": round(max(turns) * 1000, 1), "done_ms": round(done * 1000, 1)}


def taken(call: Callable[[], object]) -> float:
    """Time a call in seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def run(shape: tuple[int, ...]) -> dict[str, object]:
    """Measure all operations on one layer."""
    viewer = napari.Viewer()
    controller = controller_of(viewer)
    controller.keeper.begin = lambda _image: None  # what saving costs is measured elsewhere
    labels = grid(shape)
    viewer.add_image((labels > 0).astype(np.uint8), contrast_limits=(0, 1))
    controller.correcting.start()
    layer = controller._desk.correction()[0]
    layer.data = labels
    if len(shape) == 3:
        viewer.dims.set_current_step(0, 32)
        layer.n_edit_dimensions = 3
    controller.vouching.close()
    bench = controller.tools.bench()
    began = time.perf_counter()
    while not bench.known.index.complete:
        QCoreApplication.processEvents()
        time.sleep(0.005)
    results: dict[str, object] = {"index_s": round(time.perf_counter() - began, 2)}
    for name, call in operations(controller, shape).items():
        results[name] = clock(controller, call)
    inside = tuple(disk(5, 5, shape).astype(int))
    results["napari fill of one object"] = clock(controller, lambda: layer.fill(inside, 9))
    corner = (32, 1, 1) if len(shape) == 3 else (1, 1)
    results["napari fill of the background"] = clock(controller, lambda: layer.fill(corner, 99_999))
    layer._reset_history()
    controller.close()
    viewer.close()
    return results


def operations(controller: Controller, shape: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    bench, tools = controller.tools.bench(), controller.tools
    layer = bench.layer
    at = lambda row, column: disk(row, column, shape)  # noqa: E731
    across = np.array([0] * (len(shape) - 2) + [30, 0])
    merge, delete = Merge(bench), Delete(bench)
    evidence = tools._evidence
    split = Split(bench, lambda _pane, _box: None)
    smart = SmartFill(bench, lambda: evidence(bench), lambda: 0.5, lambda _extent: None)
    sideways = np.array([0] * (len(shape) - 2) + [0, 10])

    def chosen(number: int, call: Callable[[], object]) -> Callable[[], object]:
        def chosen_first() -> None:
            layer.selected_label = number
            call()

        return chosen_first

    made: dict[str, Callable[[], object]] = {
        "merge two": lambda: (merge.drop(), merge.click(at(1, 1)), merge.click(at(1, 2))),
        "merge seven by a line": lambda: merge.draw([at(2, 0), at(2, 3), at(2, 6)]),
        "split by a line": lambda: split.draw([at(3, 3) - across, at(3, 3), at(3, 3) + across]),
        "split by seeds": lambda: (split.click(at(3, 5) - sideways), split.click(at(3, 5) + sideways), split.accept()),
        "delete": lambda: delete.click(at(4, 4)),
        "delete seven by a line": lambda: delete.draw([at(5, 0), at(5, 3), at(5, 6)]),
        "undo": layer.undo,
        "new object": tools.new_object,
        "grow": chosen(1, lambda: tools.reshape("grow")),
        "shrink": chosen(1, lambda: tools.reshape("shrink")),
        "fill holes": chosen(1, lambda: tools.reshape("fill holes")),
        "smooth": chosen(1, lambda: tools.reshape("smooth", 2)),
        "keep largest": chosen(1, lambda: tools.reshape("keep largest")),
        "smart fill, propose": lambda: smart.click(at(4, 4)),
        "smart fill, take": smart.accept,
        "remove the small ones": lambda: (tools.filtering._show(smaller_px=800), tools.filtering.remove()),
        "relabel": tools.filtering.relabel,
        "undo relabel": layer.undo,
    }
    if len(shape) == 3:
        gap = lambda: shaped.interpolate_one(bench)  # noqa: E731
        layer.data[20:30, : 2 * PITCH, : 2 * PITCH] = 0
        made = {"interpolate 10 slices": chosen(1, gap), **made, "copy to a slice": chosen(1, lambda: tools.copy(30))}
    return made


def shortest(runs: list[dict[str, object]]) -> dict[str, object]:
    """Return the run with the shortest time of each operation."""
    return {
        name: min((one[name] for one in runs), key=lambda v: v if isinstance(v, float) else v["done_ms"])
        for name in runs[0]
    }


def main() -> None:
    """Run the benchmark and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=list(SIZES), help=", ".join(SIZES))
    parser.add_argument("--repeat", type=int, default=3, help="runs of each size; the shortest times count")
    options = parser.parse_args()
    found = {size: shortest([run(SIZES[size]) for _ in range(options.repeat)]) for size in options.sizes}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
