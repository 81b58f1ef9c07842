"""ONNX files as models that can only predict."""

import gc
import os
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_writer import as_model, restated, save, tiny_unet

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.networks.field import receptive_field

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    onnx_model, tensors = tiny_unet(end="Softmax")
    path = save(onnx_model, tmp_path_factory.mktemp("onnx") / "tiny.onnx")
    model = nu.load_model(path)
    yield model, tensors, path
    model.network.program.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid):
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_it_says_what_it_is(opened):
    model, _, _ = opened
    assert (model.spec.network.variant, model.spec.dims, model.spec.activation) == ("onnx", 2, "softmax")
    assert (model.spec.network.in_channels, model.spec.network.out_channels) == (1, 2)
    text = str(model.report)
    assert "ONNX" in text
    assert "cannot be fine-tuned" in text
    assert "not exact" in text
    assert "percentiles 1 and 99.8 become 0 and 1" in text


def test_logits_are_those_of_its_author(opened):
    model, tensors, _ = opened
    for size in ((32, 48), (64, 30)):
        image = RNG.normal(size=(2, 1, *size)).astype(np.float32)
        found = torch.softmax(model.network.on_grid(torch.from_numpy(image)), 1)
        assert torch.allclose(found, torch.softmax(restated(tensors, image), 1), atol=1e-5)


