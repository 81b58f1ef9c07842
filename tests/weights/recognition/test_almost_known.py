"""Files in the wrappers that programs put around weights, files that are almost known, and new heads and stems."""

import argparse
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from families import CASES
from torch import nn

import napari_unet as nu
from napari_unet.errors import AlmostKnownError, ModelError
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.matching import find_match


@cache
def lively(name, ins=2, outs=3):
    """Networks do not change in these tests; tensors are replaced in copies of their state dicts."""
    return CASES[name].lively(ins, outs)


def state_of(name):
    return {key: tensor.clone() for key, tensor in lively(name).state_dict().items()}


def prefixed(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


def saved(path, content):
    torch.save(content, path / "best.pth")
    return path / "best.pth"


def checkpoint(state):
    """What training loops save: with the optimizer, whose tensors are not weights."""
    parameter = nn.Parameter(torch.zeros(3, 3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {"epoch": 7, "model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "best_loss": 0.25}


def lightning(state):
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed("model.", state) | {"loss.weight": torch.ones(3)},
        "loops": {},
        "optimizer_states": [],
        "hyper_parameters": {"args": argparse.Namespace(lr=1e-3)},
    }


def with_average(state):
    worse = {key: tensor + 1 if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    return {"model": worse, "model_ema": state}


WRAPPERS = {
    "bare": lambda state: state,
    "checkpoint": checkpoint,
    "parallel": lambda state: {"state_dict": prefixed("module.", state)},
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "stacked": lambda state: {"net": prefixed("module._orig_mod.", state)},
    "lightning": lightning,
    "half": lambda state: {
        key: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor for key, tensor in state.items()
    },
    "before torch 0.4.1": lambda state: {
        key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")
    },
    "mask_values": lambda state: state | {"mask_values": [0, 255]},
}


def logits(model, name="milesial"):
    with torch.no_grad():
        return model.network(CASES[name].images()[0])


@cache
def wanted(name="milesial"):
    with torch.no_grad():
        return lively(name)(CASES[name].images()[0])


def close(found, name="milesial"):
    return bool((found - wanted(name)).abs().max() < 1e-4 * wanted(name).std())


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_seen_through(wrapper, tmp_path):
    model = nu.load_model(saved(tmp_path, WRAPPERS[wrapper](state_of("milesial"))))
    assert model.report.family == "milesial Pytorch-UNet"
    assert model.report.complete
    if wrapper == "half":
        assert (logits(model) - wanted()).abs().mean() < 0.1 * wanted().std()
    else:
        assert close(logits(model))


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        ("unpadded", "parallel"), ("debuggercafe", "checkpoint"), ("resized-bilinear", "compiled"),
        ("nested", "stacked"), ("U_Net", "lightning"), ("milesial-2018", "parallel"),
    ],
)  # fmt: skip
def test_wrappers_fit_every_family(name, wrapper, tmp_path):
    model = nu.load_model(saved(tmp_path, WRAPPERS[wrapper](state_of(name))))
    assert model.report.family == CASES[name].origin
    assert close(logits(model, name), name)


def test_a_network_that_was_saved_whole_opens_without_its_code(tmp_path):
    model = nu.load_model(saved(tmp_path, lively("milesial")))
    assert close(logits(model))


def test_averaged_weights_are_offered(tmp_path):
    path = saved(tmp_path, with_average(state_of("milesial")))
    usual, averaged = nu.load_model(path), nu.load_model(path, averaged=True)
    assert "averaged=True" in " ".join(usual.report.notes)
    assert not close(logits(usual))
    assert close(logits(averaged))


def test_values_of_masks_are_reported(tmp_path):
    model = nu.load_model(saved(tmp_path, WRAPPERS["mask_values"](state_of("milesial"))))
    assert "the values 0, 255" in " ".join(model.report.notes)


def test_weights_beside_those_of_another_network_are_found(tmp_path):
    critic = {"0.weight": torch.ones((4, 4, 3, 3)), "2.weight": torch.ones((1, 4, 3, 3))}
    model = nu.load_model(saved(tmp_path, {"helper": critic, "segmenter": state_of("hub")}))
    assert model.report.family.startswith("mateuszbuda")
    assert 'under "segmenter"' in " ".join(model.report.notes)


def drop(key):
    return lambda state: {name: tensor for name, tensor in state.items() if name != key}


def reshape(key, *shape):
    return lambda state: state | {key: torch.zeros(shape)}


EXTRA = {"aux.weight": torch.zeros((3, 4, 1, 1))}


class TestAlmost:
    """A file that is almost known names its family and what differs."""

    @pytest.mark.parametrize(
        ("name", "change", "words"),
        [
            ("milesial", lambda state: state | EXTRA, r"almost a milesial Pytorch-UNet.*left over: aux\.weight"),
            ("milesial", drop("up2.conv.double_conv.4.bias"), r"missing: up2\.conv\.double_conv\.4\.bias\)"),
            ("milesial", drop("down2.maxpool_conv.1.double_conv.3.weight"), r"missing: down2.*\.3\.weight\)"),
            ("milesial", reshape("down3.maxpool_conv.1.double_conv.1.weight", 5), r"shape: down3.*\(5,\) instead of"),
            ("debuggercafe", drop("up_transpose_2.weight"), r"debuggercafe.*missing: up_transpose_2\.weight\)"),
            ("debuggercafe", reshape("down_convolution_2.0.weight", 8, 4, 5, 5), r"convolution_2\.0.*\(8, 4, 5, 5"),
            ("unpadded", drop("conv_7.1.bias"), r"unpadded U-Net.*missing: conv_7\.1\.bias\)"),
            ("strided", drop("D2.Down.0.bias"), r"strided.*missing: D2\.Down\.0\.bias\)"),
            ("resized-bilinear", drop("ups.2.1.weight"), r"any size.*missing: ups\.2\.1\.weight\)"),
            ("nested-deep", drop("final2.bias"), r"UNet\+\+.*missing: final2\.bias\)"),
            ("nested", lambda state: state | EXTRA, r"UNet\+\+.*left over: aux\.weight\)"),
            ("hub", drop("decoder3.dec3norm2.running_var"), r"missing: decoder3\.dec3norm2\.running_var\)"),
            ("AttU_Net", drop("Att3.W_x.1.weight"), r"AttU_Net.*missing: Att3\.W_x\.1\.weight\)"),
            ("R2U_Net", reshape("Up_RRCNN3.RCNN.0.conv.0.weight", 8, 8, 1, 1), r"R2U_Net.*Up_RRCNN3.*\(8, 8, 1, 1\)"),
        ],
    )  # fmt: skip
    def test_it_says_what_differs(self, name, change, words, tmp_path):
        path = saved(tmp_path, change(state_of(name)))
        with pytest.raises(AlmostKnownError, match=words) as caught:
            nu.load_model(path)
        assert "partial=True" in str(caught.value)

    def test_what_fits_can_be_loaded(self, tmp_path):
        state = reshape("outc.conv.weight", 3, 4, 3, 3)(state_of("milesial")) | EXTRA
        model = nu.load_model(saved(tmp_path, state), partial=True)
        assert model.report.left_over == ("aux.weight",)
        assert model.report.misfit == ("outc.conv.weight (3, 4, 3, 3) instead of (3, 4, 1, 1)",)
        assert model.report.made == ("head.weight",)
        kernel = model.network.encoder[0][0].conv.weight
        assert torch.equal(kernel, lively("milesial").inc.double_conv[0].weight)

    def test_what_is_made_anew_is_the_same_each_time(self, tmp_path):
        path = saved(tmp_path, drop("up2.up.weight")(state_of("milesial")))
        first, second = (logits(nu.load_model(path, partial=True)) for _ in range(2))
        assert torch.equal(first, second)

    def test_a_file_of_no_known_network_names_the_nearest(self, tmp_path):
        state = drop("up_transpose_1.weight")(state_of("debuggercafe"))
        with pytest.raises(ModelError, match=r"nearest is debuggercafe U-Net, but it lacks up_transpose_1\.weight"):
            nu.load_model(saved(tmp_path, state))

    def test_a_level_that_is_missing_is_named(self, tmp_path):
        state = {key: tensor for key, tensor in state_of("milesial").items() if not key.startswith("down2.")}
        with pytest.raises(ModelError, match=r"milesial.*there is no \"down2\."):
            nu.load_model(saved(tmp_path, state))

    def test_numbers_that_are_none_are_refused(self, tmp_path):
        state = state_of("hub")
        state["conv.bias"][0] = float("nan")
        with pytest.raises(ModelError, match="no numbers"):
            nu.load_model(saved(tmp_path, state))


def verdict(state):
    """What is said about a state: the error, or the faults of the match."""
    try:
        return find_match(Checkpoint(Path("forged.pth"), "PyTorch", ()), State("", state), {}).describe_faults()
    except ModelError as error:
        return str(error)


class TestForged:
    """Whatever shapes and names a file claims, a sentence answers, and soon."""

    @pytest.mark.parametrize("name", ["unpadded", "strided", "nested-deep", "milesial-bilinear", "hub", "R2AttU_Net"])
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 2, 3, 3), (4, 0, 3, 3), (1, 2, 3, 3, 3)])
    def test_first_tensors_of_any_shape(self, name, shape):
        with torch.device("meta"):
            state = CASES[name].network(2, 5, 2).state_dict()
            for key in list(state)[:2]:
                assert re.search("of another shape|no known U-Net", verdict(state | {key: torch.zeros(shape)}))

    @pytest.mark.parametrize("number", ["99", "999999999999"])
    def test_numbers_of_levels_are_not_believed(self, number):
        with torch.device("meta"):
            state = CASES["milesial"].network(2, 3, 2).state_dict()
            forged = {f"down{number}.maxpool_conv.1.double_conv.0.weight": torch.zeros((4, 4, 3, 3))}
        assert re.search(r"left over: down9|milesial.* there is no", verdict(state | forged))


