"""Files of public PyTorch networks open without hints and give what their authors' code gives."""

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from families import CASES
from lively import enliven as with_spread
from restatements import Joined
from restatements_more import Gated, Nested

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError
from napari_unet.networks.adapting import shapes_of
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.unwrapping import strip_candidates
from napari_unet.weights.matching import find_match
from napari_unet.weights.recognition.origins import origins
from napari_unet.weights.recognition.recognised import Mismatch, Reading

FINAL = {"sigmoid": torch.sigmoid, "softmax": lambda logits: logits.softmax(1), "none": lambda logits: logits}


@cache
def lively(name, ins=2, outs=3):
    """Networks do not change in these tests; their weights are copied before anything is done to them."""
    return CASES[name].lively(ins, outs)


def save(path, network):
    torch.save(network.state_dict(), path / "weights.pth")
    return path / "weights.pth"


def theirs(case, network, image):
    """What the author's code gives: logits if it has any, and probabilities if it makes any."""
    with torch.no_grad():
        given = network(image)
    given = torch.stack(given).mean(0) if isinstance(given, list) else given
    if case.inside:
        return None, given
    activation = "sigmoid" if case.final == "softmax" and given.shape[1] == 1 else case.final
    return given, FINAL[activation](given) if activation else None


def assert_close(found, wanted):
    assert found.shape == wanted.shape
    assert wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-4 * wanted.std()


def assert_same(case, model, network):
    for image in case.images(model.spec.network.in_channels):
        logits, probabilities = theirs(case, network, image)
        with torch.no_grad():
            found = model.network(image)
        if logits is not None:
            assert_close(found, logits)
        if probabilities is not None:
            assert_close(FINAL[model.activation](found), probabilities)


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_what_its_author_gets(name, tmp_path):
    case, network = CASES[name], lively(name)
    model = nu.load_model(save(tmp_path, network), **case.answers)
    assert_same(case, model, network)
    report = model.report
    assert report.family == case.origin
    assert report.complete
    assert not report.made
    assert report.used == len(network.state_dict())
    assert report.answers == case.answers
    assert ("author's code leaves it to the loss" in report.activation) == (case.final is None)


@pytest.mark.parametrize("name", CASES)
def test_any_image_gets_logits_of_its_size(name, tmp_path):
    model = nu.load_model(save(tmp_path, lively(name)), **CASES[name].answers)
    with torch.no_grad():
        assert model.network.on_grid(torch.zeros((1, 2, 21, 34))).shape == (1, 3, 21, 34)


@pytest.mark.parametrize("name", ["milesial-bilinear", "nested-deep", "AttU_Net", "beside-nested"])
def test_it_stays_the_same_in_our_own_file(name, tmp_path):
    model = nu.load_model(save(tmp_path, lively(name)))
    again = nu.load_model(model.save(tmp_path / "own.safetensors"))
    image = CASES[name].images()[0]
    with torch.no_grad():
        assert torch.equal(again.network(image), model.network(image))
    assert again.spec == model.spec


class Volume(torch.nn.Module):
    """Debuggercafe's names for volumes, two levels deep."""

    def __init__(self):
        super().__init__()
        for number, (before, after) in enumerate(((1, 4), (4, 8), (8, 16)), start=1):
            self.add_module(f"down_convolution_{number}", self.twice(before, after))
        for number, (before, after) in enumerate(((16, 8), (8, 4)), start=1):
            self.add_module(f"up_transpose_{number}", torch.nn.ConvTranspose3d(before, after, 2, 2))
            self.add_module(f"up_convolution_{number}", self.twice(before, after))
        self.out = torch.nn.Conv3d(4, 2, 1)

    @staticmethod
    def twice(before, after):
        layers = [(torch.nn.Conv3d(i, after, 3, padding=1), torch.nn.ReLU()) for i in (before, after)]
        return torch.nn.Sequential(*(layer for pair in layers for layer in pair))

    def forward(self, x):
        top = self.down_convolution_1(x)
        middle = self.down_convolution_2(torch.nn.functional.max_pool3d(top, 2))
        x = self.down_convolution_3(torch.nn.functional.max_pool3d(middle, 2))
        x = self.up_convolution_1(torch.cat((middle, self.up_transpose_1(x)), 1))
        return self.out(self.up_convolution_2(torch.cat((top, self.up_transpose_2(x)), 1)))


