"""Packages of the bioimage.io model zoo."""

import warnings

import numpy as np
import pytest
import torch
import yaml
from package_writer import ABOUT, JoinedUNet, PackageFolder, PlainUNet, lively, new_format, old_format, percentiles

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError
from napari_unet.weights.packages.description import Axis, Step, Tensor
from napari_unet.weights.packages.document import read_document
from napari_unet.weights.packages.scaling import normalization_of

RANGE = {"axes": "xy", "mode": "per_sample", "min_percentile": 1.0, "max_percentile": 99.8}
NEW_RANGE = {"axes": ["y", "x"], "min_percentile": 1.0, "max_percentile": 99.8}


def noise(*shape, seed=0):
    smooth = np.random.default_rng(seed).normal(size=shape).cumsum(-1).cumsum(-2)
    return (smooth * 3 + 200).astype(np.float32)


@pytest.fixture
def old(tmp_path):
    """A package in format 0.4 with one channel in and one out."""
    folder = PackageFolder(tmp_path / "old")
    network = lively(PlainUNet(1, 1))
    folder.weights(network)
    image = noise(1, 1, 64, 64)
    folder.example(network, image, percentiles(image))
    folder.describe(old_format(folder, [{"name": "scale_range", "kwargs": RANGE}]))
    return folder


@pytest.fixture
def new(tmp_path):
    """A package in format 0.5 with one channel in and two out."""
    folder = PackageFolder(tmp_path / "new")
    network = lively(PlainUNet(1, 2))
    folder.weights(network)
    image = noise(1, 1, 64, 64)
    folder.example(network, image, percentiles(image))
    folder.describe(new_format(folder, [{"id": "scale_range", "kwargs": NEW_RANGE}]), "bioimageio.yaml")
    return folder


def rewritten(folder, change, name="rdf.yaml"):
    path = folder.folder / name
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))
    return folder.folder


def test_format_0_4_opens_and_gives_its_test_result(old):
    model = nu.load_model(old.folder)
    assert "gives the output of the package's own test image" in str(model.report)
    assert (model.spec.name, model.activation, model.spec.classes) == (ABOUT["name"], "sigmoid", ("foreground",))
    assert (model.spec.normalization.method, model.spec.normalization.high_percentile) == ("percentile", 99.8)
    provenance = model.spec.provenance
    assert provenance.license == "CC-BY-4.0"
    assert "brave-test" in provenance.source
    assert "Ada Author, Ben Other" in provenance.notes
    assert "10.1000/182" in provenance.notes


def test_format_0_5_opens_with_its_axes_and_names(new):
    model = nu.load_model(new.folder)
    assert "gives the output of the package's own test image" in str(model.report)
    assert model.spec.channel_names == ("membrane",)
    assert model.spec.classes == ("cell", "border")
    assert model.spec.pixel_size_um == 0.25
    assert "bioimage.io package 0.5.4" in model.report.format


def test_predictions_are_the_author_s(old):
    image = np.load(old.folder / "test_in.npy")[0, 0]
    found = nu.predict(nu.load_model(old.folder), image)
    assert np.allclose(found[0], np.load(old.folder / "test_out.npy")[0, 0], atol=1e-3)


@pytest.mark.parametrize("root", ["", "package/"])
def test_zips_and_descriptions_open_as_folders_do(old, tmp_path, root):
    expected = nu.load_model(old.folder)
    for path in (old.zip(tmp_path / "model.zip", root), old.folder / "rdf.yaml"):
        model = nu.load_model(path)
        assert model.sha256 == expected.sha256
        assert model.spec.normalization == expected.spec.normalization


def test_a_saved_copy_keeps_what_the_package_said(new, tmp_path):
    model = nu.load_model(new.folder)
    again = nu.load_model(model.save(tmp_path / "x.safetensors"))
    assert again.spec.model_dump_json() == model.spec.model_dump_json()


