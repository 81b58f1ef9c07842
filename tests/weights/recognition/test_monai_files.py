"""Weights of MONAI's networks open with the arguments that their tensors tell."""

import builtins
import sys
import warnings

import pytest
import torch
from lively import assert_same, enliven, scramble

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nets = pytest.importorskip("monai.networks.nets")

THIN = (4, 4, 8, 8, 8, 6)
FLAT = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
NETWORKS = {
    "UNet": lambda **more: nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), **more),
    "UNet residual": lambda **more: nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, **more),
    "UNet batch": lambda **more: nets.UNet(2, 1, 2, (4, 8, 16, 8), (2, 2, 2), num_res_units=1, norm="batch", **more),
    "UNet kernels": lambda **more: nets.UNet(2, 1, 2, (4, 8), (2,), kernel_size=5, up_kernel_size=3, **more),
    "UNet unbiased": lambda **more: nets.UNet(2, 1, 2, (4, 8), (2,), bias=False, **more),
    "UNet volume": lambda **more: nets.UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, **more),
    "UNet even": lambda **more: nets.UNet(2, 1, 2, (4, 8, 8, 8), (2, 1, 1), num_res_units=2, **more),
    "AttentionUnet": lambda **more: nets.AttentionUnet(2, 1, 2, (4, 8, 16), (2, 2), **more),
    "AttentionUnet volume": lambda **more: nets.AttentionUnet(3, 1, 1, (4, 8), (2,), **more),
    "BasicUNet": lambda **more: nets.BasicUNet(2, 1, 2, THIN, **more),
    "BasicUNet linear": lambda **more: nets.BasicUNet(2, 1, 2, THIN, upsample="nontrainable", norm="batch", **more),
    "BasicUNet shuffled": lambda **more: nets.BasicUNet(2, 1, 2, THIN, upsample="pixelshuffle", **more),
    "BasicUNet volume": lambda **more: nets.BasicUNet(3, 1, 2, THIN, bias=False, **more),
    "BasicUNetPlusPlus": lambda **more: nets.BasicUNetPlusPlus(2, 1, 2, THIN, **more),
    "DynUNet": lambda **more: nets.DynUNet(2, 1, 2, (3, 3, 3), (1, 2, 2), (2, 2), filters=(4, 8, 16), **more),
    "DynUNet residual": lambda **more: nets.DynUNet(
        2, 1, 2, (3, 3, 3), (1, 2, 2), (2, 2), filters=(4, 8, 16), res_block=True, trans_bias=True, **more
    ),
    "DynUNet volume": lambda **more: nets.DynUNet(
        3, 1, 2, FLAT, (1, (1, 2, 2), 2), ((1, 2, 2), 2), filters=(4, 8, 16), norm_name="batch", **more
    ),
    "DynUNet supervised": lambda **more: nets.DynUNet(
        2, 1, 2, (3,) * 4, (1, 2, 2, 2), (2, 2, 2), filters=(4, 8, 8, 8), deep_supervision=True, deep_supr_num=2, **more
    ),
}


def sizes(name):
    return ((16, 32, 32), (32, 32, 48)) if "volume" in name else ((32, 32), (48, 64))


