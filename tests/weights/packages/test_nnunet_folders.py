"""Result folders of nnU-Net open with their plans, classes and normalization."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "recognition"))
from lively import assert_same, enliven, scramble
from nnunet_networks import PlainConvUNet, Style

import napari_unet as nu
from napari_unet.errors import ModelError

IMAGES = scramble((16, 16), (24, 32), channels=2)
CT = {"mean": 100.0, "std": 50.0, "percentile_00_5": -50.0, "percentile_99_5": 300.0, "min": -1000, "max": 3000}


def make(seed):
    counts = {"counts": (2, 2, 2), "decoder_counts": (2, 2)}
    network = PlainConvUNet(Style(2), (4, 8, 8), [(3, 3)] * 3, [(2, 2)] * 2, **counts, outputs=3, inputs=2)
    return enliven(network, IMAGES[0], seed)


def write(folder, folds=("0",), schemes=("ZScoreNormalization", "ZScoreNormalization"), labels=None, **plans):
    """Write what a training leaves; return the network of each fold."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "normalization_schemes": list(schemes),
        "spacing": [0.5, 0.5],
        "patch_size": [256, 256],
        "UNet_class_name": "PlainConvUNet",
        "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
    }
    said = {"configurations": {"2d": configuration}, "transpose_forward": [0, 1], **plans}
    said["foreground_intensity_properties_per_channel"] = {"0": CT, "1": CT}
    (folder / "plans.json").write_text(json.dumps(said))
    labels = labels or {"background": 0, "nucleus": 1, "cell": 2}
    dataset = {"channel_names": {"0": "DAPI", "1": "actin"}, "labels": labels, "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    networks = {}
    for seed, fold in enumerate(folds):
        networks[fold] = make(seed)
        place = folder / f"fold_{fold}"
        place.mkdir()
        states = {"final": networks[fold], "best": make(seed + 100)}
        networks[f"{fold} best"] = states["best"]
        for name, network in states.items():
            torch.save(trained(network, said, dataset), place / f"checkpoint_{name}.pth")
    return networks


def trained(network, plans, dataset):
    """What the training program keeps beside the weights: numbers of numpy, the state of the optimizer."""
    moments = {n: {"momentum_buffer": torch.ones_like(p)} for n, p in enumerate(network.parameters())}
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": {"state": moments, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "epoch_end_timestamps": [1.0]},
        "_best_ema": np.float64(0.7),
        "current_epoch": 1000,
        "init_args": {"plans": plans, "configuration": "2d", "fold": 0, "dataset_json": dataset},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "Dataset001_Cells" / "nnUNetTrainer__nnUNetPlans__2d"


def test_a_folder_opens_with_classes_and_channels(folder):
    networks = write(folder)
    model = nu.load_model(folder)
    assert_same(model, networks["0"], *IMAGES)
    assert model.spec.classes == ("background", "nucleus", "cell")
    assert model.spec.channel_names == ("DAPI", "actin")
    assert model.spec.normalization.method == "z-score"
    assert model.activation == "softmax"
    assert model.spec.pixel_size_um is None
    assert model.spec.patch_px == (256, 256)
    assert any("0.5 × 0.5" in note for note in model.report.notes)


@pytest.mark.parametrize("place", ["", "..", "fold_0", "plans.json", "dataset.json"])
def test_any_place_of_the_results_opens(folder, place):
    networks = write(folder)
    assert_same(nu.load_model((folder / place).resolve()), networks["0"], *IMAGES)


def test_a_single_checkpoint_opens_without_its_folder(folder):
    networks = write(folder)
    model = nu.load_model(folder / "fold_0" / "checkpoint_best.pth")
    assert_same(model, networks["0 best"], *IMAGES)
    assert model.spec.classes == ("background", "nucleus", "cell")
    assert model.spec.channel_names == ("DAPI", "actin")


def test_folds_and_checkpoints_can_be_chosen(folder):
    networks = write(folder, ("1", "0", "all"))
    assert_same(nu.load_model(folder), networks["all"], IMAGES[0])
    for fold in (1, "1"):
        assert_same(nu.load_model(folder, fold=fold), networks["1"], IMAGES[0])
    best = nu.load_model(folder, fold=0, checkpoint="best")
    assert_same(best, networks["0 best"], IMAGES[0])
    assert best.report.answers == {"fold": 0, "checkpoint": "best"}
    assert any("averages the networks of all 3 folds" in note for note in best.report.notes)
    assert_same(nu.load_model(folder / "fold_1"), networks["1"], IMAGES[0])
    with pytest.raises(ModelError, match="Choose one of: 'all', 0, 1"):
        nu.load_model(folder, fold=7)
    with pytest.raises(ModelError, match="latest"):
        nu.load_model(folder, checkpoint="latest")


def test_regions_get_a_probability_each(folder):
    write(folder, labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "dot": 3, "ignore": 4})
    model = nu.load_model(folder)
    assert model.activation == "sigmoid"
    assert model.spec.classes == ("whole", "core", "dot")


def test_ct_is_normalized_by_the_intensities_of_the_training(folder):
    write(folder, schemes=("CTNormalization", "NoNormalization"))
    normalization = nu.load_model(folder).spec.normalization
    assert normalization.method == "fixed"
    assert (normalization.low, normalization.high) == ((100.0, 0.0), (150.0, 1.0))
    assert (normalization.clip_low[0], normalization.clip_high[0]) == (-3.0, 4.0)
    assert normalization.clip_high[1] > 1e20


@pytest.mark.parametrize(
    ("schemes", "expected"),
    [
        (("RescaleTo01Normalization",) * 2, {"method": "percentile", "low_percentile": 0, "high_percentile": 100}),
        (("RGBTo01Normalization",) * 2, {"method": "fixed", "low": (0, 0), "high": (255, 255), "clip_low": ()}),
        (("ZScoreNormalization", "CTNormalization"), {"method": "z-score"}),
        (("SomebodysOwn",) * 2, {"method": "z-score"}),
    ],
)
def test_other_normalizations(folder, schemes, expected):
    write(folder, schemes=schemes)
    model = nu.load_model(folder)
    assert {name: getattr(model.spec.normalization, name) for name in expected} == expected
    if len(set(schemes)) > 1 or "Own" in schemes[0]:
        assert any(schemes[0] in note for note in model.report.notes)


def test_several_results_in_a_folder_are_listed(folder):
    write(folder)
    write(folder.with_name("nnUNetTrainer__nnUNetPlans__3d_fullres"))
    with pytest.raises(ModelError, match="3d_fullres"):
        nu.load_model(folder.parent)


def test_folders_without_weights_and_damaged_plans_get_a_sentence(folder):
    write(folder, folds=())
    with pytest.raises(ModelError, match=r"fold_0/checkpoint_final\.pth"):
        nu.load_model(folder)
    write(folder)
    (folder / "plans.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        nu.load_model(folder)


def test_a_dataset_of_other_channels_is_refused(folder):
    write(folder)
    said = json.loads((folder / "dataset.json").read_text())
    said["channel_names"] = {"0": "only one"}
    (folder / "dataset.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="2 channels and its dataset has 1"):
        nu.load_model(folder)
