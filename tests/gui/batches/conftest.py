"""A folder of images, a small model, and the panel for many images."""

import numpy as np
import pytest
import tifffile
from batch_steps import pixels

import napari_unet as nu
from napari_unet.export.outputs import ExportOptions
from napari_unet.gui.panels import ManyImagesPanel
from napari_unet.gui.state import ModelChoice
from napari_unet.imaging.image import open_image
from napari_unet.weights.file import read_spec


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small model with random weights, and thresholds at which it finds something."""
    path = nu.new_model("unet", width=4, depth=2).save(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    background, interior, _ = nu.predict(nu.load_model(path), open_image(pixels(0), "YX"), device="cpu")
    thresholds = {"threshold": float(np.median(1 - background)), "seed_threshold": float(np.median(interior))}
    return path, {"min_size_px": 1, **thresholds}


@pytest.fixture
def folder(tmp_path):
    """Four images, and one in a folder below."""
    made = tmp_path / "plate 3"
    (made / "day 2").mkdir(parents=True)
    for number in range(4):
        tifffile.imwrite(made / f"well {number}.tif", pixels(number))
    tifffile.imwrite(made / "day 2" / "well 0.tif", pixels(9))
    return made


@pytest.fixture
def chosen(controller, tiny):
    """The controller, with the small model."""
    path, objects = tiny
    controller.modelling.choose(ModelChoice(title="tiny", source=str(path), spec=read_spec(path)))
    controller.state.device = "cpu"
    controller.state.change_objects(**objects)
    controller.exporting.take(ExportOptions(outputs=("masks",)))
    return controller


@pytest.fixture
def view(viewer, chosen, qtbot):
    panel = ManyImagesPanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 760)
    panel.show()
    qtbot.waitExposed(panel)
    return panel.steps["Many images"]


@pytest.fixture
def listed(view, chosen, folder, idle):
    """The view, with the images of the folder listed."""
    chosen.batching.choose_folder(str(folder))
    idle()
    return view
