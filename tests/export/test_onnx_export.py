"""An ONNX file computes what the model computes, or it is not kept."""

import importlib.util
import json

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ExportError
from napari_unet.export import onnx as exporting
from napari_unet.export.onnx import save_onnx
from napari_unet.weights.model import new_model
from napari_unet.weights.spec import ModelSpec

ort = pytest.importorskip("onnxruntime")

THIN = {"width": 4, "depth": 2}


def model_of(variant="unet", channels=2, **options):
    model = new_model(variant, channels, **options)
    torch.manual_seed(0)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    for name, buffer in model.network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and the program that it was turned into; exporting takes seconds."""
    model = model_of(**{**THIN, "depth": 1})
    path = tmp_path_factory.mktemp("exported") / "cells.onnx"
    programs = []
    with pytest.MonkeyPatch.context() as patch:
        trace = exporting._traced
        patch.setattr(exporting, "_traced", lambda *args: programs.append(trace(*args)) or programs[0])
        assert save_onnx(model, path, output="probabilities") == path
    return model, path, programs[0]


def computed(path, image):
    session = ort.InferenceSession(str(path))
    (found,) = session.run(None, {"image": image.numpy()})
    return torch.from_numpy(found)


@pytest.mark.parametrize("size", [(1, 2, 2), (3, 10, 22), (2, 64, 6)])
def test_the_file_gives_the_probabilities_of_the_model_at_any_multiple_of_the_stride(exported, size):
    model, path, _ = exported
    image = torch.randn(size[0], 2, *size[1:])
    with torch.no_grad():
        wanted = model.network.eval()(image).softmax(1)
    np.testing.assert_allclose(computed(path, image), wanted, atol=1e-5)


def test_it_is_one_file_that_describes_the_model(exported):
    model, path, _ = exported
    assert [file.name for file in path.parent.iterdir()] == ["cells.onnx"]
    session = ort.InferenceSession(str(path))
    assert (session.get_inputs()[0].name, session.get_outputs()[0].name) == ("image", "probabilities")
    described = session.get_modelmeta().custom_metadata_map["napari_unet"]
    assert ModelSpec(**json.loads(described)) == model.spec


def test_a_file_that_computes_something_else_is_not_kept(exported, tmp_path, monkeypatch):
    *_, program = exported
    other = model_of(**{**THIN, "depth": 1})
    other.network.head.bias.data[0] += 1
    monkeypatch.setattr(exporting, "_traced", lambda *args: program)
    path = tmp_path / "cells.onnx"
    path.write_text("what was there")
    with pytest.raises(ExportError, match="differs from the model"):
        save_onnx(other, path, output="probabilities")
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_exporting_does_not_change_the_model(exported):
    model, *_ = exported
    assert model_of(**{**THIN, "depth": 1}).sha256 == model.sha256


def test_missing_libraries_get_the_command_that_installs_them(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(ExportError, match=r'needs onnxscript.*pip install "napari-unet\[onnx\]"'):
        save_onnx(model_of(**THIN), tmp_path / "cells.onnx")


def test_what_the_exporter_cannot_express_gets_a_sentence(tmp_path, monkeypatch):
    def fail(*args, **keywords):
        raise RuntimeError("no such operator\nand a long explanation")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ExportError, match=r'"unet" could not be put into ONNX: no such operator$'):
        save_onnx(model_of(**THIN), tmp_path / "cells.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_beyond_two_gigabytes_are_refused_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="2 GiB at most"):
        save_onnx(model_of(**THIN), tmp_path / "cells.onnx")


DYNUNET = {"kernel_size": (3,) * 3, "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (4,) * 3}
NETWORKS = [
    ("unet", {**THIN, "up": "linear"}),
    ("unet", {**THIN, "up": "linear", "align_corners": True, "fit": "pad"}),
    ("unet-3d", THIN),
    ("unet-valid", THIN),
    ("unet-batchnorm-crop", THIN),
    ("unet-batchnorm-pad", THIN),
    ("unet-bilinear", THIN),
    ("unet-keras", THIN),
    ("unet-strided", THIN),
    ("unet-slim", THIN),
    ("unet-slim-3x", THIN),
    ("unet++", THIN),
    ("unet++-deep", THIN),
    ("unet++-deep", {**THIN, "branch": 1}),
    ("attention-unet", THIN),
    ("r2-unet", THIN),
    ("attention-r2-unet", THIN),
    ("residual-unet", THIN),
    ("residual-unet-3d", THIN),
    ("residual-unet-3dunet", {**THIN, "dims": 2, "groups": 2}),
    ("residual-unet-nnunet", {"dims": 2, "depth": 2, "widths": (4, 6, 8), "stem": 4, "blocks": (1, 2, 1)}),
    ("unet3+", THIN),
    ("convnext-unet", THIN),
    ("convnext-unet-3d", {"width": 4, "depth": 1}),
    ("encoder-unet", {}),
    ("monai-unet", {"arguments": {"channels": (4, 6, 8), "strides": (2, 2), "num_res_units": 1}}),
    ("monai-basic-unet", {"arguments": {"features": (4,) * 6}}),
    ("monai-basic-unet++", {"arguments": {"features": (4,) * 6}}),
    ("monai-attention-unet", {"arguments": {"channels": (4, 6, 8), "strides": (2, 2)}}),
    ("monai-dynunet", {"arguments": DYNUNET}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "options"), NETWORKS)
def test_every_family_exports(tmp_path, variant, options):
    if variant.startswith("monai"):
        pytest.importorskip("monai")
    path = save_onnx(model_of(variant, **options), tmp_path / "network.onnx")
    assert path.stat().st_size > 0


@pytest.mark.slow
def test_an_exported_file_opens_again_and_predicts_the_same(tmp_path):
    model = model_of("convnext-unet", channels=1, **THIN)
    again = nu.load_model(save_onnx(model, tmp_path / "cells.onnx"))
    image = np.random.default_rng(0).random((45, 38), dtype=np.float32)
    np.testing.assert_allclose(nu.predict(again, image), nu.predict(model, image), atol=1e-3)