def test_networks_for_volumes_open_as_those_for_planes(tmp_path):
    image = torch.randn((1, 1, 8, 16, 12), generator=torch.Generator().manual_seed(2))
    network = with_spread(Volume(), image)
    model = nu.load_model(save(tmp_path, network))
    assert model.spec.dims == 3
    with torch.no_grad():
        assert_close(model.network(image), network(image))


@pytest.mark.parametrize("name", ["join-same", "milesial-bilinear", "hub", "nested-deep"])
def test_one_output_is_a_probability_of_its_own(name, tmp_path):
    model = nu.load_model(save(tmp_path, lively(name, 1, 1)), **CASES[name].answers)
    assert model.activation == "sigmoid"
    assert model.spec.classes == ("foreground",)
    assert_same(CASES[name], model, lively(name, 1, 1))


@pytest.mark.parametrize("name", CASES)
def test_known_networks_have_their_known_numbers_of_parameters(name):
    case = CASES[name]
    with torch.device("meta"):
        state = case.network(*case.full).state_dict()
    if name == "beside-nested":  # its first kernel is looked at only where there are three channels
        assert state["conv0_0.conv1.weight"].shape[1] == 1
    match = find_match(Checkpoint(Path("weights.pth"), "PyTorch", ()), State("", state), case.answers)
    assert not match.faults
    shapes = shapes_of(match.recognised.network)
    counted = {key: shape for key, shape in shapes.items() if not key.endswith(("_mean", "_var", "_tracked"))}
    assert sum(math.prod(shape) for shape in counted.values()) == case.parameters


def fitting(state, answers):
    """Names of all families that a set of weights fits."""
    found = []
    for tensors in strip_candidates(state):
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        for origin in origins():
            reading = Reading(shapes, {}, answers, tensors)
            if origin.fits(reading):
                try:
                    origin.recognise(reading)
                except Mismatch:
                    continue
                found.append(origin.name)
    return found


@pytest.mark.parametrize("name", CASES)
def test_no_other_family_takes_the_file(name):
    assert fitting(lively(name).state_dict(), CASES[name].answers) == [CASES[name].origin]


def test_families_have_names_of_their_own():
    names = [origin.name for origin in origins()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["hub", "R2AttU_Net", "milesial-2018"])