def test_the_test_image_settles_what_the_tensors_leave_open(tmp_path):
    folder = PackageFolder(tmp_path / "joined")
    network = lively(JoinedUNet(1, 2))
    folder.weights(network)
    image = noise(1, 1, 64, 64)
    folder.example(network, image, percentiles(image))
    folder.describe(new_format(folder, [{"id": "scale_range", "kwargs": NEW_RANGE}]))
    model = nu.load_model(folder.folder)
    assert model.spec.network.variant == "unet-batchnorm"
    assert "The test image told join='same'" in str(model.report)
    assert nu.load_model(folder.folder, join="same").sha256 == model.sha256
    rewritten(folder, lambda document: document["inputs"][0].pop("test_tensor"))
    with pytest.raises(UnansweredError, match="join"):
        nu.load_model(folder.folder)


def test_results_that_differ_are_told(old):
    np.save(old.folder / "test_out.npy", np.load(old.folder / "test_out.npy") + 0.3)
    assert "does NOT give the output" in str(nu.load_model(old.folder).report)


def test_logits_are_told_from_probabilities(tmp_path):
    folder = PackageFolder(tmp_path / "logits")
    network = lively(PlainUNet(1, 3))
    folder.weights(network)
    image = noise(1, 1, 64, 64)
    folder.example(network, image, percentiles(image), activation=lambda logits: logits)
    folder.describe(old_format(folder, [{"name": "scale_range", "kwargs": RANGE}], post=()))
    model = nu.load_model(folder.folder)
    assert model.activation == "softmax"
    assert "gives the logits of the package's own test image" in str(model.report)
    assert nu.load_model(folder.folder, activation="none").activation == "none"


def test_the_test_image_shows_an_activation_inside_the_network(tmp_path):
    folder = PackageFolder(tmp_path / "inside")
    network = lively(PlainUNet(1, 2))
    folder.weights(network)
    image = noise(1, 1, 64, 64)
    folder.example(network, image, percentiles(image))
    folder.describe(new_format(folder, [{"id": "scale_range", "kwargs": NEW_RANGE}], post=()))
    model = nu.load_model(folder.folder)
    assert (model.activation, model.spec.foreground_classes) == ("sigmoid", ("cell", "border"))
    assert "as the test image shows" in model.report.activation
    assert nu.load_model(folder.folder, activation="softmax").activation == "softmax"


def test_no_code_of_a_package_runs(old):
    marker = old.folder / "ran"
    (old.folder / "unet.py").write_text(f"open({str(marker)!r}, 'w')")
    nu.load_model(old.folder)
    assert not marker.exists()


def test_a_program_is_used_where_the_weights_are_unknown(old):
    pytest.importorskip("onnxruntime")
    network = lively(PlainUNet(1, 1))
    torch.save({"strange.weight": torch.zeros(3, 1, 3, 3)}, old.folder / "weights.pt")
    (old.folder / "w.onnx").write_bytes(onnx_of_sigmoid())
    image = np.load(old.folder / "test_in.npy")
    old.example(network, image, percentiles(image))

    def add(document):
        document["weights"]["pytorch_state_dict"].pop("sha256")
        document["weights"]["onnx"] = {"source": "w.onnx", "opset_version": 17}

    model = nu.load_model(rewritten(old, add))
    try:
        assert model.spec.network.variant == "onnx"
        assert model.spec.name == ABOUT["name"]
        text = str(model.report)
        assert "onnx program" in text
        assert "Its other weights were not used" in text
        assert "does NOT give" in text
    finally:
        model.network.program.close()


def onnx_of_sigmoid():
    from onnx import TensorProto, helper

    shape = [1, 1, "y", "x"]
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["a"], ["b"])],
        "network",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_torchscript_in_a_package_asks_for_trust(old):
    source = {"source": "weights.pt", "sha256": old.sha256("weights.pt")}
    with pytest.raises(UnansweredError, match="can run programs on your computer"):
        nu.load_model(rewritten(old, lambda document: document.update(weights={"torchscript": source})))


