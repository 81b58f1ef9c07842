"""Keras files are read as data, and whatever is wrong with them is said in one sentence."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest
from keras_writer import layer, nested, save_h5_model, save_h5_weights, save_keras, write_weights_3

from napari_unet.errors import ModelError
from napari_unet.weights.formats import hdf5
from napari_unet.weights.formats.keras import read_keras


@pytest.fixture(autouse=True)
def _without_trial(request, monkeypatch):
    """Each trial starts a process, which the many files of these tests do without, but for those about trials."""
    if "trial" not in request.node.name:
        monkeypatch.setattr(hdf5, "try_elsewhere", lambda *_: None)


RNG = np.random.default_rng(3)


def conv(name, inbound, i, o, class_name="Conv2D", size=3):
    shape = (size, size, o, i) if class_name == "Conv2DTranspose" else (size, size, i, o)
    weights = {"kernel": RNG.normal(size=shape), "bias": RNG.normal(size=o)}
    return layer(class_name, name, inbound, weights, filters=o, kernel_size=[size, size], padding="same")


def normalization(name, inbound, width, scale=True):
    names = ("gamma", "beta", "moving_mean", "moving_variance")[0 if scale else 1 :]
    return layer(
        "BatchNormalization", name, inbound, {key: RNG.normal(size=width) for key in names}, scale=scale, center=True
    )


def small():
    return [
        layer("InputLayer", "input_1"),
        conv("first", ["input_1"], 1, 2),
        normalization("bn", ["first"], 2, scale=False),
        layer("MaxPooling2D", "pool", ["bn"], pool_size=[2, 2]),
        conv("up", ["pool"], 2, 3, "Conv2DTranspose", 2),
        layer("Concatenate", "join", ["up", "bn"], axis=-1),
        conv("last", ["join"], 5, 1, size=1),
    ]


def inner_outer():
    inside = [layer("InputLayer", "input_2"), conv("a", ["input_2"], 2, 2), conv("b", ["a"], 2, 2)]
    return [
        layer("InputLayer", "input_1"),
        conv("a", ["input_1"], 1, 2),
        nested("Functional", "encoder", inside, ["a"]),
        conv("last", ["encoder"], 2, 1, size=1),
    ]


def expected(layers, prefix=""):
    found = {}
    for item in layers:
        name = prefix + item["config"]["name"]
        if "layers" in item:
            found |= expected(item["layers"], f"{name}/")
        else:
            found |= {f"{name}/{key}": value for key, value in item["weights"].items()}
    return found


WRITERS = {
    "keras 2 .h5": lambda path, layers: save_h5_model(path / "m.h5", layers),
    "keras 3 .h5": lambda path, layers: save_h5_model(path / "m.h5", layers, version="3.3.0"),
    "keras 3 .keras": lambda path, layers: save_keras(path / "m.keras", layers),
    "keras 2.15 .keras": lambda path, layers: save_keras(
        path / "m.keras", layers, version="2.15.0", container="_layer_checkpoint_dependencies"
    ),
    "packed .keras": lambda path, layers: save_keras(path / "m.keras", layers, compression=zipfile.ZIP_DEFLATED),
}


def assert_tensors(checkpoint, layers):
    wanted = expected(layers)
    tensors = checkpoint.states[0].tensors
    assert set(tensors) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(tensors[name].numpy(), value)


@pytest.mark.parametrize("writer", WRITERS)
def test_models_keep_their_tensors_and_graph(tmp_path, writer):
    layers = small()
    checkpoint = read_keras(WRITERS[writer](tmp_path, layers))
    assert_tensors(checkpoint, layers)
    keras = checkpoint.extras["keras"]
    assert keras["version"] == (2 if writer.startswith("keras 2") else 3)
    assert keras["order"] == ["first", "bn", "up", "last"]
    assert keras["outputs"] == ["last"]
    graph = {entry["name"]: entry for entry in keras["graph"]}
    assert graph["join"]["inbound"] == ["up", "bn"]
    assert graph["first"]["inbound"] == ["input_1"]
    assert graph["pool"]["config"]["pool_size"] == [2, 2]
    json.dumps(keras)


@pytest.mark.parametrize("writer", WRITERS)
def test_models_in_models_are_laid_flat(tmp_path, writer):
    layers = inner_outer()
    checkpoint = read_keras(WRITERS[writer](tmp_path, layers))
    assert_tensors(checkpoint, layers)
    graph = {entry["name"]: entry["inbound"] for entry in checkpoint.extras["keras"]["graph"]}
    assert graph["encoder/a"] == ["encoder/input_2"]
    assert graph["encoder/input_2"] == ["a"]
    assert graph["last"] == ["encoder/b"]


def test_a_sequential_model_is_a_chain(tmp_path):
    layers = [conv("a", [], 1, 2), conv("b", [], 2, 1)]
    for path in (
        save_h5_model(tmp_path / "m.h5", layers, "Sequential"),
        save_keras(tmp_path / "m.keras", layers, "Sequential"),
    ):
        checkpoint = read_keras(path)
        assert_tensors(checkpoint, layers)
        assert [entry["inbound"] for entry in checkpoint.extras["keras"]["graph"]] == [[], ["a"]]
        assert checkpoint.extras["keras"]["outputs"] == ["b"]


@pytest.mark.parametrize("chunks", [1, 3])
def test_weights_alone_keep_the_order_of_the_network(tmp_path, chunks):
    layers = small()
    checkpoint = read_keras(save_h5_weights(tmp_path / "w.h5", layers, chunks))
    assert_tensors(checkpoint, layers)
    assert checkpoint.extras["keras"]["graph"] is None
    assert checkpoint.extras["keras"]["order"] == ["first", "bn", "up", "last"]


def test_numbered_weights_are_named_by_their_class(tmp_path):
    layers = [conv(f"c{i}", [], i + 1, i + 2) for i in range(12)]
    layers.insert(4, conv("t", [], 3, 3, "Conv2DTranspose", 2))
    layers.insert(6, normalization("n", [], 3, scale=False))
    checkpoint = read_keras(write_weights_3(tmp_path / "x.weights.h5", layers, optimizer=True))
    tensors = checkpoint.states[0].tensors
    np.testing.assert_array_equal(tensors["conv2d_11/kernel"].numpy(), layers[-1]["weights"]["kernel"])
    np.testing.assert_array_equal(tensors["conv2d_transpose/bias"].numpy(), layers[4]["weights"]["bias"])
    assert [name for name in tensors if name.startswith("batch")] == [
        f"batch_normalization/{name}" for name in ("beta", "moving_mean", "moving_variance")
    ]
    order = checkpoint.extras["keras"]["order"]
    assert order.index("conv2d_transpose") == 4  # written between the fourth and fifth convolution
    assert order.index("conv2d_10") > order.index("conv2d_2")
    assert "optimizer" in checkpoint.notes[0]


def test_names_of_windows_are_taken_apart(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file.create_group("_layer_checkpoint_dependencies\\conv2d").create_group("vars")["0"] = np.ones((3, 3, 1, 2))
    assert list(read_keras(tmp_path / "w.weights.h5").states[0].tensors) == ["conv2d/kernel"]


LAMBDAS = {
    "keras 2": layer("Lambda", "normalize", ["last"], function=["4wEAAAA=", None, None], function_type="lambda"),
    "keras 3": layer(
        "Lambda", "normalize", ["last"], function={"class_name": "__lambda__", "config": {"value": ["4wEAAAA="]}}
    ),
    "hidden": layer(
        "Activation", "act", ["last"], activation={"class_name": "__lambda__", "config": {"value": "4wE="}}
    ),
}


@pytest.mark.parametrize("kind", LAMBDAS)
@pytest.mark.parametrize("writer", WRITERS)
def test_layers_of_code_are_refused(tmp_path, kind, writer):
    path = WRITERS[writer](tmp_path, [*small(), LAMBDAS[kind]])
    with pytest.raises(ModelError, match=r"Lambda layer .* never run"):
        read_keras(path)


def test_code_in_the_loss_does_not_matter(tmp_path):
    path = save_keras(tmp_path / "m.keras", small())
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    config["compile_config"] = {"loss": {"class_name": "__lambda__", "config": {"value": "4wE="}}}
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    assert read_keras(path).extras["keras"]["graph"]


def weights_file(path):
    return write_weights_3(path / "x.weights.h5", [conv("a", [], 1, 2)])


def external(path):
    (path / "secret").write_bytes(bytes(1000))
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d_1/vars"] = file["layers/conv2d/vars"]
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars"].create_dataset("0", (10,), "f4", external=[(str(path / "secret"), 0, 40)])


def linked(path):
    with h5py.File(path / "other.h5", "w") as file:
        file["secret"] = np.ones(4)
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars/2"] = h5py.ExternalLink(str(path / "other.h5"), "secret")


def soft(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars/2"] = h5py.SoftLink("/layers/conv2d/vars/0")


def virtual(path):
    with h5py.File(path / "other.h5", "w") as file:
        file["secret"] = np.ones(4)
    with h5py.File(weights_file(path), "a") as file:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(path / "other.h5"), "secret", (4,))
        file["layers/conv2d/vars"].create_virtual_dataset("2", layout)


def huge(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars"].create_dataset("2", (10**7, 10**6), "f4", chunks=(1000, 1000))


def never_written(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars"].create_dataset("2", (10**4,), "f4")


def bomb(path):
    with h5py.File(weights_file(path), "a") as file:
        zeros = np.zeros((4000, 4000), "f4")
        for i in range(2, 4):
            file["layers/conv2d/vars"].create_dataset(str(i), data=zeros, chunks=(4000, 4000), compression=9)


def texts(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars/2"] = "import os"


def circular(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/again"] = file["layers"]


def packed_by_plugin(path):
    with h5py.File(weights_file(path), "a") as file:
        file["layers/conv2d/vars"].create_dataset("2", data=np.ones(99, "f4"), compression="lzf")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (external, "lies in another file"),
        (linked, "a link that may lead to another file"),
        (soft, "a link that may lead to another file"),
        (virtual, "lies in another file"),
        (huge, "made to fill the memory"),
        (never_written, "made to fill the memory"),
        (bomb, "made to fill the memory"),
        (texts, "expected an array of numbers"),
        (circular, "nested more than"),
        (packed_by_plugin, "packed by a plugin"),
    ],
)
def test_dangerous_hdf5_files_are_refused(tmp_path, make, sentence):
    make(tmp_path)
    with pytest.raises(ModelError, match=sentence):
        read_keras(tmp_path / "x.weights.h5")


def test_files_without_keras_in_them_are_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((4, 4))
    with pytest.raises(ModelError, match="no weights file of Keras"):
        read_keras(tmp_path / "a.h5")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"expected .*model\.weights\.h5"):
        read_keras(tmp_path / "b.keras")
    path = save_h5_weights(tmp_path / "c.h5", small())
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = b"1.2.2"
    with pytest.raises(ModelError, match=r"Keras 1\.2\.2"):
        read_keras(path)


@pytest.mark.parametrize("description", ["{", "[]", '{"class_name": "Functional"}', "[" * 100_000, '{"class_name": 3}'])
def test_bad_descriptions_never_end_otherwise(tmp_path, description):
    path = save_h5_model(tmp_path / "m.h5", small())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = description
    try:
        assert read_keras(path).extras["keras"]["graph"] is None
    except ModelError as error:
        assert "is not what Keras writes" in str(error)  # noqa: PT017


@pytest.mark.parametrize("writer", ["keras 2 .h5", "keras 3 .keras"])
def test_truncated_files_are_refused_in_words(tmp_path, writer):
    path = WRITERS[writer](tmp_path, small())
    content = path.read_bytes()
    for part in np.linspace(0, 0.999, 25):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ModelError, match=r"Copy it again|is empty|Copy or download"):
            read_keras(path)


@pytest.mark.parametrize("writer", ["keras 2 .h5", "keras 3 .keras"])
def test_flipped_bits_never_end_otherwise(tmp_path, writer):
    path = WRITERS[writer](tmp_path, small())
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_keras(path)
        except ModelError as error:
            assert path.name in str(error)  # noqa: PT017


def test_a_trial_lets_good_and_refused_files_pass(tmp_path):
    layers = small()
    assert_tensors(read_keras(save_h5_model(tmp_path / "a.h5", layers)), layers)
    assert_tensors(read_keras(save_keras(tmp_path / "a.keras", layers)), layers)
    linked(tmp_path)
    with pytest.raises(ModelError, match="a link that may lead"):
        read_keras(tmp_path / "x.weights.h5")


def test_a_trial_that_does_not_end_is_refused(tmp_path, monkeypatch):
    path = save_h5_model(tmp_path / "a.h5", small())
    monkeypatch.setattr(hdf5, "TRIAL_SECONDS", 0.0)
    with pytest.raises(ModelError, match="reading it does not end"):
        read_keras(path)


def test_a_trial_that_crashes_is_refused(tmp_path, monkeypatch):
    path = save_h5_model(tmp_path / "a.h5", small())
    monkeypatch.setattr(hdf5.subprocess, "run", lambda *_, **__: hdf5.subprocess.CompletedProcess((), -11))
    with pytest.raises(ModelError, match="reading it crashes"):
        read_keras(path)