def test_every_tensor_matters(name, tmp_path):
    """Change each one tensor of a file a little: what is loaded from it gives something else."""
    case, state = CASES[name], dict(lively(name).state_dict())
    image = case.images()[0][:1]

    def logits():
        torch.save(state, tmp_path / "weights.pth")
        with torch.no_grad():
            return nu.load_model(tmp_path / "weights.pth", **case.answers).network(image)

    before = logits()
    keys = [key for key in state if not key.endswith("num_batches_tracked")]
    for key in keys[:: max(1, len(keys) // 8)]:
        kept = state[key]
        state[key] = kept * 1.5 + 0.1
        assert (logits() - before).abs().max() > 1e-4, key
        state[key] = kept


class TestAnswers:
    """What the tensors cannot tell is asked; what the family's code settles can be overruled."""

    def test_the_three_ways_to_join_are_asked(self, tmp_path):
        path = save(tmp_path, lively("join-same"))
        with pytest.raises(UnansweredError, match=r"join= one of 'crop', 'pad', 'same'") as caught:
            nu.load_model(path)
        (question,) = caught.value.questions
        assert question.keyword == "join"
        assert set(question.values) == {"crop", "pad", "same"}

    def test_the_three_ways_to_join_differ(self, tmp_path):
        path = save(tmp_path, lively("join-same"))
        image = torch.randn((1, 2, 208, 208), generator=torch.Generator().manual_seed(1))
        outputs = {}
        for join in ("crop", "pad", "same"):
            network = Joined(2, 3, CASES["join-same"].thin, join)
            network.load_state_dict(lively("join-same").state_dict())
            with torch.no_grad():
                outputs[join] = nu.load_model(path, join=join).network(image)
                assert_close(outputs[join], network.eval()(image))
        assert outputs["crop"].shape[2:] == (20, 20)
        assert outputs["pad"].shape[2:] == (200, 200)
        assert outputs["same"].shape[2:] == (208, 208)
        inner = outputs["same"][..., 4:-4, 4:-4] - outputs["pad"]
        assert inner.abs().mean() > 0.05 * outputs["pad"].std()

    @pytest.mark.parametrize("name", ["milesial-bilinear", "nested", "beside-nested"])
    def test_align_corners_can_be_overruled(self, name, tmp_path):
        path = save(tmp_path, lively(name))
        settled, other = nu.load_model(path), nu.load_model(path, align_corners=False)
        image = CASES[name].images()[0]
        with torch.no_grad():
            difference = settled.network(image) - other.network(image)
        assert difference.abs().mean() > 0.01
        assert "align_corners=True" in " ".join(settled.report.notes)
        assert other.report.answers == {"align_corners": False}

    @pytest.mark.parametrize("branch", [1, 2, 3, 4])
    def test_a_branch_is_that_head_alone(self, branch, tmp_path):
        case, network = CASES["nested-deep"], lively("nested-deep")
        model = nu.load_model(save(tmp_path, network), branch=branch)
        image = case.images()[0]
        with torch.no_grad():
            assert_close(model.network(image), network(image)[branch - 1])

    def test_recurrences_leave_no_trace_but_can_be_given(self, tmp_path):
        path, image = save(tmp_path, lively("R2U_Net")), CASES["R2U_Net"].images()[0]
        for turns in (1, 2, 3):
            network = Gated(2, 3, CASES["R2U_Net"].thin, turns=turns)
            network.load_state_dict(lively("R2U_Net").state_dict())
            with torch.no_grad():
                assert_close(nu.load_model(path, recurrences=turns).network(image), network.eval()(image))
        assert "recurrences=2" in " ".join(nu.load_model(path).report.notes)

    def test_unpadded_networks_have_no_activation_unless_their_layers_are_numbered_so(self, tmp_path):
        silent = nu.load_model(save(tmp_path, lively("unpadded")))
        active = nu.load_model(save(tmp_path, lively("unpadded-active")))
        assert silent.network.geometry.activation == "none"
        assert "no activation" in " ".join(silent.report.notes)
        assert active.network.geometry.activation == "relu"

    @pytest.mark.parametrize(
        ("name", "answers", "words"),
        [
            ("join-same", {"join": "same", "branch": 1}, r"branch: .* Possible: join \('crop', 'pad', 'same'\), act"),
            ("milesial", {"align_corners": True}, "align_corners: .* leaves nothing of that kind open"),
            ("milesial-bilinear", {"align_corner": True}, r"align_corner: .*Possible: align_corners \(True, False\)"),
            ("join-same", {"join": "both"}, r"join='both' was given. Choose one of: 'crop', 'pad', 'same'"),
            ("nested-deep", {"branch": 5}, "branch=5 was given. Choose one of: None, 1, 2, 3, 4"),
            ("nested-deep", {"branch": True}, "branch=True was given. Choose one of: None, 1, 2, 3, 4"),
            ("hub", {"family": "U-Net of somebody"}, "no family 'U-Net of somebody'. Choose one of: .*milesial"),
            ("hub", {"averaged": True}, "holds no averaged weights"),
        ],
    )
    def test_impossible_answers_get_a_sentence(self, name, answers, words, tmp_path):
        with pytest.raises(ModelError, match=words):
            nu.load_model(save(tmp_path, lively(name)), **answers)


class TestNormalization:
    """What an author's code does to images is part of the model."""

    def test_pixels_are_divided_by_their_range(self, tmp_path):
        assert nu.load_model(save(tmp_path, lively("milesial"))).spec.normalization.method == "dtype"

    def test_images_that_were_normalized_twice_are_told_by_the_statistics(self, tmp_path):
        network = CASES["nested"].lively(3, 1)
        once = nu.load_model(save(tmp_path, network)).spec.normalization
        block = network.conv0_0
        block["bn1"].running_var.copy_(block["conv1"].weight.detach().pow(2).flatten(1).sum(1) / 255**2)
        twice = nu.load_model(save(tmp_path, network))
        assert once.method == "dtype"
        assert twice.spec.normalization.method == "fixed"
        assert twice.spec.normalization.low[0] == pytest.approx(0.485 * 255)
        assert "blue, green and red" in " ".join(twice.report.notes)

    def test_deeper_and_shallower_ones_are_the_same_family(self, tmp_path):
        network = Nested(1, 1, 4)
        del network.conv4_0, network.conv3_1, network.conv2_2, network.conv1_3, network.conv0_4
        model = nu.load_model(save(tmp_path, network))
        assert model.spec.network.options["depth"] == 3