def test_trusted_torchscript_in_a_package_gives_its_test_result(old):
    network = lively(PlainUNet(1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 32, 32)), old.folder / "script.pt")
    source = {"source": "script.pt", "sha256": old.sha256("script.pt")}
    path = old.describe({**yaml.safe_load((old.folder / "rdf.yaml").read_text()), "weights": {"torchscript": source}})
    model = nu.load_model(old.zip(path.parent / "model.zip"), trust=True)
    try:
        assert (model.spec.network.variant, model.activation) == ("torchscript", "sigmoid")
        assert model.network.geometry.step == 4
        assert "gives the output of the package's own test image" in str(model.report)
    finally:
        model.network.program.close()


def set_source(name, sha256=None):
    def change(document):
        entry = document["weights"]["pytorch_state_dict"]
        entry["source"] = name
        entry.pop("sha256", None)
        if sha256:
            entry["sha256"] = sha256

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_source("../secret.pt"), "names a file outside"),
        (set_source("/etc/passwd"), "names a file outside"),
        (set_source("C:/x.pt"), "names a file outside"),
        (set_source("https://example.org/w.pt"), "nothing is fetched"),
        (set_source("missing.pt"), r"lacks the file .missing\.pt."),
        (set_source("weights.pt", "0" * 64), "SHA-256 differs"),
        (set_source(["a"]), "is damaged"),
        (lambda d: d.update(weights={"tensorflow_js": {"source": "x"}}), "has weights as tensorflow_js"),
        (lambda d: d.update(weights={}), "no weights"),
        (lambda d: d.update(inputs="x"), "is damaged: inputs"),
        (lambda d: d.update(inputs=d["inputs"] * 2), "takes 2 inputs"),
        (lambda d: d.update(format_version="0.3.6"), r"has the format .0\.3\.6."),
        (lambda d: d.update(type="dataset"), "describes a dataset"),
        (lambda d: d["inputs"][0].update(axes="btcyx"), "has the axes"),
        (lambda d: d.update(test_outputs=["../x.npy"]), "names a file outside"),
    ],
)
def test_packages_that_cannot_be_used_get_a_sentence(old, change, said):
    with pytest.raises(ModelError, match=said):
        nu.load_model(rewritten(old, change))


def test_links_that_lead_outside_are_refused(old, tmp_path):
    (tmp_path / "secret.pt").write_bytes((old.folder / "weights.pt").read_bytes())
    (old.folder / "weights.pt").unlink()
    (old.folder / "weights.pt").symlink_to(tmp_path / "secret.pt")
    with pytest.raises(ModelError, match="is a link to a file outside"):
        nu.load_model(old.folder)


def test_a_pickled_test_image_is_not_opened(old):
    np.save(old.folder / "test_in.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ModelError, match=r"test image .* cannot be read"):
        nu.load_model(old.folder)


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"{new}: &{new} [{', '.join([f'*{before}'] * 10)}]\n".encode()
    for before, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "unfolds to more than"),
        (b"a: 1\na: 2\n", "is there twice"),
        (b"a: &x {b: *x}\n", "deep in one another|recursive"),
        (b"a: " + b"[" * 500 + b"]" * 500, "deep|recursion"),
        (b"a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        (b"- a\n", "holds no description"),
        (b"a: [1\n", "cannot be read as YAML"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"b: &b {x: 1}\na: {<<: *b}\n", "merge keys"),
        (b" " * (3 * 1024**2), "holds 3,145,728 bytes"),
        (b"", "holds no description"),
    ],
)
def test_descriptions_made_to_harm_get_a_sentence(text, said):
    with pytest.raises(ModelError, match=said):
        read_document("rdf.yaml", text)


def test_an_anchor_used_twice_is_no_bomb():
    assert read_document("x", b"a: &x [1]\nb: *x\n") == {"a": [1], "b": [1]}


