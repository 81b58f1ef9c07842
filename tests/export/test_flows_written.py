"""Other programs get the classes of a model with flows; our own file keeps the flows."""

import io
import zipfile

import numpy as np
import pytest
import torch
import yaml

import napari_unet as nu
from napari_unet.export.package import writing
from napari_unet.weights.flows import with_flows

CARD = nu.PackageCard(authors=("Ada Author",), description="Finds nuclei.", license="CC0-1.0")


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch):
    """Exporting to ONNX takes long; it has tests of its own."""
    monkeypatch.setattr(writing, "LIBRARIES", ("a_library_that_nobody_has",))


@pytest.fixture(scope="module")
def model():
    made = with_flows(nu.new_model("unet", width=4, depth=2)).with_spec(trained=True, name="Nuclei")
    generator = torch.Generator().manual_seed(0)
    for parameter in made.network.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


@pytest.fixture
def package(model, tmp_path):
    return nu.save_package(tmp_path / "nuclei.zip", model, CARD)


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((64, 80)).astype(np.float32)


def read(package, name):
    with zipfile.ZipFile(package) as archive:
        return archive.read(name)


def test_a_package_gives_other_programs_the_classes(model, package, picture):
    document = yaml.safe_load(read(package, "rdf.yaml"))
    names = document["outputs"][0]["axes"][1]["channel_names"]
    assert names == ["background", "interior", "border"]
    assert np.load(io.BytesIO(read(package, "test_output.npy"))).shape[1] == 3
    readme = read(package, document["documentation"]).decode()
    assert "itself parts them by flows" in readme
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        program = torch.jit.load(io.BytesIO(read(package, "weights.torchscript.pt")))
    with torch.no_grad():
        found = program(torch.from_numpy(picture)[None, None])
        wanted = torch.softmax(model.network.eval().on_grid(torch.from_numpy(picture)[None, None])[:, :3], 1)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_it_opens_as_the_very_same_model_and_proves_itself(model, package):
    again = nu.load_model(package)
    assert again.spec == model.spec
    assert again.sha256 == model.sha256
    assert any("gives the output of the package's own test image" in note for note in again.report.notes)


def test_without_our_file_it_opens_as_a_program_of_the_classes(model, package, picture, tmp_path):
    stripped = tmp_path / "stripped.zip"
    with zipfile.ZipFile(package) as whole, zipfile.ZipFile(stripped, "w") as rest:
        for name in set(whole.namelist()) - {"model.safetensors"}:
            rest.writestr(name, whole.read(name))
    again = nu.load_model(stripped, trust=True)
    assert again.spec.classes == model.spec.classes
    np.testing.assert_allclose(nu.predict(again, picture), nu.predict(model, picture), atol=1e-3)
