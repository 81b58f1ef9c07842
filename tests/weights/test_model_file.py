"""The model file: what goes in comes out, and nothing else gets in."""

import json
import pickle

import pytest
import torch

from napari_unet.errors import ExportError, ModelError
from napari_unet.weights.bundled import bundled, own_folder, resolve
from napari_unet.weights.file import read_spec
from napari_unet.weights.loading import load_model
from napari_unet.weights.model import new_model
from napari_unet.weights.spec import Provenance


@pytest.fixture
def model():
    made = new_model("unet", width=4, depth=2)
    return made.with_spec(
        name="Ölçüm", pixel_size_um=0.25, provenance=Provenance(trained_on="cells", license="CC0-1.0")
    )


@pytest.fixture
def file(model, tmp_path):
    return model.save(tmp_path / "a model.safetensors")


def test_a_saved_model_gives_the_same_logits_and_description(model, file):
    opened = load_model(file)
    image = torch.randn(1, 1, 33, 20)
    assert torch.equal(model.network.eval()(image), opened.network(image))
    assert opened.spec == model.spec
    assert not opened.trained  # random weights stay random
    assert opened.sha256 == model.sha256


def test_the_description_is_read_without_the_weights(model, file):
    assert read_spec(file) == model.spec


def flip(file, where):
    content = bytearray(file.read_bytes())
    content[where] ^= 1
    file.write_bytes(content)


def test_one_flipped_bit_is_noticed(file):
    flip(file, -100)
    with pytest.raises(ModelError, match="changed since they were saved"):
        load_model(file)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"not a model file|copied only in part"):
        read_spec(file)
    with pytest.raises(ModelError):
        load_model(file)


def test_a_pickle_is_refused_and_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-here"), "w"))

    for name, sentence in (
        ("weights.pt", "a pickle that torch.save did not write"),
        ("weights.safetensors", "a pickle that torch.save did not write"),
    ):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(ModelError, match=sentence):
            load_model(path)
    torch.save({"a": torch.zeros(3)}, tmp_path / "checkpoint.pth")
    with pytest.raises(ModelError, match="no weights of a network"):
        load_model(tmp_path / "checkpoint.pth")
    assert not (tmp_path / "was-here").exists()


def test_a_huge_header_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "bomb.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError, match="not a model file"):
        read_spec(path)


def test_weights_of_others_get_a_sentence(tmp_path):
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(4, 2, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no known U-Net has such names"):
        load_model(tmp_path / "other.safetensors")


def rewrite(file, change):
    """Change the description inside a model file."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    spec = json.loads(header["__metadata__"]["napari_unet"])
    change(spec)
    header["__metadata__"]["napari_unet"] = json.dumps(spec)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_a_description_of_another_version_gets_a_sentence(file):
    rewrite(file, lambda spec: spec.update(flux_capacitor=1))
    with pytest.raises(ModelError, match=r"does not fit this version \(flux_capacitor"):
        load_model(file)


def test_weights_of_another_network_get_a_sentence(file):
    rewrite(file, lambda spec: spec["network"]["options"].update(depth=3))
    with pytest.raises(ModelError, match="do not belong to the network"):
        load_model(file)


def test_a_folder_in_the_way_leaves_everything_as_it_was(model, tmp_path):
    target = tmp_path / "taken.safetensors"
    target.mkdir()
    with pytest.raises(ExportError):
        model.save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.safetensors"]


def test_a_missing_model_lists_what_there_is():
    with pytest.raises(ModelError, match="nuclei"):
        resolve("nucleii")


def test_own_models_are_found_by_name(model):
    own_folder().mkdir(parents=True)
    path = model.save(own_folder() / "mine.safetensors")
    assert resolve("mine") == path


def test_the_bundled_model_opens_and_is_small():
    path = bundled()["nuclei"]
    assert path.stat().st_size < 10_000_000
    spec = read_spec(path)
    assert spec.provenance.license == "CC0-1.0"
    assert "BBBC038" in spec.provenance.source
    assert load_model("nuclei").spec == spec


def test_a_description_that_contradicts_itself_is_refused(model):
    with pytest.raises(ModelError, match="background channel"):
        model.with_spec(activation="sigmoid")
    with pytest.raises(ModelError, match="class names"):
        model.with_spec(classes=("a", "b"))


def test_new_models_of_one_spec_are_alike_and_untrained():
    a, b = (new_model("unet", width=4, depth=1) for _ in range(2))
    assert a.sha256 == b.sha256
    assert not a.trained