def tensor(*steps, letters="bcyx", channels=2):
    axes = tuple(Axis(letter, channels if letter == "c" else 0) for letter in letters)
    return Tensor("raw", axes, tuple(Step(name, settings) for name, settings in steps))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], {"method": "fixed", "low": (0.0,), "high": (1.0,)}),
        ([("scale_linear", {"gain": 1 / 255})], {"method": "fixed", "low": (0.0,), "high": (255.0,)}),
        (
            [("scale_linear", {"gain": [0.5, 2.0], "offset": [1.0, 0.0]})],
            {"method": "fixed", "low": (-2.0, 0.0), "high": (0.0, 0.5)},
        ),
        (
            [("fixed_zero_mean_unit_variance", {"mean": 100.0, "std": 20.0})],
            {"method": "fixed", "low": (100.0,), "high": (120.0,)},
        ),
        (
            [("clip", {"min": 0.0, "max": 200.0}), ("fixed_zero_mean_unit_variance", {"mean": 100.0, "std": 50.0})],
            {"method": "fixed", "low": (100.0,), "high": (150.0,), "clip_low": (-2.0,), "clip_high": (2.0,)},
        ),
        (
            [("zero_mean_unit_variance", {"axes": ["y", "x"]})],
            {"method": "z-score", "eps": 1e-6, "per_channel": True},
        ),
        (
            [("zero_mean_unit_variance", {"mode": "per_sample", "axes": "cyx", "eps": 1e-3})],
            {"method": "z-score", "eps": 1e-3, "per_channel": False},
        ),
        (
            [("scale_range", {"axes": ["y", "x"]}), ("clip", {"min": 0.0, "max": 1.0})],
            {"low_percentile": 0.0, "high_percentile": 100.0, "eps": 1e-6, "clip_low": (0.0,), "clip_high": (1.0,)},
        ),
        (
            [("scale_linear", {"gain": 2.0}), ("scale_range", {"axes": "yx", "mode": "per_sample"})],
            {"low_percentile": 0.0, "high_percentile": 100.0, "eps": 1e-6},
        ),
        ([("ensure_dtype", {"dtype": "uint8"}), ("scale_linear", {"gain": 2})], {"method": "fixed", "high": (0.5,)}),
    ],
)
def test_steps_before_the_network_become_a_normalization(steps, expected):
    found = normalization_of("package", tensor(*steps))
    for name, value in expected.items():
        assert getattr(found, name) == (value if isinstance(value, str) else pytest.approx(value)), name


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([("scale_range", {"mode": "per_dataset", "axes": "yx"})], "per_dataset"),
        ([("scale_range", {"axes": ["y", "x"], "reference_tensor": "other"})], "another tensor"),
        ([("scale_range", {"axes": ["x"]})], "whole planes"),
        ([("binarize", {"threshold": 3})], "binarize"),
        ([("scale_range", {"axes": ["y", "x"]}), ("scale_linear", {"gain": 2.0})], "scaled again"),
        ([("clip", {"min": 0, "max": 10}), ("zero_mean_unit_variance", {"axes": "yx"})], "clipped before"),
        ([("scale_linear", {"gain": 0.0})], "made the same"),
        ([("scale_linear", {"gain": "much"})], "not understood"),
        ([("scale_linear", {"gain": 0.1}), ("ensure_dtype", {"dtype": "uint8"})], "rounds"),
        ([("fixed_zero_mean_unit_variance", {"mean": 1.0})], "not understood"),
        ([("scale_range", {"axes": "yx", "min_percentile": 50, "max_percentile": 2})], "contradicts itself"),
    ],
)
def test_steps_that_would_change_results_are_refused(steps, said):
    with pytest.raises(ModelError, match=said):
        normalization_of("package", tensor(*steps))


def test_planes_normalized_one_by_one_are_refused_in_volumes():
    with pytest.raises(ModelError, match="each plane"):
        normalization_of("package", tensor(("scale_range", {"axes": "yx"}), letters="bczyx"))
