"""The real background process: started ahead, gone with the window, replaced after a crash."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from foreign_files import three_ways
from qtpy.QtCore import Qt, QTimer

from napari_unet.gui import layers
from napari_unet.gui.controller import controller_of
from napari_unet.gui.panels import Workbench

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with signals")

RUNNING = "Running the network"


def workers():
    """Background processes of this process."""
    return [p for p in psutil.Process().children(recursive=True) if "napari_unet.jobs.worker" in " ".join(p.cmdline())]


@pytest.fixture
def docked(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    panel = Workbench(viewer)
    viewer.window.add_dock_widget(panel, name="U-Net workbench")
    yield viewer, panel, controller_of(viewer)
    controller_of(viewer).close()


def test_the_process_is_started_with_the_panel_and_tells_its_devices(docked, qtbot):
    _, panel, controller = docked
    assert len(workers()) == 1
    qtbot.waitUntil(lambda: len(controller.state.devices) > 1, timeout=60_000)
    devices = panel.steps["Segment"].devices
    assert devices.itemText(0) == "Automatic"
    assert "CPU" in [devices.itemText(i).split(" ·")[0] for i in range(devices.count())]


def test_closing_napari_in_the_middle_of_a_job_leaves_no_process(docked, qtbot):
    viewer, _, controller = docked
    viewer.add_image(np.random.default_rng(0).random((2048, 2048), np.float32))
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: controller.state.advance.done > 0, timeout=60_000)
    (worker,) = workers()
    folder = controller._desk.scratch.folder
    viewer.close()
    qtbot.waitUntil(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, timeout=5000)
    assert not folder.exists()


def test_a_killed_process_is_one_sentence_and_the_next_run_works(docked, qtbot):
    viewer, _, controller = docked
    viewer.add_image(np.random.default_rng(0).random((1024, 1024), np.float32))
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: controller.state.advance.stage == RUNNING, timeout=60_000)
    os.kill(workers()[0].pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=10_000)
    assert controller.state.message.level == "error"
    assert [layers.role_of(layer) for layer in viewer.layers] == [None, "probability"]
    assert "of the probabilities are there" in controller.state.message.text
    written = viewer.layers[-1].data.copy()
    assert written.any()
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=120_000)
    assert list(layers.with_role(viewer, "prediction"))
    assert np.array_equal(viewer.layers[1].data[written != 0], written[written != 0])


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64), np.nan, np.float32),
        np.where(np.eye(64), np.nan, 1).astype(np.float32),
        np.full((64, 64), 7, np.uint8),
        np.array([[3]], np.uint16),
    ],
    ids=["only NaN", "some NaN", "constant", "one pixel"],
)
def test_strange_pixels_end_in_a_sentence_and_no_crash(docked, qtbot, image):
    viewer, _, controller = docked
    viewer.add_image(image, contrast_limits=(0, 1))
    controller.segmenting.segment()
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=120_000)
    assert controller.state.message.text
    assert "should not have happened" not in controller.state.message.text
    assert len(workers()) == 1


def test_the_viewer_never_imports_torch():
    code = (
        "import sys, napari_unet.gui.panels, napari_unet.gui.samples\n"
        "sys.exit(', '.join(name for name in ('torch', 'pyqtgraph') if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_weights_of_another_program_are_opened_while_the_viewer_answers(docked, qtbot, tmp_path):
    viewer, panel, controller = docked
    qtbot.waitUntil(lambda: len(controller.state.devices) > 1, timeout=60_000)
    torch.save(three_ways(width=32, depth=3), tmp_path / "forgotten.pt")
    viewer.add_image(np.random.default_rng(0).random((128, 128), np.float32))
    beats = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.monotonic()))
    timer.start(10)
    controller.opening.open_file(str(tmp_path / "forgotten.pt"))
    qtbot.waitUntil(lambda: bool(controller.state.opening and controller.state.opening.pictures), timeout=60_000)
    qtbot.waitUntil(lambda: not controller.state.busy, timeout=60_000)
    timer.stop()
    assert max(np.diff(beats)) < 0.5
    answers = panel.steps["Model"].opening.answers
    assert not answers[0].foreground.pixmap().isNull()
    qtbot.mouseClick(answers[1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controller.state.model.title == "forgotten.pt", timeout=60_000)
    assert controller.state.model.spec.network.variant == "unet-batchnorm-pad"
