"""Weights files are told by their content; each thing that is none gets a sentence of its own."""

import io
import json
import pickle
import zipfile

import h5py
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.weights.formats.identify import INDEX_MAGIC, Kind, identify, locate
from napari_unet.weights.formats.opening import READERS, open_checkpoint

STATE = {"conv.weight": torch.ones(2, 1, 3, 3), "conv.bias": torch.zeros(2)}


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, "x")


def write_onnx(path):
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    onnx.save(helper.make_model(helper.make_graph([node], "graph", values[:1], values[1:])), path)


def write_script(path):
    write_zip(path, [f"net/{name}" for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version")])


def write_hdf5(path, user_block=0):
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["kernel"] = np.ones(3)


def numpy_bytes(save, *arrays, **named):
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


WRITERS = {
    Kind.SAFETENSORS: lambda path: save_file(STATE, path),
    Kind.TORCH: lambda path: torch.save(STATE, path),
    Kind.TORCH_LEGACY: lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    Kind.TORCHSCRIPT: write_script,
    Kind.KERAS: lambda path: write_zip(path, ["config.json", "metadata.json", "model.weights.h5"]),
    Kind.HDF5: write_hdf5,
    Kind.ONNX: write_onnx,
    Kind.TENSORFLOW: lambda path: path.write_bytes(b"\0" * 50 + INDEX_MAGIC),
    Kind.NPZ: lambda path: path.write_bytes(numpy_bytes(np.savez, a=np.ones(3))),
    Kind.BIOIMAGE: lambda path: write_zip(path, ["rdf.yaml", "weights.pt"]),
}


@pytest.mark.parametrize("suffix", [".pth", ".h5", "", ".bin"])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_content_tells_the_kind_whatever_the_suffix(tmp_path, kind, suffix):
    path = tmp_path / f"weights{suffix}"
    WRITERS[kind](path)
    assert identify(path) is kind
    assert identify(str(path)) is kind


def test_our_own_models_are_told_from_those_of_others(tmp_path):
    path = nu.new_model("unet", width=4, depth=1).save(tmp_path / "model.safetensors")
    assert identify(path) is Kind.OWN


def test_hdf5_behind_a_block_of_the_user_is_told(tmp_path):
    write_hdf5(tmp_path / "a", user_block=1024)
    assert identify(tmp_path / "a") is Kind.HDF5


def test_files_of_a_tensorflow_checkpoint_all_lead_to_it(tmp_path):
    (tmp_path / "model-7.index").write_bytes(b"\0" * 50 + INDEX_MAGIC)
    (tmp_path / "model-7.data-00000-of-00001").write_bytes(b"\1\2\3")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model-7"\n')
    for name in ("model-7", "model-7.index", "model-7.data-00000-of-00001", "checkpoint", ""):
        assert identify(tmp_path / name) is Kind.TENSORFLOW
    (tmp_path / "model-7.index").unlink()
    with pytest.raises(ModelError, match=r'needs the file "model-7.index" beside it'):
        identify(tmp_path / "model-7.data-00000-of-00001")


def test_folders_are_told_by_what_is_in_them(tmp_path):
    zoo, net, fold = tmp_path / "zoo", tmp_path / "nnunet", tmp_path / "nnunet" / "fold_0"
    for folder in (zoo, fold):
        folder.mkdir(parents=True)
    (zoo / "bioimageio.yaml").write_text("format_version: 0.5.3\n")
    for name in ("plans.json", "dataset.json"):
        (net / name).write_text("{}")
    assert identify(zoo) is Kind.BIOIMAGE
    assert identify(zoo / "bioimageio.yaml") is Kind.BIOIMAGE
    assert identify(net) is Kind.NNUNET
    assert identify(fold) is Kind.NNUNET
    assert identify(net / "plans.json") is Kind.NNUNET


def test_a_folder_with_one_weights_file_stands_for_it(tmp_path):
    torch.save(STATE, tmp_path / "best.pth")
    (tmp_path / "config.json").write_text("{}")
    assert locate(tmp_path) == tmp_path / "best.pth"
    assert identify(tmp_path) is Kind.TORCH
    assert open_checkpoint(tmp_path).path == tmp_path / "best.pth"
    torch.save(STATE, tmp_path / "last.pth")
    with pytest.raises(ModelError, match=r"2 weights files \(best.pth, last.pth\)"):
        identify(tmp_path)


def test_an_empty_folder_says_what_is_accepted(tmp_path):
    with pytest.raises(ModelError, match=r"holds no weights .* nnU-Net"):
        identify(tmp_path)


def write_pt2(path):
    write_zip(path, ["net/archive_format", "net/models/model.json"])


STAND_INS = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "git lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        "git lfs pull",
    ),
    "web page": (lambda path: path.write_text("\n<!DOCTYPE html><html></html>"), "is a web page"),
    "plain pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a pickle that torch.save did not write"),
    "single array": (lambda path: path.write_bytes(numpy_bytes(np.save, np.ones(3))), "numpy.savez"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(20)), "packed with gzip"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "nothing but zeros"),
    "text": (lambda path: path.write_text("hello"), r"no weights file .*safetensors"),
    "noise": (lambda path: path.write_bytes(bytes(range(1, 250)) * 9), "no weights file"),
    "image": (lambda path: path.write_bytes(b"II*\0" + bytes(range(200))), "no weights file"),
    "some zip": (lambda path: write_zip(path, ["a.txt"]), "zip without a known model"),
    "nnU-Net zip": (
        lambda path: write_zip(path, ["Dataset1/net/plans.json", "x/y"]),
        "Unpack it and choose the folder",
    ),
    "exported program": (write_pt2, "never opened"),
    "half a zip": (lambda path: path.write_bytes(b"PK\3\4" + b"x" * 500), "its end is missing"),
}


