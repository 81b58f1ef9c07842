"""A package holds the model, says what it expects, and opens as the same model."""

import io
import zipfile

import numpy as np
import pytest
import torch
import yaml

import napari_unet as nu
from napari_unet.errors import ChannelError, ExportError
from napari_unet.events import Progress
from napari_unet.export.package import writing
from napari_unet.export.package.writing import package_events
from napari_unet.imaging.samples import open_sample
from napari_unet.weights.collection import _needed
from napari_unet.weights.packages.description import describe

CARD = nu.PackageCard(authors=("Ada Author", "Ben Other"), description="Finds nuclei.", license="CC0-1.0")
THIN = {"width": 4, "depth": 2}


def model_of(variant="unet", channels=1, classes=("background", "cell body"), options=THIN, **changes):
    model = nu.new_model(variant, channels, classes, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.with_spec(trained=True, name="Nuclei, fine-tuned", **changes)


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch):
    """Exporting to ONNX takes long; it has tests of its own."""
    monkeypatch.setattr(writing, "LIBRARIES", ("a_library_that_nobody_has",))


def written(tmp_path, model, **keywords):
    return nu.save_package(tmp_path / "nuclei.zip", model, CARD, **keywords)


def described(path):
    with zipfile.ZipFile(path) as archive:
        return yaml.safe_load(archive.read("rdf.yaml"))


def array(path, name):
    with zipfile.ZipFile(path) as archive:
        return np.load(io.BytesIO(archive.read(name)))


def program(path):
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("weights.torchscript.pt"))
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        return torch.jit.load(content)


MODELS = {
    "planes": {},
    "colour": {"channels": 3, "normalization": {"method": "dtype"}, "activation": "sigmoid"},
    "bundled kind": {
        "normalization": {"channels": "grey", "polarity": "bright-objects", "stain": "haematoxylin"},
        "diameter_px": 22.0,
        "objects": {"threshold": 0.7, "min_size_px": 7},
        "channel_names": ("nuclei",),
    },
    "volumes": {"variant": "unet-3d", "normalization": {"method": "z-score"}, "pixel_size_um": 0.25},
    "unpadded": {"variant": "unet-valid", "channels": 2},
    "output of three times the size": {"variant": "unet-slim-3x"},
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_package_opens_as_the_same_model(tmp_path, kind):
    model = model_of(**MODELS[kind])
    again = nu.load_model(written(tmp_path, model))
    assert again.spec == model.spec
    assert again.sha256 == model.sha256
    assert "It gives the output of the package's own test image" in str(again.report)
    image = torch.randn(1, model.spec.network.in_channels, *(16,) * (model.spec.dims - 2), 45, 38)
    with torch.no_grad():
        np.testing.assert_array_equal(again.network.eval().on_grid(image), model.network.eval().on_grid(image))


@pytest.mark.parametrize("kind", MODELS)
def test_sizes_axes_and_test_tensors_belong_together(tmp_path, kind):
    model = model_of(**MODELS[kind])
    path = written(tmp_path, model, output="logits")
    document = described(path)
    (taken,), (given,) = document["inputs"], document["outputs"]
    assert [axis.get("id", axis["type"]) for axis in taken["axes"]] == [
        "batch",
        "channel",
        *"zyx"[3 - model.spec.dims :],
    ]
    image, result = array(path, "test_input.npy"), array(path, "test_output.npy")
    assert image.shape[1] == len(taken["axes"][1]["channel_names"]) == model.spec.network.in_channels
    assert result.shape[1] == len(given["axes"][1]["channel_names"]) == model.spec.network.out_channels
    assert result.shape[2:] == image.shape[2:]
    for axis, out, side in zip(taken["axes"][2:], given["axes"][2:], image.shape[2:], strict=True):
        assert (side - axis["size"]["min"]) % axis["size"]["step"] == 0
        assert out["size"] == {"tensor_id": "image", "axis_id": axis["id"]}
        assert out.get("halo", 0) > 0
    assert result.std() > 0.01
    # any other size, too
    network = program(path)
    sides = [axis["size"]["min"] + number * axis["size"]["step"] for number, axis in enumerate(taken["axes"][2:], 1)]
    other = torch.randn(2, image.shape[1], *sides)
    with torch.no_grad():
        np.testing.assert_allclose(network(other), model.network.eval().on_grid(other), atol=1e-4)


def test_the_program_in_it_gives_what_we_predict(tmp_path):
    model = model_of(classes=("background", "interior", "border"), **MODELS["bundled kind"])
    path = written(tmp_path, model)
    image = open_sample("fluorescence").image[:208, :240]
    low, high = np.percentile(image, (1, 99.8))
    scaled = ((image - low) / (high - low)).astype(np.float32)
    with torch.no_grad():
        found = program(path)(torch.from_numpy(scaled)[None, None])[0]
    np.testing.assert_allclose(found, nu.predict(model, image), atol=1e-4)


def test_the_description_says_who_made_it_and_of_what(tmp_path):
    parent = nu.new_model("unet", **THIN).sha256
    origin = {"trained_on": "12 cells of a", "source": "bioimage.io affable-shark; network: x", "parent_sha256": parent}
    path = written(tmp_path, model_of(provenance=origin))
    document = described(path)
    assert [author["name"] for author in document["authors"]] == ["Ada Author", "Ben Other"]
    assert (document["name"], document["description"]) == ("Nuclei fine-tuned", "Finds nuclei.")
    assert (document["license"], document["parent"]) == ("CC0-1.0", {"id": "affable-shark"})
    assert document["outputs"][0]["axes"][1]["channel_names"] == ["background", "cell_body"]
    assert document["config"]["napari_unet"]["parent_sha256"] == parent
    with zipfile.ZipFile(path) as archive:
        text = archive.read("README.md").decode()
    for words in ("# Validation", "12 cells of a", parent, "background, cell body"):
        assert words in text


def test_an_image_of_the_user_becomes_the_test_image(tmp_path):
    tissue = open_sample("tissue")
    model = model_of(**MODELS["bundled kind"])
    path = written(tmp_path, model, image=tissue.image, axes="YXC")
    image = array(path, "test_input.npy")
    assert image.shape == (1, 1, 256, 256)
    # of stained tissue, what the model would see: nuclei, bright
    truth = tissue.truth[:256, 32:288] > 0
    assert image[0, 0][truth].mean() > 2 * image[0, 0][~truth].mean()
    assert "NOT" not in str(nu.load_model(path).report)
    with pytest.raises(ChannelError, match="takes 2 channels"):
        written(tmp_path, model_of(channels=2), image=tissue.image, axes="YXC")
    assert nu.load_model(path).spec == model.spec
    small = open_sample("fluorescence").image[None, :20, :33]
    written(tmp_path, model_of(channels=2), image=np.stack([small, small, small]), axes="CTYX", channels=(2, 0))


def test_progress_and_what_to_mind_are_told(tmp_path):
    work = package_events(tmp_path / "a.zip", model_of(**MODELS["bundled kind"]), CARD)
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            packaged = end.value
            break
    assert {type(event) for event in events} == {Progress}
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert any("brighter" in note for note in packaged.notes)
    assert any("no ONNX file" in note and 'pip install "napari-unet[onnx]"' in note for note in packaged.notes)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_what_cannot_be_shared_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "nuclei.zip"
    path.write_text("what was there")
    with pytest.raises(ExportError, match=r"random weights\. Train it"):
        nu.save_package(path, nu.new_model("unet", **THIN), CARD)
    with pytest.raises(ExportError, match=r"is a \.zip file"):
        nu.save_package(tmp_path / "nuclei.pt", model_of(), CARD)
    script = nu.load_model(nu.save_torchscript(model_of(), tmp_path / "n.pt"), trust=True)
    with pytest.raises(ExportError, match="use the file that it came from"):
        nu.save_package(path, script, CARD)
    assert path.read_text() == "what was there"


def test_a_package_that_does_not_open_as_the_model_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "load_model", lambda path: model_of(classes=("background", "other")))
    with pytest.raises(ExportError, match="holds another model"):
        written(tmp_path, model_of())
    assert not list(tmp_path.iterdir())