class Last(torch.nn.Module):
    """The output at full depth of a network that gives several."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        output = self.network(x)
        return output[-1] if isinstance(output, list) else output


def save(path, network, images, change=None):
    lively = enliven(Last(network), images[0])
    state = network.state_dict()
    torch.save(change(state) if change else state, path)
    return lively


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_open_without_hints(tmp_path, name):
    images = scramble(*sizes(name))
    network = save(tmp_path / "model.pt", NETWORKS[name](), images)
    model = nu.load_model(tmp_path / "model.pt")
    assert_same(model, network, *images)
    assert model.report.complete
    assert model.report.family == f"MONAI {name.split()[0]}"


@pytest.mark.parametrize("name", ["UNet residual", "AttentionUnet"])
def test_names_below_other_names_are_found(tmp_path, name):
    images = scramble(*sizes(name))

    def wrap(state):
        return {"state_dict": {f"_model.{key}": tensor for key, tensor in state.items()}, "epoch": 3}

    network = save(tmp_path / "last.ckpt", NETWORKS[name](), images, wrap)
    assert_same(nu.load_model(tmp_path / "last.ckpt"), network, *images)


@pytest.mark.parametrize("name", ["DynUNet", "DynUNet supervised"])
def test_older_files_without_second_names_open(tmp_path, name):
    images = scramble(*sizes(name))

    def drop(state):
        return {key: tensor for key, tensor in state.items() if not key.startswith("skip_layers.")}

    network = save(tmp_path / "old.pt", NETWORKS[name](), images, drop)
    assert_same(nu.load_model(tmp_path / "old.pt"), network, *images)


def test_strides_other_than_two_can_be_given(tmp_path):
    images = scramble((24, 24), (48, 36))
    network = save(tmp_path / "model.pt", nets.UNet(2, 1, 2, (4, 8, 16), (3, 2)), images)
    assert_same(nu.load_model(tmp_path / "model.pt", strides=[3, 2]), network, *images)
    assert any("strides=(2, 2)" in note for note in nu.load_model(tmp_path / "model.pt").report.notes)
    with pytest.raises(ModelError, match="strides"):
        nu.load_model(tmp_path / "model.pt", strides=[3])


def test_a_network_saved_whole_tells_its_strides(tmp_path):
    images = scramble((24, 24), (48, 36))
    network = enliven(nets.UNet(2, 1, 2, (4, 8, 16), (3, 2)), images[0])
    torch.save(network, tmp_path / "whole.pt")
    assert_same(nu.load_model(tmp_path / "whole.pt"), network, *images)


def test_activations_without_tensors_are_asked_for_or_given(tmp_path):
    images = scramble(*sizes(""))
    network = save(tmp_path / "model.pt", NETWORKS["UNet residual"](act="relu"), images)
    with pytest.raises(UnansweredError, match="activation"):
        nu.load_model(tmp_path / "model.pt")
    assert_same(nu.load_model(tmp_path / "model.pt", act="relu"), network, *images)
    network = save(tmp_path / "basic.pt", NETWORKS["BasicUNet"](act="elu"), images)
    assert_same(nu.load_model(tmp_path / "basic.pt", act="elu"), network, *images)


def test_normalizations_with_the_same_tensors_can_be_given(tmp_path):
    images = scramble(*sizes(""))
    network = save(tmp_path / "model.pt", NETWORKS["UNet"](norm=None), images)
    assert_same(nu.load_model(tmp_path / "model.pt", norm="none"), network, *images)
    network = save(tmp_path / "group.pt", NETWORKS["UNet residual"](norm=("group", {"num_groups": 2})), images)
    with pytest.raises(UnansweredError, match="num_groups"):
        nu.load_model(tmp_path / "group.pt", norm="group")
    assert_same(nu.load_model(tmp_path / "group.pt", norm="group", num_groups=2), network, *images)


def test_the_order_of_names_tells_that_the_activation_comes_first(tmp_path):
    images = scramble(*sizes(""))
    network = save(tmp_path / "model.pt", NETWORKS["UNet residual"](norm="batch", adn_ordering="ADN"), images)
    assert_same(nu.load_model(tmp_path / "model.pt"), network, *images)


def test_without_monai_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    save(tmp_path / "model.pt", NETWORKS["UNet"](), scramble(*sizes("")))
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("monai"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"pip install \"napari-unet\[monai\]\""):
        nu.load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["UNet", "DynUNet", "DynUNet supervised", "BasicUNet", "AttentionUnet"])
def test_opened_models_can_be_saved_and_opened_again(tmp_path, name):
    images = scramble(*sizes(name))
    network = save(tmp_path / "model.pt", NETWORKS[name](), images)
    path = nu.load_model(tmp_path / "model.pt").save(tmp_path / "ours.safetensors")
    assert_same(nu.load_model(path), network, *images)