def test_odd_sizes_are_filled_up(opened):
    model, tensors, _ = opened
    image = RNG.normal(size=(1, 1, 33, 47)).astype(np.float32)
    found = model.network.on_grid(torch.from_numpy(image))
    filled = restated(tensors, np.pad(image, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge"))
    assert found.shape == (1, 2, 33, 47)
    assert torch.allclose(torch.softmax(found, 1), torch.softmax(filled, 1)[..., :33, :47], atol=1e-5)


def test_its_geometry_was_found_by_running_it(opened):
    model, _, _ = opened
    assert (model.network.geometry.step, model.network.geometry.least) == (2, 2)
    field = receptive_field(model.network)
    assert (field.local, field.halo) == (False, 32)


def test_it_predicts_tile_by_tile(opened):
    model, tensors, _ = opened
    image = RNG.normal(100, 10, (150, 170)).astype(np.float32)
    low, high = np.percentile(image, (1, 99.8))
    expected = torch.softmax(restated(tensors, ((image - low) / (high - low)).astype(np.float32)[None, None]), 1)[0]
    found = nu.predict(model, image, tile=64)
    assert np.allclose(found, expected, atol=1e-4)
    assert nu.segment(model, image).shape == image.shape


def test_it_can_be_neither_trained_nor_saved(opened, tmp_path):
    model, _, _ = opened
    labels = np.zeros((64, 64), np.uint16)
    labels[10:20, 10:20] = 1
    with pytest.raises(ModelError, match="only predict"):
        nu.finetune(model, [(RNG.uniform(size=(64, 64)), labels)] * 2, seconds=1)
    with pytest.raises(ModelError, match="only predict"):
        model.save(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_it_is_not_offered_as_a_variant_to_train():
    assert not {"onnx", "torchscript"} & set(nu.variants())
    with pytest.raises(ModelError, match="only exists in its file"):
        nu.build_network("onnx")


def test_its_process_is_started_again_when_it_has_ended(opened):
    model, _, _ = opened
    image = torch.zeros((1, 1, 32, 32))
    before = model.network.on_grid(image)
    pid = model.network.program.pid
    os.kill(pid, 9)
    model.network.program._process.wait()
    assert torch.equal(model.network.on_grid(image), before)
    assert model.network.program.pid != pid


def test_a_network_that_does_not_answer_is_ended(opened, monkeypatch):
    model, _, _ = opened
    pid = model.network.program.pid
    monkeypatch.setattr(model.network.program, "timeout_s", 0.0)
    with pytest.raises(ModelError, match=r"took longer than 0 s\. Choose a smaller tile"):
        model.network.on_grid(torch.zeros((8, 1, 512, 512)))
    assert wait_until_gone(pid)


def test_a_file_that_has_changed_is_not_run(tmp_path):
    onnx_model, _ = tiny_unet()
    path = save(onnx_model, tmp_path / "x.onnx")
    model = nu.load_model(path)
    pid = model.network.program.pid
    model.network.program.close()
    assert wait_until_gone(pid)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="has changed since"):
        model.network.on_grid(torch.zeros((1, 1, 32, 32)))


def test_the_process_ends_with_the_model(tmp_path):
    onnx_model, _ = tiny_unet(end="Sigmoid", classes=1)
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    assert (model.activation, model.spec.classes) == ("sigmoid", ("foreground",))
    pid = model.network.program.pid
    assert alive(pid)
    del model
    gc.collect()
    assert wait_until_gone(pid)


def test_an_interrupt_ends_the_process(tmp_path, monkeypatch):
    onnx_model, _ = tiny_unet()
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    pid = model.network.program.pid

    def interrupted(pipe):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_unet.weights.isolated.client._receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.network.on_grid(torch.zeros((1, 1, 32, 32)))
    assert model.network.program.pid is None
    assert wait_until_gone(pid)


def test_a_network_of_one_size_is_moved_over_the_image(tmp_path):
    onnx_model, tensors = tiny_unet(sides=(64, 48), end="Softmax")
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    assert model.network.geometry.window == (64, 48)
    image = RNG.normal(size=(1, 1, 150, 40)).astype(np.float32)
    found = torch.softmax(model.network.on_grid(torch.from_numpy(image)), 1)
    expected = torch.softmax(restated(tensors, image), 1)
    assert found.shape == expected.shape
    assert torch.allclose(found[..., :148, :38], expected[..., :148, :38], atol=1e-5)  # but for the far border


def test_channels_may_be_the_last_axis(tmp_path):
    onnx_model, tensors = tiny_unet(channels=3, last=True)
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    assert model.spec.network.in_channels == 3
    image = RNG.normal(size=(1, 3, 32, 40)).astype(np.float32)
    assert torch.allclose(model.network.on_grid(torch.from_numpy(image)), restated(tensors, image), atol=1e-5)


def test_unpadded_networks_lose_their_border(tmp_path):
    onnx_model, _ = tiny_unet(pad=0)
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    assert model.network.geometry.margin == 1
    assert model.network.on_grid(torch.zeros((1, 1, 37, 52))).shape == (1, 2, 37, 52)


def test_volumes_are_taken_as_volumes(tmp_path):
    onnx_model, _ = tiny_unet(sides=("z", "y", "x"), dims=3)
    model = nu.load_model(save(onnx_model, tmp_path / "x.onnx"))
    assert model.spec.dims == 3
    assert model.network.on_grid(torch.zeros((1, 1, 7, 20, 33))).shape == (1, 2, 7, 20, 33)


def with_outside_weights(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return model


def with_strange_operator(model):
    nodes = [*model.graph.node, helper.make_node("Anything", ["f"], ["g"], domain="com.evil")]
    return as_model(nodes, {}, [1, 1, "y", "x"], "g", 4, domains=("com.evil",))


def with_hidden_outside_weights(model):
    hidden = tiny_unet()[0]
    inner = with_outside_weights(hidden).graph
    model.graph.node.append(helper.make_node("If", ["f"], ["g"], then_branch=inner, else_branch=inner))
    return model


def with_two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    return model


def giving_numbers(model):
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["f"], ["g"]))
    model.graph.output[0].name = "g"
    return model


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_outside_weights, r"another file .*passwd.*Save it as one file"),
        (with_hidden_outside_weights, "another file"),
        (with_strange_operator, r"operators of .com\.evil."),
        (with_two_inputs, "takes 2 inputs"),
        (giving_numbers, "is no image"),
    ],
)
def test_files_that_are_refused_get_a_sentence(tmp_path, spoil, said):
    path = save(spoil(tiny_unet()[0]), tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=said):
        nu.load_model(path)


def test_damaged_files_get_a_sentence(tmp_path):
    path = save(tiny_unet()[0], tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"x\.onnx"):
        nu.load_model(path)


def test_unknown_keywords_are_listed(opened):
    _, _, path = opened
    with pytest.raises(ModelError, match=r"join: .*leaves nothing of that kind open"):
        nu.load_model(path, join="crop")
    with pytest.raises(ModelError, match="only exists in its file"):
        nu.load_model(path, in_channels=3)


def test_without_the_packages_the_command_is_named(opened, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install \"napari-unet\[onnx\]\""):
        nu.load_model(opened[2])