def test_a_package_that_lost_our_file_still_opens_as_a_program(tmp_path):
    model = model_of()
    path, stripped = written(tmp_path, model), tmp_path / "stripped.zip"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(stripped, "w") as rest:
        for name in set(whole.namelist()) - {"model.safetensors"}:
            rest.writestr(name, whole.read(name))
    again = nu.load_model(stripped, trust=True)
    image = open_sample("fluorescence").image[:64, :80]
    np.testing.assert_allclose(nu.predict(again, image), nu.predict(model, image), atol=1e-3)


def test_of_a_package_in_the_zoo_our_file_is_downloaded_and_no_program(tmp_path):
    document = described(written(tmp_path, model_of()))
    sources = _needed("brave-test", describe("rdf.yaml", document))
    assert [source.name for source in sources] == ["model.safetensors", "test_input.npy", "test_output.npy"]
    assert all(len(source.sha256) == 64 for source in sources)


def test_a_package_with_another_model_inside_is_refused(tmp_path):
    path, changed = written(tmp_path, model_of()), tmp_path / "changed.zip"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(changed, "w") as rest:
        for name in whole.namelist():
            rest.writestr(name, whole.read(name))
        model_of(classes=("background", "other")).save(tmp_path / "o.safetensors")
    with zipfile.ZipFile(changed, "w") as rest, zipfile.ZipFile(path) as whole:
        for name in whole.namelist():
            mine = (tmp_path / "o.safetensors").read_bytes()
            rest.writestr(name, mine if name == "model.safetensors" else whole.read(name))
    with pytest.raises(nu.NapariUnetError, match="SHA-256 differs"):
        nu.load_model(changed)
