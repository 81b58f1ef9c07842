"""Checkpoints of nnU-Net open by the names and shapes of their tensors, and by the plans inside them."""

import pytest
import torch
from lively import assert_same, enliven, fingerprint, scramble
from nnunet_networks import PlainConvUNet, ResidualEncoderUNet, Style
from torch import nn

import napari_unet as nu
from napari_unet.errors import ModelError

FLAT = {"kernels": [(1, 3, 3), (3, 3, 3), (3, 3, 3)], "factors": [(1, 2, 2), (2, 2, 2)]}
EVEN = {"kernels": [(3, 3)] * 4, "factors": [(2, 2)] * 3}
SIZES = {2: ((32, 32), (48, 64)), 3: ((6, 16, 16), (8, 24, 16))}
ARCHITECTURE = "dynamic_network_architectures.architectures.unet."


def make(kind, style, **options):
    if style.dims == 2:
        return kind(style, (4, 8, 16, 16), **EVEN, counts=(1, 3, 2, 2), decoder_counts=(2, 1, 2), **options)
    return kind(style, (4, 8, 16), **FLAT, counts=(1, 2, 3), decoder_counts=(2, 1), **options)


def save(path, network, image, **beside):
    enliven(network, image)
    torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer", **beside}, path)
    return path


def plans_of(network_class, arguments=None, **configuration):
    """The plans that a checkpoint holds."""
    arguments = {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-5, "affine": True}, **(arguments or {})}
    architecture = {"network_class_name": ARCHITECTURE + network_class, "arch_kwargs": arguments}
    settings = {"normalization_schemes": ["ZScoreNormalization"], "architecture": architecture, **configuration}
    plans = {"plans_name": "nnUNetPlans", "configurations": {"base": settings, "2d": {"inherits_from": "base"}}}
    return {"plans": plans, "configuration": "2d", "fold": 0, "dataset_json": {"labels": {"background": 0, "cell": 1}}}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_checkpoints_without_plans_open_with_the_usual_units(tmp_path, dims, kind, norm):
    images = scramble(*SIZES[dims])
    network = make(kind, Style(dims, norm))
    model = nu.load_model(save(tmp_path / "checkpoint_final.pth", network, images[0]))
    assert_same(model, network, *images)
    assert model.report.complete
    assert model.report.unused > model.report.used
    assert any("There are no plans" in note for note in model.report.notes)
    assert model.activation == "softmax"


def test_the_plans_in_a_checkpoint_tell_its_units(tmp_path):
    images = scramble(*SIZES[2])
    style = Style(2, "instance", 1e-3, lambda: nn.LeakyReLU(0.2), nonlin_first=True)
    network = make(PlainConvUNet, style)
    kwargs = {"norm_op_kwargs": {"eps": 1e-3, "affine": True}, "nonlin_kwargs": {"negative_slope": 0.2}}
    init = plans_of("PlainConvUNet", {**kwargs, "nonlin": "torch.nn.LeakyReLU", "nonlin_first": True})
    model = nu.load_model(save(tmp_path / "checkpoint_best.pth", network, images[0], init_args=init))
    assert_same(model, network, *images)
    assert model.spec.classes == ("background", "cell")
    assert model.spec.normalization.method == "z-score"


def test_other_activations_are_read_from_the_plans(tmp_path):
    images = scramble(*SIZES[2])
    network = make(ResidualEncoderUNet, Style(2, act=nn.ReLU))
    init = plans_of("ResidualEncoderUNet", {"nonlin": "torch.nn.ReLU"})
    assert_same(nu.load_model(save(tmp_path / "c.pth", network, images[0], init_args=init)), network, *images)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (plans_of("Primus"), "Primus"),
        (plans_of("PlainConvUNet", previous_stage="3d_lowres"), "cascade"),
        (plans_of("ResidualEncoderUNet"), "ResidualEncoderUNet"),
        (plans_of("PlainConvUNet", {"strides": [[2, 2], [2, 2]]}), "stride"),
        (plans_of("PlainConvUNet", {"nonlin": "os.system"}), "system"),
    ],
)
def test_plans_of_another_network_are_refused(tmp_path, init, words):
    network = make(PlainConvUNet, Style(2))
    path = save(tmp_path / "c.pth", network, *scramble((32, 32)), init_args=init)
    with pytest.raises(ModelError, match=words):
        nu.load_model(path)


def test_plans_full_of_nonsense_do_not_end_the_program(tmp_path):
    network = make(PlainConvUNet, Style(2))
    init = plans_of("PlainConvUNet", {"strides": "x", "norm_op_kwargs": [1]}, spacing="y", normalization_schemes=3)
    path = save(tmp_path / "c.pth", network, *scramble((32, 32)), init_args=init, choices={"fold": [1]})
    assert nu.load_model(path).report.complete


@pytest.mark.parametrize(
    ("network", "count", "expected"),
    [
        (
            lambda: PlainConvUNet(
                Style(3), (32, 64, 128, 256, 320, 320), [(3,) * 3] * 6, [(2,) * 3] * 5, (2,) * 6, (2,) * 5
            ),
            31_195_594,
            "574f0a035c069df2",
        ),
        (
            lambda: PlainConvUNet(
                Style(2), (32, 64, 128, 256, 512, 512, 512), [(3, 3)] * 7, [(2, 2)] * 6, (2,) * 7, (2,) * 6
            ),
            33_471_820,
            "4ad411336ae37786",
        ),
        (
            lambda: ResidualEncoderUNet(
                Style(3), (32, 64, 128, 256, 320, 320), [(3,) * 3] * 6, [(2,) * 3] * 5, (1, 3, 4, 6, 6, 6), (1,) * 5
            ),
            102_349_770,
            "86db52e612677873",
        ),
    ],
)
def test_names_and_shapes_are_those_of_the_library(network, count, expected):
    """Fingerprints of dynamic-network-architectures 0.4.4."""
    with torch.device("meta"):
        made = network()
    assert sum(tensor.numel() for tensor in made.parameters()) == count
    assert fingerprint(made.state_dict()) == expected
