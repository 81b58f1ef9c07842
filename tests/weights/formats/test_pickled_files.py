"""PyTorch files that people have: what is beside the weights must not hinder reading them."""

import argparse
import collections
import pathlib
import sys
import types
import warnings
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from napari_unet.errors import ModelError
from napari_unet.weights.formats import pickled
from napari_unet.weights.formats.pickled import read_pickled


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Conv2d(4, 3, 1))
    for buffer in net.buffers():
        buffer.copy_(torch.randint(1, 9, buffer.shape))
    return net


STATE = network().state_dict()


def saved(path, content, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_holds(state, expected=None, prefix=""):
    expected = STATE if expected is None else expected
    assert list(state.tensors) == [prefix + name for name in expected]
    for name, tensor in expected.items():
        found = state.tensors[prefix + name]
        assert type(found) is torch.Tensor
        assert not found.requires_grad
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)


@dataclass
class TrainingOptions:
    rate: float = 0.1
    folders: list = field(default_factory=lambda: [pathlib.PurePosixPath("images")])


class AttributeDict(dict):
    """As Lightning kept hyper-parameters."""


class Names(list):
    pass


BESIDE = {
    "nothing": {},
    "numbers": {"epoch": 3, "loss": 0.5, "name": "best", "done": True, "none": None},
    "argparse": {"args": argparse.Namespace(lr=0.1, name="x")},
    "path": {"file": pathlib.PurePosixPath("/a/b.tif")},
    "namespace": {"options": types.SimpleNamespace(x=2)},
    "dataclass": {"options": TrainingOptions()},
    "numpy scalars": {"best_dice": np.float64(0.75), "steps": np.int32(7)},
    "numpy arrays": {"history": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "defaultdict": {"counts": collections.defaultdict(list, {"a": [1, 2]})},
    "child of dict": {"hyper_parameters": AttributeDict(lr=0.1, sizes=(1, 2))},
    "child of list": {"names": Names(["a", "b"])},
    "counter": {"counts": collections.Counter("aab")},
    "function": {"activation": nn.functional.relu},
    "optimizer": {"optimizer": torch.optim.Adam(network().parameters()).state_dict()},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("beside", BESIDE)
def test_weights_are_read_whatever_lies_beside_them(tmp_path, beside, legacy):
    path = saved(tmp_path / "model.pth", {"state_dict": STATE, **BESIDE[beside]}, legacy=legacy)
    checkpoint = read_pickled(path)
    (state,) = checkpoint.states
    assert state.where == "state_dict"
    assert_holds(state)


def test_what_lies_beside_the_weights_is_kept_as_plain_values(tmp_path):
    content = {"state_dict": STATE}
    for beside in BESIDE.values():
        content |= beside
    content["options"] = TrainingOptions()
    extras = read_pickled(saved(tmp_path / "model.pth", content)).extras
    assert extras["epoch"] == 3
    assert extras["loss"] == 0.5
    assert extras["name"] == "best"
    assert extras["args"] == {"lr": 0.1, "name": "x"}
    assert extras["file"] == "/a/b.tif"
    assert extras["options"] == {"rate": 0.1, "folders": ["images"]}
    assert extras["best_dice"] == 0.75
    assert extras["steps"] == 7
    assert extras["history"] == [[0, 1, 2], [3, 4, 5]]
    assert extras["hyper_parameters"] == {"lr": 0.1, "sizes": [1, 2]}
    assert extras["names"] == ["a", "b"]
    assert extras["counts"] == {"a": 2, "b": 1}
    assert "optimizer" not in extras
    assert "state_dict" not in extras


def test_unknown_classes_are_named_in_a_note(tmp_path):
    checkpoint = read_pickled(saved(tmp_path / "model.pth", {"net": STATE, "args": argparse.Namespace(a=1)}))
    (note,) = checkpoint.notes
    assert "argparse.Namespace" in note
    assert "not run" in note


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_of_all_versions_keep_their_values(tmp_path, module):
    path = saved(tmp_path / "new.pth", {"model": STATE, "best": np.float32(1.5)})
    names = {b"numpy._core.multiarray": module.encode(), b"numpy.core.multiarray": module.encode()}
    path = rewritten(path, lambda content: next(content.replace(a, b) for a, b in names.items() if a in content))
    checkpoint = read_pickled(path)
    assert checkpoint.extras["best"] == 1.5
    assert checkpoint.notes == ()


def rewritten(path, change):
    """Copy of a zip with another pickle in it."""
    copy = path.with_name("copy.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            new.writestr(member.filename, change(content) if member.filename.endswith("data.pkl") else content)
    return copy


@pytest.fixture
def vanished_class():
    """A network whose class cannot be imported when the file is read."""
    module = types.ModuleType("somebodys_code")

    class TheirUNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()
            self.depth = 4
            self.register_buffer("grid", torch.zeros(3), persistent=False)

    TheirUNet.__module__, TheirUNet.__qualname__ = "somebodys_code", "TheirUNet"
    module.TheirUNet = TheirUNet
    sys.modules["somebodys_code"] = module
    yield TheirUNet
    sys.modules.pop("somebodys_code", None)


def test_a_network_saved_whole_is_read_without_its_class(tmp_path, vanished_class):
    path = saved(tmp_path / "whole.pth", vanished_class())
    del sys.modules["somebodys_code"]
    checkpoint = read_pickled(path)
    (state,) = checkpoint.states
    assert_holds(state, prefix="inner.")
    layers = checkpoint.extras["modules"]
    assert layers[""]["class"] == "somebodys_code.TheirUNet"
    assert layers[""]["depth"] == 4
    assert layers["inner.0"]["stride"] == [2, 2]
    assert layers["inner.2"]["negative_slope"] == 0.2
    assert "somebodys_code.TheirUNet" in checkpoint.notes[0]
    assert "somebodys_code" not in sys.modules


def test_a_network_saved_whole_before_torch_1_6_says_how_to_convert_it(tmp_path):
    with pytest.raises(ModelError, match=r"Open it once where that code is, and save its state_dict"):
        read_pickled(saved(tmp_path / "whole.pth", network(), legacy=True))


def test_data_parallel_and_whole_networks_in_wrappers(tmp_path):
    checkpoint = read_pickled(saved(tmp_path / "model.pth", {"epoch": 1, "model": nn.DataParallel(network())}))
    (state,) = checkpoint.states
    assert state.where == "model"
    assert_holds(state, prefix="module.")


def test_half_precision_keeps_its_values(tmp_path):
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        state = {name: tensor.to(kind) for name, tensor in STATE.items()}
        (found,) = read_pickled(saved(tmp_path / "half.pth", state)).states
        assert_holds(found, state)


def test_tensors_that_share_memory_still_do(tmp_path):
    weight = torch.rand(8, 4, 3, 3)
    state = {"conv.weight": weight, "all_modules.0.weight": weight, "half.weight": weight[4:]}
    (found,) = read_pickled(saved(tmp_path / "shared.pth", state)).states
    assert_holds(found, state)
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.tensors.values()}) == 1


def test_a_mapped_file_may_be_deleted_or_overwritten_afterwards(tmp_path, monkeypatch):
    weight = torch.rand(8, 4, 3, 3)
    state = {**STATE, "a.weight": weight, "b.weight": weight, "t.weight": weight.transpose(0, 1)}
    path = saved(tmp_path / "large.pth", {"state_dict": state, "optimizer": {"x": torch.rand(9, 9)}})
    monkeypatch.setattr(pickled, "MAP_BYTES", 0)
    (found,) = read_pickled(path).states
    path.write_bytes(b"\0" * path.stat().st_size)
    assert_holds(found, state)
    assert found.tensors["a.weight"].data_ptr() == found.tensors["b.weight"].data_ptr()


def test_a_packed_zip_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled, "MAP_BYTES", 0)
    path = saved(tmp_path / "model.pth", STATE)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    assert_holds(read_pickled(packed).states[0])


