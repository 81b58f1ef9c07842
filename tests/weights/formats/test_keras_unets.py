"""U-Nets of Keras open without hints, in every format, and give what Keras gives."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from keras_networks import Tape, normalized, tutorial, zhixuhao
from keras_writer import layer, nested, save_h5_model, save_h5_weights, save_keras, write_weights_3
from tensorflow_writer import save_checkpoint

import napari_unet as nu
from napari_unet.errors import ModelError, NapariUnetError
from napari_unet.networks.adapting import shapes_of
from napari_unet.networks.registry import resolve_options
from napari_unet.networks.spec import NetworkSpec
from napari_unet.weights.formats import hdf5

WRITERS = {
    "keras 2 model": lambda path, layers: save_h5_model(path / "unet.hdf5", layers),
    "keras 3 model in HDF5": lambda path, layers: save_h5_model(path / "unet.h5", layers, version="3.3.0"),
    "keras 2 weights": lambda path, layers: save_h5_weights(path / "unet.h5", layers),
    "keras 3 weights": lambda path, layers: write_weights_3(path / "unet.weights.h5", layers),
    "keras 3 model": lambda path, layers: save_keras(path / "unet.keras", layers),
    "keras 2.15 model": lambda path, layers: save_keras(
        path / "unet.keras", layers, version="2.15.0", container="_layer_checkpoint_dependencies"
    ),
}
WITH_GRAPH = [name for name in WRITERS if not name.endswith("weights")]


@pytest.fixture(autouse=True)
def _without_trial(monkeypatch):
    """Each trial of an HDF5 file starts a process, which the many files of these tests do without."""
    monkeypatch.setattr(hdf5, "try_elsewhere", lambda *_: None)


def images(channels=1, sizes=((32, 48), (48, 32))):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn((1, *size, channels), generator=generator) for size in sizes]


def run(model, image):
    with torch.inference_mode():
        logits = model.network(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if model.activation == "sigmoid":
            return torch.sigmoid(logits)
        return torch.softmax(logits, -1) if model.activation == "softmax" else logits


def assert_same(model, build, tape, channels=1, **options):
    for image in images(channels):
        wanted = build(restart(tape), image, **options)
        found = run(model, image)
        assert float(wanted.std()) > 0.02
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.std()))


def restart(tape):
    tape.alive = []
    return tape


def record(build, channels=1, **options):
    tape = Tape()
    build(tape, images(channels)[0], **options)
    return tape


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("build", [tutorial, zhixuhao])
def test_known_networks_open_from_every_format(tmp_path, build, writer):
    tape = record(build)
    model = nu.load_model(WRITERS[writer](tmp_path, tape.layers))
    assert_same(model, build, tape)
    assert model.activation == "sigmoid"
    assert ("zhixuhao" if build is zhixuhao else "32 to 512") in model.spec.provenance.source


@pytest.mark.parametrize("writer", WITH_GRAPH)
@pytest.mark.parametrize("concat", ["skip", "decoder"])
def test_the_graph_tells_what_comes_first(tmp_path, writer, concat):
    tape = record(tutorial, concat=concat, depth=3)
    model = nu.load_model(WRITERS[writer](tmp_path, tape.layers))
    assert_same(model, tutorial, tape, concat=concat, depth=3)


@pytest.mark.parametrize("writer", ["keras 2 weights", "keras 3 weights"])
@pytest.mark.parametrize("concat", ["skip", "decoder"])
def test_without_a_graph_it_is_asked_what_comes_first(tmp_path, writer, concat):
    tape = record(tutorial, concat=concat, depth=3)
    path = WRITERS[writer](tmp_path, tape.layers)
    with pytest.raises(NapariUnetError, match="concat= one of 'decoder', 'skip'"):
        nu.load_model(path)
    assert_same(nu.load_model(path, concat=concat), tutorial, tape, concat=concat, depth=3)


def test_the_known_network_can_be_told_to_be_another(tmp_path):
    tape = record(tutorial, concat="skip")
    model = nu.load_model(save_h5_weights(tmp_path / "w.h5", tape.layers), concat="skip")
    assert_same(model, tutorial, tape, concat="skip")


VARIANTS = [
    {"place": "before", "up": "transpose", "concat": "skip", "head": "softmax"},
    {"place": "after", "up": "nearest", "concat": "decoder", "head": "sigmoid"},
    {"place": "before", "up": "bilinear", "concat": "skip", "head": "linear", "scale": False},
    {"place": "after", "up": "none", "concat": "decoder", "head": "softmax", "depth": 3},
    {"place": "before", "up": "transpose 3", "concat": "skip", "head": "softmax"},
    {"place": "after", "up": "transpose 3", "concat": "decoder", "head": "softmax"},
    {"place": "before", "up": "transpose, normalized", "concat": "decoder", "head": "softmax"},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_normalization_activation_and_up_sampling_are_read(tmp_path, options):
    tape = record(normalized, channels=2, **options)
    for writer in ("keras 2 model", "keras 3 model"):
        model = nu.load_model(WRITERS[writer](tmp_path, tape.layers))
        logits = model if options["head"] != "linear" else model.with_spec(activation="none")
        assert_same(logits, normalized, tape, channels=2, **options)


@pytest.mark.parametrize("writer", ["keras 2 weights", "keras 3 weights"])
def test_where_the_normalization_lies_is_asked(tmp_path, writer):
    options = VARIANTS[0]
    tape = record(normalized, channels=2, **options)
    path = WRITERS[writer](tmp_path, tape.layers)
    with pytest.raises(NapariUnetError, match="norm= one of 'before', 'after'"):
        nu.load_model(path)
    model = nu.load_model(path, concat="skip", norm="before")
    assert_same(model, normalized, tape, channels=2, **options)


def test_a_network_within_a_network_opens(tmp_path):
    tape = record(tutorial, depth=2)
    inner = nested("Functional", "unet", tape.layers, ["image"])
    path = save_h5_model(tmp_path / "m.h5", [layer("InputLayer", "image"), inner])
    assert_same(nu.load_model(path), tutorial, tape, depth=2)


def test_rescaling_becomes_the_normalization(tmp_path):
    tape = record(tutorial, depth=2)
    rescaling = layer("Rescaling", "rescaling", ["image"], scale=1 / 255, offset=0.0)
    begin, *rest = tape.layers
    rest[0]["inbound"] = ["rescaling"]
    begin["config"]["name"] = "image"
    model = nu.load_model(save_h5_model(tmp_path / "m.h5", [begin, rescaling, *rest]))
    assert model.spec.normalization.method == "fixed"
    assert model.spec.normalization.high == pytest.approx((255.0,))
    assert_same(model, tutorial, tape, depth=2)


@pytest.mark.parametrize("build", [tutorial, zhixuhao])
def test_a_saved_model_of_tensorflow_opens(tmp_path, build):
    tape = record(build)
    weighted = [item["weights"] for item in tape.layers if item["weights"]]
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables = {
        f"layer_with_weights-{i}/{name}{end}": value for i, item in enumerate(weighted) for name, value in item.items()
    }
    slots = {name.replace(end, f"/.OPTIMIZER_SLOT/optimizer/m{end}"): value for name, value in variables.items()}
    counters = {f"optimizer/iter{end}": np.int64(3), f"keras_api/metrics/0/total{end}": np.float32(3)}
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"")
    save_checkpoint(tmp_path / "variables" / "variables", variables | slots | counters, listed=False)
    for path in (tmp_path / "variables" / "variables.index", tmp_path):
        assert_same(nu.load_model(path), build, tape)


@pytest.mark.parametrize("build", [tutorial, zhixuhao])
def test_weights_that_were_repacked_open_too(tmp_path, build):
    tape = record(build)
    path = write_weights_3(tmp_path / "a.weights.h5", tape.layers)
    with h5py.File(path) as file, h5py.File(tmp_path / "b.weights.h5", "w") as packed:
        for name in sorted(file["layers"]):  # the order in which they were written is lost
            file.copy(f"layers/{name}", packed.require_group("layers"))
    assert_same(nu.load_model(tmp_path / "b.weights.h5"), build, tape)


def test_weights_that_another_program_wrote_need_no_lists(tmp_path):
    tape = record(tutorial)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for item in tape.layers:
            name = item["config"]["name"]
            for key, value in item["weights"].items():
                file[f"model_weights/{name}/{name}/{key}:0"] = value
    assert_same(nu.load_model(tmp_path / "w.h5"), tutorial, tape)


UNKNOWN = {
    "PReLU": "which none of these U-Nets has",
    "GlobalAveragePooling2D": "which none of these U-Nets has",
    "Add": "several inputs",
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_other_layers_are_named(tmp_path, kind):
    tape = record(tutorial, depth=2)
    end = tape.layers[-1]["config"]["name"]
    inbound = [end, end] if kind == "Add" else [end]
    with pytest.raises(ModelError, match=UNKNOWN[kind]):
        nu.load_model(save_h5_model(tmp_path / "m.h5", [*tape.layers, layer(kind, "strange", inbound)]))


def count(path):
    """Parameters of the network that a file holds, were it eight times as wide."""
    spec = nu.load_model(path).spec.network
    thin = resolve_options(spec)
    encoder, decoder = (
        [[8 * width for width in level] for level in x] for x in (thin.encoder_widths, thin.decoder_widths)
    )
    if len(decoder[0]) == 3:
        decoder[0][2] = 2  # the two channels before the head stay two
    options = {**spec.options, "encoder": encoder, "decoder": decoder}
    full = NetworkSpec(variant=spec.variant, in_channels=1, out_channels=1, options=options)
    return sum(int(np.prod(shape)) for shape in shapes_of(full).values())


def test_the_numbers_of_parameters_are_those_that_keras_prints(tmp_path):
    path = save_h5_model(tmp_path / "m.h5", record(tutorial).layers)
    assert count(path) == 7_759_521
    path = save_h5_model(tmp_path / "z.h5", record(zhixuhao, base=8).layers)
    assert count(path) == 31_031_685
