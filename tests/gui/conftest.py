"""Viewers with panels, and a background process that is none."""

import gc
import json
import struct

import numpy as np
import pytest
from fake_client import FakeClient
from qtpy.QtCore import Qt
from scenes import FLAT, Scene

from napari_unet.gui import controller as controller_module
from napari_unet.gui.controller import Controller
from napari_unet.gui.panels import Workbench
from napari_unet.gui.state import ModelChoice
from napari_unet.weights.spec import Provenance, untrained_spec


def pytest_collection_modifyitems(items):
    for item in items:
        if "gui" in str(item.path):
            item.add_marker(pytest.mark.gui)


@pytest.fixture(scope="session", autouse=True)
def quick_collections():
    """Spare the garbage collections of each viewer's end from looking through all modules again."""
    import napari._qt.qt_viewer  # noqa: F401

    gc.collect()
    gc.freeze()


def model_file(spec):
    """The bytes of a model file without weights."""
    metadata = {"__metadata__": {"napari_unet": spec.model_dump_json(), "sha256": ""}}
    header = json.dumps(metadata).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.fixture
def client():
    return FakeClient(candidate=model_file(untrained_spec("unet-small")))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def trained():
    spec = untrained_spec("unet-small")
    provenance = Provenance(trained_on="Blobs", license="CC0", created="2025-01-01")
    return ModelChoice(title="blobs", source="blobs", spec=spec.model_copy(update={"provenance": provenance}))


@pytest.fixture
def controller(viewer, client, trained):
    """The controller of `viewer`; it talks to `client` and has a model with weights."""
    raw = viewer.__wrapped__
    made = Controller(raw, client)
    made.state.models = (trained, *made.state.models)
    made.modelling.choose(trained)
    controller_module._CONTROLLERS[raw] = made
    yield made
    made.close()


@pytest.fixture
def idle(controller, qtbot):
    """Wait until the controller is idle."""

    def wait(timeout=10_000):
        qtbot.waitUntil(lambda: not controller.state.busy, timeout=timeout)

    return wait


@pytest.fixture
def click_model():
    """Click an entry in the list of models."""

    def click(qtbot, step, title):
        tree = step.models.tree
        item = step.models.item(title)
        item.parent().setExpanded(True)
        tree.scrollToItem(item)
        qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualItemRect(item).center())

    return click


@pytest.fixture
def blobs():
    """uint8 (96, 128) with five squares, one of them small."""
    image = np.zeros((96, 128), np.uint8)
    for y, x in ((10, 10), (10, 60), (60, 10), (60, 60)):
        image[y : y + 20, x : x + 20] = 200
    image[40:45, 100:105] = 200
    return image


@pytest.fixture
def scene(make_napari_viewer_proxy, qtbot, client):
    """Make a shown viewer with a correction layer of given labels."""
    made = []

    def make(labels=None, image=None, **placement):
        viewer = make_napari_viewer_proxy(show=True).__wrapped__
        controller = Controller(viewer, client)
        made.append(controller)
        labels = FLAT if labels is None else labels
        pixels = image if image is not None else (labels > 0).astype(np.uint8) * 200
        viewer.add_image(pixels, **placement)
        return Scene(viewer, controller, qtbot, labels)

    yield make
    for controller in made:
        controller.close()


@pytest.fixture
def reviewed(viewer, controller, qtbot, blobs):
    """An image whose correction is reviewed in its upper half."""
    viewer.add_image(blobs)
    controller.correcting.start()
    correction, reviewed = controller._desk.correction()
    correction.data_setitem(tuple(np.nonzero(blobs[:48] > 0)), 7)
    reviewed.data_setitem(tuple(np.nonzero(np.ones((48, 128)))), 1)
    qtbot.waitUntil(lambda: any(count.reviewed_px for count in controller.state.counts))
    return correction, reviewed


@pytest.fixture
def proposed(controller, idle, reviewed):
    controller.finetuning.start()
    idle()
    return controller.state.proposal


@pytest.fixture
def step(viewer, controller, qtbot):
    panel = Workbench(viewer)
    qtbot.addWidget(panel)
    return panel.steps["Fine-tune"]


@pytest.fixture
def segmenting(viewer, controller, qtbot):
    made = Workbench(viewer)
    qtbot.addWidget(made)
    return made.steps["Segment"]


@pytest.fixture
def training(controller, client, reviewed, step, qtbot):
    """A training that stands still after its third step."""
    client.best_so_far, client.hold_at_step = True, 3
    qtbot.mouseClick(step.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: client.hold)
    return step
