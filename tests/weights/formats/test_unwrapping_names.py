"""Weights are found under whatever names programs keep them, and prefixes come off one at a time."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from napari_unet.errors import ModelError
from napari_unet.weights.formats.pickled import read_pickled
from napari_unet.weights.formats.unwrapping import WRAPPERS, count_parameters, strip_candidates, unwrap


def weights(value=1.0):
    return {"inc.weight": torch.full((4, 1, 3, 3), value), "inc.bias": torch.full((4,), value)}


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_known_wrapper_is_seen_through(wrapper):
    found = unwrap({"epoch": 7, wrapper: weights(), "optimizer": {"state": {0: torch.ones(4, 1, 3, 3)}}})
    (state,) = found.states
    assert (state.where, list(state.tensors), state.averaged) == (wrapper, ["inc.weight", "inc.bias"], False)
    assert found.extras == {"epoch": 7}


def test_unknown_and_nested_wrappers_are_seen_through():
    found = unwrap({"checkpoint": {"stuff": {"model": {"state_dict": weights()}}, "epoch": 2}, "date": "today"})
    assert [state.where for state in found.states] == ["checkpoint.stuff.model.state_dict"]
    assert found.extras == {"epoch": 2, "date": "today"}


@pytest.mark.parametrize("name", ["optimizer", "optimizer_states", "optim", "lr_schedulers", "grad_scaler", "scaler"])
def test_what_only_training_needs_is_ignored(name):
    found = unwrap({"model": weights(), name: {"state": {"a": torch.ones(9, 9, 3, 3)}}})
    assert [state.where for state in found.states] == ["model"]
    assert name not in found.extras


@pytest.mark.parametrize("name", ["ema", "model_ema", "state_dict_ema", "params_ema", "ema_state_dict", "swa_model"])
def test_running_averages_are_offered_behind_the_weights(name):
    found = unwrap({name: weights(2), "params": weights(1)})
    assert [(state.where, state.averaged) for state in found.states] == [("params", False), (name, True)]
    assert found.states[0].tensors["inc.bias"][0] == 1


def test_running_averages_inside_the_same_names_are_separated():
    found = unwrap({"state_dict": {**prefixed("model.", weights(1)), **prefixed("model_ema.", weights(2))}})
    first, second = found.states
    assert (first.averaged, second.averaged) == (False, True)
    assert all(name.startswith("model.") for name in first.tensors)
    assert all(name.startswith("model_ema.") for name in second.tensors)


def test_what_torch_averages_is_recognised_by_its_counter(tmp_path):
    averaged = AveragedModel(nn.Conv2d(1, 4, 3))
    torch.save(averaged.state_dict(), tmp_path / "swa.pth")
    (state,) = read_pickled(tmp_path / "swa.pth").states
    assert state.averaged
    assert list(state.tensors) == ["module.weight", "module.bias"]


def test_the_generator_comes_before_the_discriminator():
    found = unwrap({"D": weights(), "discriminator": weights(), "G": weights()})
    assert found.states[0].where == "G"


def test_measurements_beside_the_weights_are_no_weights():
    found = unwrap({"confusion": torch.ones(3, 3), "best": torch.tensor(0.5), "state_dict": weights()})
    assert [state.where for state in found.states] == ["state_dict"]
    assert found.extras["confusion"] == [[1, 1, 1]] * 3
    assert found.extras["best"] == 0.5


def test_lists_beside_the_tensors_stay_with_them():
    found = unwrap({**weights(), "mask_values": [0, 255]})
    assert list(found.states[0].tensors) == ["inc.weight", "inc.bias"]
    assert found.extras == {"mask_values": [0, 255]}


def test_lightning_keeps_its_hyper_parameters():
    content = {
        "state_dict": prefixed("net.", weights()),
        "hyper_parameters": {"channels": (1, 4), "lr": 0.1},
        "pytorch-lightning_version": "2.4.0",
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.9)}},
        "loops": {"fit_loop": {"x": 1}},
    }
    extras = unwrap(content).extras
    assert extras["hyper_parameters"] == {"channels": [1, 4], "lr": 0.1}
    assert extras["pytorch-lightning_version"] == "2.4.0"


def test_content_nested_beyond_measure_is_refused():
    nested = {}
    nested["again"] = nested
    with pytest.raises(ModelError, match="nested deeper"):
        unwrap(nested)


def names(candidate):
    return sorted(candidate)


@pytest.mark.parametrize(
    "prefixes",
    [
        ("module.",),
        ("_orig_mod.",),
        ("model.", "module."),
        ("module.", "_orig_mod.", "net."),
        ("net.", "_orig_mod.", "x."),
    ],
)
def test_prefixes_come_off_one_at_a_time_in_any_order(prefixes):
    tensors = {"a.weight": torch.ones(1), "b.weight": torch.ones(1)}
    stacked = prefixed("".join(prefixes), tensors)
    candidates = [names(candidate) for candidate in strip_candidates(stacked)]
    assert candidates[0] == names(stacked)
    assert candidates[-1] == names(tensors)
    assert len(candidates) == len(prefixes) + 1


@pytest.mark.parametrize("beside", ["loss.weight", "metric.total", "val_dice.sum", "criterion.weight"])
@pytest.mark.parametrize("prefix", ["model.", "segmentation_net."])
def test_losses_and_metrics_beside_the_network_are_left_out(prefix, beside):
    tensors = {"a.weight": torch.ones(1), "b.weight": torch.ones(1), "b.bias": torch.ones(1)}
    candidates = list(strip_candidates({**prefixed(prefix, tensors), beside: torch.ones(3)}))
    assert names(candidates[-1]) == names(tensors)


def test_a_network_without_prefix_is_offered_as_it_is():
    tensors = {"inc.a": torch.ones(1), "down1.a": torch.ones(1), "down2.a": torch.ones(1)}
    assert [names(candidate) for candidate in strip_candidates(tensors)] == [names(tensors)]
    assert [dict(candidate) for candidate in strip_candidates({})] == [{}]


def test_names_that_share_memory_are_counted_once():
    weight = torch.ones(4, 3)
    tensors = {"a": weight, "alias": weight, "transposed": torch.ones(2, 2), "first": weight[:1]}
    assert count_parameters(tensors) == 12 + 4 + 3
