"""The TensorFlow-slim U-Net opens from checkpoints and archives, and gives what TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from keras_networks import slim, slim_weights
from tensorflow_writer import save_checkpoint

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.networks.adapting import shapes_of
from napari_unet.networks.spec import NetworkSpec

SIZES = ((32, 48), (37, 53))


def assert_same(model, variables, extra=0):
    generator = torch.Generator().manual_seed(1)
    for size in SIZES:
        image = torch.randn((2, *size, variables["g_conv1_1/weights"].shape[2]), generator=generator)
        wanted = slim(variables, image, extra)
        with torch.inference_mode():
            found = model.network(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert float(wanted.std()) > 0.3
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.std()))


def save(path, variables, form):
    if form == "npz":
        np.savez(path / "w.npz", **{f"{name}:0": value for name, value in variables.items()})
        return path / "w.npz"
    save_checkpoint(path / "model.ckpt-500", variables)
    return (
        path
        / {"index": "model.ckpt-500.index", "data": "model.ckpt-500.data-00000-of-00001", "list": "checkpoint"}[form]
    )


@pytest.mark.parametrize("form", ["index", "data", "list", "npz"])
@pytest.mark.parametrize("outputs", [6, 27])
def test_both_heads_open_from_every_format(tmp_path, form, outputs):
    variables = slim_weights(outputs=outputs)
    model = nu.load_model(save(tmp_path, variables, form))
    assert_same(model, variables)
    assert model.activation == "none"
    assert model.spec.network.out_channels == (3 if outputs == 27 else 6)


def test_checkpoints_of_a_training_open_too(tmp_path):
    variables = slim_weights(extra=1)
    wanted = dict(variables)
    for name, value in wanted.items():
        variables[f"{name}/Adam"] = variables[f"{name}/Adam_1"] = np.zeros_like(value)
    # A step counter made first takes the name Variable, so that the kernels are Variable_1 to Variable_4.
    variables |= {"Variable": np.int32(7), "beta1_power": np.float32(0.9), "beta2_power": np.float32(0.99)}
    assert_same(nu.load_model(save(tmp_path, variables, "index")), wanted, extra=1)


def test_kernels_in_another_order_are_known_by_their_shapes(tmp_path):
    wanted = slim_weights()
    order = ["Variable", "Variable_1", "Variable_2", "Variable_3"]
    shuffled = {f"other/{name}": wanted[name] for name in order}
    variables = {name: value for name, value in wanted.items() if name not in order} | shuffled
    assert_same(nu.load_model(save(tmp_path, variables, "index")), wanted)


def test_what_is_missing_is_said(tmp_path):
    variables = slim_weights()
    del variables["Variable_2"]
    with pytest.raises(ModelError, match=r"no kernel of the shape \(2, 2, 8, 16\)"):
        nu.load_model(save(tmp_path, variables, "index"))


@pytest.mark.parametrize(("outputs", "parameters"), [(6, 7_759_782), (27, 7_760_475)])
def test_the_numbers_of_parameters_are_right(tmp_path, outputs, parameters):
    spec = nu.load_model(save(tmp_path, slim_weights(outputs=outputs), "npz")).spec.network
    full = NetworkSpec(
        variant=spec.variant,
        in_channels=3,
        out_channels=spec.out_channels,
        options={**spec.options, "widths": tuple(8 * width for width in spec.options["widths"])},
    )
    assert sum(int(np.prod(shape)) for shape in shapes_of(full).values()) == parameters