@pytest.mark.parametrize("thing", STAND_INS)
def test_what_is_found_in_place_of_weights_gets_its_sentence(tmp_path, thing):
    write, sentence = STAND_INS[thing]
    write(tmp_path / "weights.pth")
    for ask in (identify, open_checkpoint):
        with pytest.raises(ModelError, match=sentence):
            ask(tmp_path / "weights.pth")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        identify(tmp_path / "nothing.pth")


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in READERS])
def test_programs_and_packages_are_not_opened_as_sets_of_weights(tmp_path, kind):
    WRITERS[kind](tmp_path / "weights")
    with pytest.raises(ModelError, match=f"is a {kind.split()[0]}"):
        open_checkpoint(tmp_path / "weights")


@pytest.mark.parametrize("kind", [Kind.TORCH, Kind.TORCH_LEGACY, Kind.SAFETENSORS])
def test_each_kind_is_opened_by_its_reader(tmp_path, kind):
    WRITERS[kind](tmp_path / "weights")
    checkpoint = open_checkpoint(tmp_path / "weights")
    assert checkpoint.format == kind
    assert all(torch.equal(checkpoint.states[0].tensors[name], STATE[name]) for name in STATE)


def test_arrays_by_name_are_opened(tmp_path):
    np.savez(tmp_path / "a.npz", kernel=np.ones((3, 3, 1, 2), np.float32))
    assert open_checkpoint(tmp_path / "a.npz").states[0].tensors["kernel"].shape == (3, 3, 1, 2)


def header_file(path, header, content=bytes(16)):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_metadata_of_safetensors_become_extras(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors", {"architecture": "UNet"})
    checkpoint = open_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.extras == {"architecture": "UNet"}


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"a": entry(0, 16, [10**9, 10**9])}, "claims"),
        ({"a": entry(0, 16, [2, 1])}, "does not fit"),
        ({"a": entry(0, 16, [-2, -2])}, "shape"),
        ({"a": entry(0, 16, [2, 2], "F999")}, "does not fit"),
        ({"a": entry(0, 8, [2, 1]), "b": entry(4, 16, [3, 1])}, "does not fit"),
        ({"a": entry(0, 4, [1, 1]), "b": entry(8, 16, [2, 1])}, "does not fit"),
        ({"a": entry(4, 16, [3, 1])}, "does not fit"),
        ({"a": entry(0, 32, [4, 2])}, "copied only in part"),
        ({"a": {"dtype": "F32"}}, "not a model file"),
        (b'{"a": 1, "a": 2}', "not a model file"),
        (b"{" * 50, "not a model file"),
    ],
)
def test_headers_that_claim_what_is_not_there_are_refused(tmp_path, header, sentence):
    with pytest.raises(ModelError, match=sentence):
        open_checkpoint(header_file(tmp_path / "a.safetensors", header))


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}" + bytes(9))
    with pytest.raises(ModelError, match="not a model file"):
        open_checkpoint(tmp_path / "a.safetensors")


def test_safetensors_cut_short_are_refused(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    for length in range(1, len(content), 11):
        (tmp_path / "a.safetensors").write_bytes(content[:length])
        with pytest.raises(ModelError):
            open_checkpoint(tmp_path / "a.safetensors")
