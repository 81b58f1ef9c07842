"""The main job on a real image, in napari: ``python -m napari_unet.gui.demo --out FOLDER``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import napari
from qtpy.QtCore import QCoreApplication

from napari_unet.gui.controller import Controller
from napari_unet.gui.panels import Panel
from napari_unet.gui.state import ViewerState

PLUGIN = "napari-unet"
SAMPLE = "fluorescence"
_TIMEOUT_S = 600
_WINDOW = (1360, 860)


class DemoError(Exception):
    """The demonstration did not work; the message is the panel's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Open napari with the panel, segment nuclei in fluorescence, start a correction, write files."""
    parser = argparse.ArgumentParser(prog="python -m napari_unet.gui.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the files")
    parser.add_argument("--exit", action="store_true", help="close napari when the files are written")
    options = parser.parse_args(arguments)
    viewer = napari.Viewer(title="napari · U-Net demo")
    viewer.window.resize(*_WINDOW)
    try:
        report = run(viewer, options.out)
    except DemoError as error:
        viewer.close()
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(report + "\n")
    sys.stdout.flush()
    if options.exit:
        viewer.close()
    else:
        napari.run()
    return 0


def run(viewer: napari.Viewer, out: Path) -> str:
    """Do the main job through the plugin and return what to tell.

    Raises
    ------
    DemoError
        If a step fails.
    """
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "U-Net workbench")
    assert isinstance(panel, Panel)
    controller = panel.controller
    viewer.open_sample(PLUGIN, SAMPLE)
    panel.show_step("Segment")
    controller.segmenting.segment()
    _wait(controller)
    segmented = controller.state.segmented
    if segmented is None:
        raise DemoError(controller.state.message.text)
    panel.show_step("Correct")
    controller.correcting.start()
    _settle()
    files = _write(viewer, controller, out)
    lines = [f"{segmented.objects} nuclei were found in a fluorescence image."]
    return "\n".join([*lines, *(f"{name + ':':18}{path}" for name, path in files.items())])


def _write(viewer: napari.Viewer, controller: Controller, out: Path) -> dict[str, Path]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f'The folder "{out}" cannot be made ({error.strerror}). Give another one.') from error
    files = {
        "masks": out / f"{SAMPLE}_masks.tif",
        "table of objects": out / f"{SAMPLE}_objects.csv",
        "screenshot": out / "screenshot.png",
    }
    steps: tuple[tuple[Callable[[str], None], str], ...] = (
        (controller.exporting.save_masks, "masks"),
        (controller.exporting.save_table, "table of objects"),
    )
    for save, name in steps:
        save(str(files[name]))
        _wait(controller)
    viewer.screenshot(str(files["screenshot"]), canvas_only=False, flash=False)
    return files


def _wait(controller: Controller) -> None:
    """Let napari work until the panel is idle, and check that it did what it was asked."""
    until = time.monotonic() + _TIMEOUT_S
    state: ViewerState = controller.state
    while state.busy and time.monotonic() < until:
        _settle(0.02)
    if state.busy or state.message.level == "error":
        raise DemoError(state.message.text or "The demonstration took longer than ten minutes.")


def _settle(seconds: float = 0.5) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QCoreApplication.processEvents()
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
