"""Trainings that fail, or were interrupted and go on."""

import json
import os
import signal
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from clicking import click, preview

import napari_unet as nu
from napari_unet.errors import NapariUnetError
from napari_unet.gui import controller as controller_module
from napari_unet.gui.controller import Controller
from napari_unet.gui.halting import trainings
from napari_unet.gui.panels import Workbench
from napari_unet.gui.state import ModelChoice
from napari_unet.jobs.client import JobClient
from napari_unet.weights.model import Model
from napari_unet.weights.spec import changed_spec


def test_a_training_that_fails_says_so_and_leaves_the_layers(viewer, controller, client, step, reviewed, qtbot, idle):
    correction, _ = reviewed
    before, names = correction.data.copy(), {layer.name for layer in viewer.layers}
    client.fail_at_step = 3
    click(qtbot, step.start)
    idle()
    assert controller.state.message.level == "error"
    assert {layer.name for layer in viewer.layers} == names
    assert np.array_equal(correction.data, before)
    assert controller.state.proposal is None
    assert step.training.isHidden()
    client.fail_at_step = 0
    click(qtbot, step.start)
    idle()
    assert controller.state.proposal is not None


def test_what_went_wrong_on_the_way_is_still_said_at_the_end(controller, client, reviewed, idle):
    client.notice = "The training was stopped early, because the loss became infinite."
    controller.finetuning.start()
    idle()
    assert controller.state.message.text.endswith(client.notice)
    assert controller.state.message.level == "warning"
    assert controller.state.proposal is not None


def checkpoint(path, steps=120, elapsed_s=58.0):
    """A checkpoint as the background process writes it, without its weights."""
    told = json.dumps({"steps": steps, "elapsed_s": elapsed_s})
    header = json.dumps({"__metadata__": {"napari_unet_training": told}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def interrupted(controller, client, reviewed, step, qtbot, idle):
    """A training whose background process was killed after it had saved."""
    client.fail_at_step, client.error = 3, NapariUnetError("The background process was killed.")
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: bool(client.requests))
    checkpoint(Path(client.requests[-1].checkpoint))
    idle()
    client.fail_at_step = 0
    return step


def test_an_interrupted_training_is_told_of_and_goes_on(controller, client, interrupted, qtbot, idle):
    path = client.requests[-1].checkpoint
    assert "“Fine-tune” goes on from" in controller.state.message.text
    card = interrupted.halted
    assert not card.isHidden()
    assert "of blobs on blobs was interrupted at step 120, after 58 s of 2 min" in card.text.text()
    assert "“Fine-tune” goes on with it" in card.text.text()
    assert card.go_on.isHidden()
    click(qtbot, interrupted.start)
    assert card.isHidden()
    idle()
    assert client.requests[-1].checkpoint == path
    assert card.isHidden()
    assert not list(trainings().iterdir())


def test_an_interrupted_training_is_forgotten(client, interrupted, qtbot):
    click(qtbot, interrupted.halted.forget)
    assert interrupted.halted.isHidden()
    assert not Path(client.requests[-1].checkpoint).exists()


def test_another_time_begins_anew_unless_the_user_goes_on(controller, client, interrupted, qtbot, idle):
    controller.state.minutes = 5
    card = interrupted.halted
    assert "begins anew" in card.text.text()
    click(qtbot, card.go_on)
    assert controller.state.minutes == 2
    idle()
    assert client.requests[-1].config.seconds == 120
    assert controller.state.proposal is not None


def test_going_on_forgets_no_more_than_before(controller, client, interrupted, qtbot, idle):
    controller.state.forget = True
    card = interrupted.halted
    assert "begins anew" in card.text.text()
    click(qtbot, card.go_on)
    assert controller.state.forget is False
    idle()
    assert client.requests[-1].config.forget is False


def test_other_corrections_begin_anew_and_the_old_checkpoint_is_gone(
    controller, client, interrupted, reviewed, qtbot, idle
):
    _, region = reviewed
    region.data_setitem(tuple(np.nonzero(np.ones((60, 128)))), 1)
    qtbot.waitUntil(lambda: "corrections have changed" in interrupted.halted.text.text())
    assert interrupted.halted.go_on.isHidden()
    client.hold_at_step = 1
    click(qtbot, interrupted.start)
    qtbot.waitUntil(lambda: client.hold)
    assert not Path(client.requests[-1].checkpoint).exists()
    client.hold = False
    idle()


def test_a_training_of_another_window_is_not_offered(controller, client, interrupted, monkeypatch):
    path = Path(client.requests[-1].checkpoint).with_suffix(".json")
    begun = json.loads(path.read_text()) | {"pid": os.getppid()}
    path.write_text(json.dumps(begun))
    controller.halting.look()
    assert interrupted.halted.isHidden()


def test_a_home_that_cannot_be_written_costs_the_checkpoint_only(
    controller, client, reviewed, idle, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "file"))
    controller.finetuning.start()
    idle()
    assert client.requests[-1].checkpoint == ""
    assert controller.state.proposal is not None


