"""What other heads are taught, and that their decoders find the objects again in it."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.training.fit import as_pair
from napari_unet.training.flows import flow_targets
from napari_unet.training.pairs import load_fields

decoding = pytest.importorskip("benchmarks.heads.decoding")
targets = pytest.importorskip("benchmarks.heads.targets")
training = pytest.importorskip("benchmarks.heads.training")
few_steps = pytest.importorskip("benchmarks.few_steps")


def test_distance_of_touching_squares_falls_to_the_edge_between_them(touching):
    distance = targets.distance_targets(touching)
    assert distance[0, 8, 4:22] == pytest.approx(np.tile([1, 2, 3, 4, 5, 4, 3, 2, 1], 2) / 5)
    assert (distance[touching == 0] == 0).all()


def test_the_edge_of_a_patch_is_no_edge_of_an_object():
    labels = np.zeros((1, 9, 9), np.int32)
    labels[0, :, :4] = 1
    assert targets.distance_targets(labels)[0, 5] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0])
    assert (targets.distance_targets(np.ones((1, 4, 4), np.int32)) == 1).all()


@pytest.mark.parametrize(("way", "other"), [("classes", 0.5), ("distance", 0.2), ("flows", 2)])
def test_each_decoder_finds_touching_objects_again_in_perfect_maps(touching, way, other):
    inside = targets.distance_targets(touching)
    background = (touching == 0).astype(np.float32)
    interior = (inside > 0.25).astype(np.float32)  # without the outermost pixel, which is the border
    extra = {
        "classes": [],
        "distance": [inside[0]],
        "flows": list((1 + flow_targets(touching)[0]) / 2),
    }
    maps = np.stack([background[0], interior[0], 1 - background[0] - interior[0], *extra[way]])
    found = decoding.decoded(maps, way, 0.5, other)
    assert found.max() == 3
    pairs = np.unique(np.stack([found[touching[0] > 0], touching[0][touching[0] > 0]]), axis=1)
    assert pairs.shape[1] == 3
    assert (found[touching[0] == 0] == 0).all()


@pytest.fixture(scope="module")
def learnt():
    """A small model, and a field of which only the left half is reviewed."""
    model = nu.new_model("unet", width=4, depth=2).with_spec(trained=True)
    labels = np.kron(np.arange(64).reshape(8, 8) % 3, np.ones((16, 16))).astype(np.uint32)
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:, :64] = True
    pair = as_pair(((labels > 0).astype(np.float32), labels, reviewed), None, "squares")
    return model, finish(load_fields([pair], model.spec, 16))


@pytest.mark.parametrize(("head", "outputs"), [("classes", 3), ("distance", 4), ("flows", 5)])
def test_each_head_is_trained(learnt, head, outputs):
    base, fields = learnt
    predict, steps = training.trained(base, fields, training.HeadCell("colour", "bundled", head, 0.5, 0))
    assert steps > 0
    maps = predict(torch.from_numpy(fields[0].image))
    assert maps.shape == (outputs, *fields[0].train.shape)
    assert maps[:3].sum(axis=0) == pytest.approx(1, abs=1e-3)


def test_only_the_usual_way_changes_what_normalization_remembers(learnt):
    model, fields = learnt
    kept, usual = (few_steps.trained(kind, model, fields, 2) for kind in (few_steps.Trainer, few_steps.UsualTrainer))
    name = "encoder.0.0.norm.running_mean"
    old, same, changed = (one.network.state_dict()[name] for one in (model, kept, usual))
    assert torch.equal(old, same)
    assert not torch.equal(old, changed)
