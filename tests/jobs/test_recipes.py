"""A recipe is a file that says all that turns images into results."""

import shutil
from pathlib import Path

import pytest
import yaml

import napari_unet as nu
from napari_unet.axes import PixelSize
from napari_unet.export.outputs import ExportOptions
from napari_unet.inference.config import InferenceConfig
from napari_unet.jobs.recipes import Recipe, make_recipe, read_recipe, recipe_model, weights_fingerprint, write_recipe
from napari_unet.weights.bundled import FOLDER, own_folder
from napari_unet.weights.file import read_spec


@pytest.fixture
def tiny(tmp_path):
    """A small model with random weights, in a folder beneath that of the recipe."""
    (tmp_path / "models").mkdir()
    return nu.new_model("unet", width=4, depth=2).save(tmp_path / "models" / "tiny.safetensors")


@pytest.fixture
def recipe(tiny):
    inference = InferenceConfig(axes="TCYX", channels=(1,), diameter_px=22.5, tile=64, turns="flips")
    export = ExportOptions(outputs=("table", "masks"), probability_type="uint8")
    size = PixelSize(2.0, 0.5, 0.5)
    return make_recipe(recipe_model(tiny), read_spec(tiny), inference, pixel_size=size, export=export)


def test_a_recipe_reads_back_as_it_was_written(recipe, tmp_path):
    assert read_recipe(write_recipe(tmp_path / "mine.yaml", recipe)) == recipe


def test_a_recipe_says_what_it_is_and_how_to_run_it(recipe, tmp_path):
    text = write_recipe(tmp_path / "my cells.yaml", recipe).read_text(encoding="utf-8")
    assert text.startswith("# A recipe of napari-unet")
    assert 'napari-unet run "my cells.yaml" IMAGES... --out FOLDER' in text
    assert "diameter_px: 22.5" in text
    assert recipe.model.sha256 in text


def test_a_recipe_gives_the_settings_that_it_was_made_of(recipe, tiny):
    spec = read_spec(tiny)
    assert recipe.settings == InferenceConfig(axes="TCYX", channels=(1,), diameter_px=22.5, tile=64, turns="flips")
    assert not recipe.estimates
    assert recipe.objects_for(spec, 22.5) == spec.objects_at(22.5)
    assert recipe.input.pixel_size == PixelSize(2.0, 0.5, 0.5)


def test_the_smallest_size_follows_a_diameter_that_is_estimated_unless_it_was_set():
    spec, source = read_spec(FOLDER / "nuclei.safetensors"), recipe_model("nuclei")
    follows = make_recipe(source, spec, InferenceConfig(), estimates=True)
    assert follows.estimates
    assert follows.settings.diameter_px is None
    assert follows.objects_for(spec, 60.0).min_size_px == spec.objects_at(60.0).min_size_px
    stays = make_recipe(
        source, spec, InferenceConfig(), spec.objects.model_copy(update={"min_size_px": 7}), estimates=True
    )
    assert stays.objects_for(spec, 60.0).min_size_px == 7


def test_a_model_near_the_recipe_is_found_again_after_both_have_moved(recipe, tmp_path):
    write_recipe(tmp_path / "mine.yaml", recipe)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["model"]["source"] == "models/tiny.safetensors"
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    found = read_recipe(tmp_path / "elsewhere" / "mine.yaml")
    assert found.model.source == str((tmp_path / "elsewhere" / "models" / "tiny.safetensors").resolve())
    assert found.digest() == recipe.digest()


def test_models_that_have_a_name_are_named(tiny, tmp_path):
    own_folder().mkdir(parents=True)
    mine = own_folder() / "mine.safetensors"
    mine.write_bytes(tiny.read_bytes())
    for source, name in (("nuclei", "nuclei"), (FOLDER / "nuclei.safetensors", "nuclei"), (mine, "mine")):
        written = write_recipe(tmp_path / "mine.yaml", Recipe(model=recipe_model(source)))
        assert yaml.safe_load(written.read_text())["model"]["source"] == name
        assert read_recipe(written).model.source == name


def test_the_fingerprint_is_that_of_the_weights_wherever_they_lie(tiny, tmp_path):
    model = nu.load_model(tiny)
    renamed = model.with_spec(name="another name").save(tmp_path / "other.safetensors")
    assert weights_fingerprint(tiny) == weights_fingerprint(renamed) == model.sha256
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "weights.pt").write_bytes(b"one")
    one = weights_fingerprint(folder / "weights.pt")
    (folder / "weights.pt").write_bytes(b"two")
    assert weights_fingerprint(folder / "weights.pt") != one


def test_the_digest_tells_recipes_apart_that_give_other_results(recipe):
    device = recipe.inference.model_copy(update={"device": "cpu"})
    assert recipe.model_copy(update={"inference": device, "notes": "of Monday"}).digest() == recipe.digest()
    assert recipe.model_copy(update={"objects": {"threshold": 0.4}}).digest() != recipe.digest()
    other = recipe.model.model_copy(update={"sha256": "0" * 64})
    assert recipe.model_copy(update={"model": other}).digest() != recipe.digest()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: {source: nuclei}\ntiles: 3\n", "tiles: there is no such setting"),
        ("model: {source: nuclei}\nobjects: {size: 4}\n", "objects.size: there is no such setting"),
        ("model: {source: nuclei}\nobjects: {threshold: 4}\n", "less than 1"),
        ("model: {source: nuclei}\ninput: {diameter_px: big}\n", "auto"),
        ("model: {source: nuclei}\ninput: {diameter_px: -1}\n", "positive number of pixels"),
        ("model: {source: nuclei}\nexport: {outputs: []}\n", "export.outputs"),
        ("model: {source: nuclei}\nversion: 2\n", "Update napari-unet"),
        ("- a\n- b\n", "names no model"),
        ("model: [", "is no YAML file"),
        ("model: !!python/object/apply:os.system [ls]", "is no YAML file"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_a_sentence(tmp_path, text, sentence):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(nu.NapariUnetError, match=r"mine\.yaml") as caught:
        read_recipe(tmp_path / "mine.yaml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_recipe_is_a_sentence(tmp_path, recipe):
    with pytest.raises(nu.NapariUnetError, match=r"does not end in \.yaml"):
        write_recipe(tmp_path / "mine.txt", recipe)
    with pytest.raises(nu.NapariUnetError, match="cannot be read"):
        read_recipe(tmp_path / "nothing.yaml")


def test_the_recipe_that_the_documentation_shows_can_be_used(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "shown.yaml").write_text(shown)
    recipe = read_recipe(tmp_path / "shown.yaml")
    assert recipe.estimates
    assert set(yaml.safe_load(shown)) == set(Recipe.model_fields)
