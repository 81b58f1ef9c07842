"""A TorchScript file computes what the model computes, or it is not kept."""

import warnings

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.errors import ExportError
from napari_unet.export import torchscript as exporting
from napari_unet.export.torchscript import DESCRIPTION, save_torchscript
from napari_unet.weights.model import new_model
from napari_unet.weights.spec import ModelSpec

THIN = {"width": 4, "depth": 2}


def model_of(variant="unet", channels=2, **options):
    model = new_model(variant, channels, **options)
    torch.manual_seed(0)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def opened(path, files=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path), _extra_files=files)


@pytest.mark.parametrize("variant", ["unet", "unet-batchnorm-crop", "unet-bilinear", "unet++-deep", "attention-unet"])
@pytest.mark.parametrize("size", [(1, 24, 28), (3, 64, 36)])
def test_the_file_gives_the_logits_on_the_grid_of_the_image(tmp_path, variant, size):
    model = model_of(variant, **THIN)
    program = opened(save_torchscript(model, tmp_path / "cells.pt"))
    image = torch.randn(size[0], 2, *size[1:])
    with torch.no_grad():
        wanted, found = model.network.eval().on_grid(image), program(image)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_probabilities_of_volumes(tmp_path):
    model = model_of("unet-3d", 1, **THIN)
    program = opened(save_torchscript(model, tmp_path / "cells.pt", "probabilities"))
    with torch.no_grad():
        found = program(torch.randn(1, 1, 4, 12, 8))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_it_describes_the_model_and_opens_again(tmp_path):
    model = model_of("unet", 1, **THIN)
    path = save_torchscript(model, tmp_path / "cells.pt")
    files = {DESCRIPTION: ""}
    opened(path, files)
    assert ModelSpec.model_validate_json(files[DESCRIPTION]) == model.spec
    again = nu.load_model(path, trust=True)
    image = np.random.default_rng(0).random((45, 38), dtype=np.float32)
    np.testing.assert_allclose(nu.predict(again, image), nu.predict(model, image), atol=1e-3)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    trace = exporting._traced
    monkeypatch.setattr(
        exporting, "_traced", lambda answering, model: trace(exporting.Answering(other, "logits"), model)
    )
    model, other = model_of(**THIN), model_of(**THIN)
    other.network.head.bias.data[0] += 1
    path = tmp_path / "cells.pt"
    path.write_text("what was there")
    with pytest.raises(ExportError, match="differs from the model"):
        save_torchscript(model, path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_that_cannot_be_traced_gets_a_sentence(tmp_path, monkeypatch):
    def fail(*args, **keywords):
        raise RuntimeError("no such operator\nand a long explanation")

    monkeypatch.setattr(torch.jit, "trace", fail)
    with pytest.raises(ExportError, match=r'"unet" could not be put into TorchScript: no such operator$'):
        save_torchscript(model_of(**THIN), tmp_path / "cells.pt")
    assert not list(tmp_path.iterdir())


def test_a_program_of_another_file_is_not_exported_again(tmp_path):
    again = nu.load_model(save_torchscript(model_of("unet", 1, **THIN), tmp_path / "cells.pt"), trust=True)
    with pytest.raises(ExportError, match="use the file that it came from"):
        save_torchscript(again, tmp_path / "more.pt")
