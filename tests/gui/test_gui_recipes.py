"""What is set in the panel is written as a recipe, and set again from one."""

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

import napari_unet as nu
from napari_unet.axes import PixelSize
from napari_unet.export.outputs import ExportOptions
from napari_unet.gui.panels import SegmentPanel
from napari_unet.gui.state import ModelChoice
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.recipes import make_recipe, read_recipe, recipe_model, write_recipe
from napari_unet.objects.config import ObjectOptions
from napari_unet.weights.bundled import bundled, own_folder
from napari_unet.weights.file import read_spec

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return nu.new_model("unet", width=4, depth=2).save(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def chosen(controller, tiny):
    controller.modelling.choose(ModelChoice(title="tiny", source=str(tiny), spec=read_spec(tiny)))
    return controller


@pytest.fixture
def links(viewer, chosen, qtbot):
    panel = SegmentPanel(viewer)
    qtbot.addWidget(panel)
    return panel.steps["Segment"].others


@pytest.fixture
def installed(npe2pm):
    with npe2pm.tmp_plugin(package="napari-unet"):
        yield


@pytest.fixture
def save(chosen, idle, tmp_path):
    """Save a recipe, and read it again."""

    def saved():
        chosen.recipes.save(str(tmp_path / "a recipe.yaml"))
        idle()
        assert "Saved the recipe" in chosen.state.message.text
        return read_recipe(tmp_path / "a recipe.yaml")

    return saved


@pytest.fixture
def dialogs(tmp_path, monkeypatch):
    """Answer the dialogs for files with a recipe called "mine"."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "mine.yaml"), ""))
    return tmp_path / "mine.yaml"


def test_all_that_was_set_is_written(links, viewer, chosen, tiny, idle, qtbot, dialogs):
    viewer.add_image(np.zeros((2, 40, 50), np.uint8), axis_labels=("c", "y", "x"))
    state = chosen.state
    state.channels, state.diameter_px, state.turns = (1,), 31.0, "flips"
    state.change_objects(threshold=0.35, min_size_px=12, fill_holes=False)
    chosen.exporting.take(ExportOptions(outputs=("masks", "rois"), probability_type="uint8"))
    qtbot.mouseClick(links.save, LEFT)
    idle()
    recipe = read_recipe(dialogs)
    assert recipe.model == recipe_model(tiny)
    assert (recipe.input.axes, recipe.input.channels, recipe.input.diameter_px) == ("CYX", (1,), 31)
    assert (recipe.inference.turns, recipe.inference.device) == ("flips", "auto")
    assert recipe.objects_for(read_spec(tiny), 31) == state.objects
    assert recipe.normalization == read_spec(tiny).normalization
    assert (recipe.export.outputs, recipe.export.probability_type) == (("masks", "rois"), "uint8")


@pytest.mark.usefixtures("dialogs")
def test_it_sets_everything_again(links, viewer, chosen, idle, qtbot):
    viewer.add_image(np.zeros((2, 40, 50), np.uint8), axis_labels=("c", "y", "x"))
    state = chosen.state
    state.channels, state.diameter_px, state.turns, state.device = (1,), 31.5, "all", "cpu"
    state.change_objects(threshold=0.35, min_size_px=12)
    chosen.exporting.take(ExportOptions(outputs=("masks", "geojson")))
    tiny, objects = state.model, state.objects
    qtbot.mouseClick(links.save, LEFT)
    idle()
    state.models = tuple(model for model in state.models if model.source != str(tiny.source))
    chosen.modelling.list_models()  # the model is not in the list, and is opened again
    chosen.modelling.choose(next(model for model in state.models if model.trained))
    state.diameter_px, state.turns, state.device = None, "none", "auto"
    chosen.exporting.take(ExportOptions())
    qtbot.mouseClick(links.load, LEFT)
    idle()
    assert state.message.text == "Loaded mine.yaml."
    assert state.model.source == tiny.source
    assert (state.channels, state.diameter_px, state.turns, state.device) == ((1,), 31.5, "all", "cpu")
    assert state.objects == objects
    assert state.export_choice.outputs == ("masks", "geojson")


def test_a_diameter_that_is_estimated_is_estimated_for_each_image(chosen, idle, tmp_path):
    spec = chosen.state.model.spec
    recipe = make_recipe(recipe_model(chosen.state.model.source), spec, InferenceConfig(), estimates=True)
    write_recipe(tmp_path / "r.yaml", recipe)
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert chosen.state.batch.estimates
    assert chosen.state.diameter_px is None


def test_a_recipe_of_a_bundled_model_finds_it_by_name(chosen, idle, tmp_path):
    path = bundled()["nuclei-small"]
    write_recipe(tmp_path / "r.yaml", make_recipe(recipe_model(path), read_spec(path), InferenceConfig()))
    assert read_recipe(tmp_path / "r.yaml").model.source == "nuclei-small"
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert chosen.state.model.title == "nuclei-small"


def test_a_model_that_lies_elsewhere_here_is_known_by_its_weights(chosen, tiny, idle, tmp_path):
    recipe = make_recipe(recipe_model(tiny), read_spec(tiny), InferenceConfig())
    moved = recipe.model.model_copy(update={"source": "/of/somebody/else/best.safetensors"})
    write_recipe(tmp_path / "r.yaml", recipe.model_copy(update={"model": moved}))
    own_folder().mkdir(parents=True)
    (own_folder() / "mine.safetensors").write_bytes(tiny.read_bytes())
    chosen.modelling.list_models()
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert chosen.state.model.title == "mine (own)"
    assert chosen.state.message.text == "Loaded r.yaml."


def test_what_cannot_be_set_is_said_and_the_rest_is_set(viewer, chosen, tiny, idle, tmp_path):
    viewer.add_image(np.zeros((40, 50), np.uint8))
    config = InferenceConfig(axes="TZYX", channels=(3,), device="cuda:7", tile=256, diameter_px=20)
    recipe = make_recipe(recipe_model(tiny), read_spec(tiny), config, ObjectOptions(threshold=0.25))
    other = recipe.model.model_copy(update={"source": "no such model", "sha256": "0" * 64})
    write_recipe(tmp_path / "r.yaml", recipe.model_copy(update={"model": other}))
    before = chosen.state.model
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    text = chosen.state.message.text
    for said in ("there is no “no such model” here", "the axes TZYX", "cuda:7", "the size of tiles"):
        assert said in text
    assert chosen.state.message.level == "warning"
    assert chosen.state.model == before
    assert (chosen.state.diameter_px, chosen.state.objects.threshold, chosen.state.axes) == (20, 0.25, "YX")


def test_channels_that_the_image_lacks_are_said(viewer, chosen, tiny, idle, tmp_path):
    viewer.add_image(np.zeros((40, 50), np.uint8))
    write_recipe(tmp_path / "r.yaml", make_recipe(recipe_model(tiny), read_spec(tiny), InferenceConfig(channels=(2,))))
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert "the channels (the image has 1)" in chosen.state.message.text


def test_other_weights_of_that_name_are_not_used(chosen, tiny, idle, tmp_path):
    copy = tmp_path / "tiny.safetensors"
    copy.write_bytes(tiny.read_bytes())
    write_recipe(tmp_path / "r.yaml", make_recipe(recipe_model(copy), read_spec(copy), InferenceConfig()))
    nu.new_model("unet", width=4, depth=3).save(copy)
    before = chosen.state.model
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert "the weights of “tiny.safetensors” here are others" in chosen.state.message.text
    assert chosen.state.model == before


def test_a_file_that_is_no_recipe_changes_nothing(chosen, idle, tmp_path):
    (tmp_path / "r.yaml").write_text("threshold: 0.1\n")
    before = chosen.state.model_copy()
    chosen.recipes.load(str(tmp_path / "r.yaml"))
    idle()
    assert chosen.state.message.level == "error"
    assert "no recipe" in chosen.state.message.text
    assert (chosen.state.model, chosen.state.objects) == (before.model, before.objects)


def test_a_model_without_weights_is_no_recipe(links, chosen, qtbot):
    assert links.save.isEnabled()
    chosen.modelling.choose(next(model for model in chosen.state.models if not model.trained))
    assert not links.save.isEnabled()
    assert "has no weights yet" in links.save.toolTip()
    assert links.load.isEnabled()


AXES = [
    # shape and axes of the file, what the user says of the layer, and what is written
    ((5, 40, 50), "ZYX", "ZYX", None),
    ((5, 40, 50), "ZYX", "TYX", "TYX"),
    ((5, 40, 50, 2), "ZYXC", "ZCYX", None),  # the reader puts Y and X last
    ((5, 40, 50, 2), "ZYXC", "TCYX", "TYXC"),
    ((40, 50), "YX", "YX", None),
]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("case", AXES, ids=lambda case: f"{case[1]} as {case[2]}")
def test_axes_are_written_where_the_user_corrected_those_of_the_file(viewer, chosen, save, tmp_path, case):
    shape, told, typed, expected = case
    array = zarr.create_array(tmp_path / "image.zarr", shape=shape, dtype="u1", dimension_names=list(told.lower()))
    array[...] = 1
    viewer.open(tmp_path / "image.zarr", plugin="napari-unet")
    chosen.choosing.set_axes(typed)
    assert save().input.axes == expected


@pytest.mark.usefixtures("installed")
def test_a_pixel_size_that_the_user_corrected_is_written(viewer, chosen, save, tmp_path):
    path = tmp_path / "image.ome.tif"
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(path, np.ones((40, 50), np.uint8), metadata={"axes": "YX", **size})
    (layer,) = viewer.open(path, plugin="napari-unet")
    assert save().input.pixel_size_um is None
    layer.scale = (0.25, 0.25)
    assert save().input.pixel_size == PixelSize(None, 0.25, 0.25)