def test_an_expanded_constant_is_no_attack(tmp_path):
    state = {**STATE, "ones": torch.ones(1).expand(64, 64)}
    (found,) = read_pickled(saved(tmp_path / "model.pth", state)).states
    assert_holds(found, state)


def test_tensors_that_are_not_plain_numbers_are_left_out_and_said_so(tmp_path):
    content = {**STATE, "sparse": torch.eye(3).to_sparse(), "waves": torch.ones(3, 3, dtype=torch.complex64)}
    content["nowhere"] = torch.ones(3, 3, device="meta")
    checkpoint = read_pickled(saved(tmp_path / "model.pth", content))
    assert_holds(checkpoint.states[0])
    assert "3 tensors that are not plain numbers were left out" in checkpoint.notes[-1]


def test_quantized_weights_are_refused_in_words(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that it will give them up
        content = {"weight": torch.quantize_per_tensor(torch.rand(3, 3), 0.1, 0, torch.qint8)}
    with pytest.raises(ModelError, match=r"quantized tensors, which are not read|kind .*Storage.* not read"):
        read_pickled(saved(tmp_path / "model.pth", content))


def test_a_file_without_weights_says_so(tmp_path):
    with pytest.raises(ModelError, match="holds no weights of a network"):
        read_pickled(saved(tmp_path / "model.pth", {"epoch": 3, "loss": torch.tensor(0.5)}))


def test_a_file_with_another_pickle_protocol_says_how_to_save_it(tmp_path):
    torch.save(STATE, tmp_path / "model.pth", pickle_protocol=4)
    with pytest.raises(ModelError, match="usual protocol"):
        read_pickled(tmp_path / "model.pth")


def test_what_other_plugins_allow_stays_allowed_for_them_and_is_not_for_us(tmp_path):
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        checkpoint = read_pickled(saved(tmp_path / "model.pth", {"net": STATE, "args": argparse.Namespace(a=1)}))
        assert checkpoint.extras["args"] == {"a": 1}
        assert set(torch.serialization.get_safe_globals()) == {*before, argparse.Namespace}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def test_a_suffix_does_not_choose_the_reader(tmp_path):
    for name in ("model.safetensors", "model.h5", "model"):
        assert_holds(read_pickled(saved(tmp_path / name, STATE)).states[0])