class TestChanges:
    """Another number of classes or channels is made on request, and said."""

    def test_a_new_head_keeps_the_rest(self, tmp_path):
        names = ("background", "nucleus", "border", "debris")
        model = nu.load_model(saved(tmp_path, state_of("hub")), classes=names)
        assert model.spec.classes == names
        assert model.activation == "softmax"
        assert model.report.made == ("head.weight", "head.bias")
        assert "random weights" in " ".join(model.report.notes)
        assert "head was made anew" in model.report.activation
        assert torch.equal(model.network.encoder[0][0].conv.weight, lively("hub").encoder1.enc1conv1.weight)

    def test_names_alone_change_no_weight(self, tmp_path):
        model = nu.load_model(saved(tmp_path, state_of("milesial")), classes=("nothing", "cell", "dirt"))
        assert model.spec.foreground_classes == ("cell", "dirt")
        assert model.report.made == ()
        assert close(logits(model))

    def test_background_interior_and_border_are_instances(self, tmp_path):
        model = nu.load_model(saved(tmp_path, state_of("milesial")), classes=("background", "interior", "border"))
        assert model.spec.meaning == "instances"

    @pytest.mark.parametrize(("stem", "made"), [("new", ("encoder.0.0.conv.weight",)), ("sum", ()), ("repeat", ())])
    def test_a_new_stem_is_said(self, stem, made, tmp_path):
        model = nu.load_model(saved(tmp_path, state_of("milesial")), in_channels=1, stem=stem)
        assert model.spec.network.in_channels == 1
        assert model.report.made == made
        assert "took 2 channels, and takes 1 now" in " ".join(model.report.notes)
        if stem == "sum":  # two channels that are equal gave what one gives now
            image = torch.randn((1, 1, 32, 32))
            with torch.no_grad():
                assert torch.allclose(model.network(image), lively("milesial")(image.repeat(1, 2, 1, 1)), atol=1e-4)

    def test_another_activation_is_said(self, tmp_path):
        model = nu.load_model(saved(tmp_path, state_of("milesial")), activation="sigmoid")
        assert model.spec.classes == ("class 1", "class 2", "class 3")
        assert model.report.activation == "sigmoid, as asked for"

    def test_one_output_alone_has_no_softmax(self, tmp_path):
        path = saved(tmp_path, CASES["milesial"].network(1, 1, 2).state_dict())
        with pytest.raises(ModelError, match=r"is 1 everywhere\. Choose 'sigmoid' or 'none'"):
            nu.load_model(path, activation="softmax")
        assert nu.load_model(path, activation="none").spec.foreground_classes == ("foreground",)

    def test_numbers_of_numpy_are_numbers(self, tmp_path):
        model = nu.load_model(saved(tmp_path, state_of("milesial")), in_channels=np.int64(1), stem="sum")
        assert model.spec.network.in_channels == 1

    def test_bounds_of_channels_that_are_gone_go_too(self, tmp_path):
        network = CASES["nested"].lively(3, 1)
        network.conv0_0["bn1"].running_var.mul_(1e-6)
        path = saved(tmp_path, network.state_dict())
        assert len(nu.load_model(path).spec.normalization.low) == 3
        assert nu.load_model(path, in_channels=1, stem="sum").spec.normalization.method == "percentile"

    @pytest.mark.parametrize(
        ("answers", "words"),
        [
            ({"classes": "nucleus"}, "classes='nucleus' was given. Give a sequence"),
            ({"classes": ("only",)}, "a background and at least one more"),
            ({"in_channels": 0}, "in_channels=0 was given"),
            ({"in_channels": "grey"}, "in_channels='grey' was given"),
            ({"in_channels": 1, "stem": "mean"}, "stem='mean' was given. Choose one of: 'new', 'sum', 'repeat'"),
            ({"stem": "sum"}, "Pass in_channels= too"),
            ({"activation": "tanh"}, "activation='tanh' was given"),
            ({"classes": 3}, "classes=3 was given. Give a sequence"),
            ({"classes": None}, "classes=None was given. Give a sequence"),
            ({"in_channels": True}, "in_channels=True was given"),
            ({"family": "4uiiurz1 U-Net"}, "should be a 4uiiurz1 U-Net, but .* Leave family= out"),
            ({"sigmoid": True}, r"activation \('none', 'sigmoid', 'softmax'\), .* stem \('new', 'sum', 'repeat'\), "),
        ],
    )
    def test_impossible_changes_get_a_sentence(self, answers, words, tmp_path):
        with pytest.raises(ModelError, match=words):
            nu.load_model(saved(tmp_path, state_of("milesial")), **answers)