# -- with the real background process -------------------------------------------

# Saves as often as it can.
SAVING = """
from napari_unet.training import checkpoints
checkpoints.EVERY_S = 0.0
from napari_unet.jobs.worker import load, serve
serve(load)
"""
WORKER = (sys.executable, "-P", "-c", SAVING)


@pytest.fixture
def tiny(tmp_path):
    """A model that learns in a moment."""
    network = nu.new_model("unet", width=4, depth=1)
    spec = changed_spec(network.spec, trained=True, name="tiny")
    path = Model(network.network, spec).save(tmp_path / "tiny.safetensors")
    return ModelChoice(title="tiny", source=str(path), spec=spec)


@pytest.fixture
def real(make_napari_viewer_proxy, qtbot, tiny, blobs):
    """Step 4 with the real process, and an image that is reviewed as a whole."""
    viewer = make_napari_viewer_proxy()
    raw = viewer.__wrapped__
    client = JobClient(WORKER)
    made = controller_module._CONTROLLERS[raw] = Controller(raw, client)
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    viewer.add_image(np.tile(blobs, (2, 2)) + np.random.default_rng(0).integers(0, 30, (192, 256), np.uint8))
    made.modelling.choose(tiny)
    made.correcting.start()
    correction, _ = made._desk.correction()
    correction.data_setitem(tuple(np.nonzero(np.tile(blobs, (2, 2)))), 1)
    made.correcting.mark("everything")
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in made.state.counts))
    yield viewer, made, panel.steps["Fine-tune"], client
    made.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_killed_process_costs_nothing_and_the_same_training_goes_on(real, qtbot):
    viewer, controller, step, client = real
    state = controller.state
    state.minutes = 0.15
    before = {layer.name: np.array(layer.data) for layer in viewer.layers}
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: state.training.running, timeout=90_000)
    click(qtbot, step.training.pause)
    steps = len(state.curve.loss)
    qtbot.wait(1200)
    assert len(state.curve.loss) <= steps + 1  # one was being made
    click(qtbot, step.training.pause)
    saved = controller.halting.path()
    qtbot.waitUntil(saved.is_file, timeout=60_000)
    os.kill(client.process_id, signal.SIGKILL)
    qtbot.waitUntil(lambda: not state.busy, timeout=10_000)
    assert "was killed by the system" in state.message.text
    assert [layer.name for layer in viewer.layers] == list(before)
    assert all(np.array_equal(layer.data, before[layer.name]) for layer in viewer.layers)
    assert "“Fine-tune” goes on with it" in step.halted.text.text()
    known = state.curve.loss[0]
    click(qtbot, step.start)
    qtbot.waitUntil(lambda: not state.busy, timeout=120_000)
    assert state.curve.loss[0] == known  # told again, not computed again
    assert state.proposal is not None
    assert state.proposal.result.seen is not None
    assert preview(viewer) is not None
    assert not saved.exists()
