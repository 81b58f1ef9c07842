"""What networks with flows are taught, and that fine-tuning teaches it."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.following import ends_of
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.decoding import fit_objects_events
from napari_unet.training.evaluation import Footing, predict_field
from napari_unet.training.fit import as_pair, with_classes
from napari_unet.training.flows import flow_imitation_loss, flow_loss, flow_targets, whole_objects
from napari_unet.training.optimization import Trainer
from napari_unet.training.pairs import load_fields
from napari_unet.training.patches import PatchSampler
from napari_unet.weights.flows import with_flows

CPU = torch.device("cpu")


def logits_of(flows):
    """Logits (N, 5, Y, X) of flows (N, 2, Y, X)."""
    share = torch.from_numpy((1 + np.clip(flows, -0.999, 0.999)) / 2)
    return torch.cat([torch.zeros(len(share), 3, *share.shape[2:]), torch.logit(share)], dim=1)


def test_flows_lead_to_the_middle_and_never_to_a_neighbour(touching):
    flows = flow_targets(touching)
    assert flows[0, 1, 8, 4:8] == pytest.approx(1, abs=0.01)
    assert flows[0, 1, 8, 9:13] == pytest.approx(-1, abs=0.01)
    assert flows[0, 1, 8, 13:17] == pytest.approx(1, abs=0.01)
    assert np.linalg.norm(flows, axis=1)[touching == 0].max() == 0
    assert np.linalg.norm(flows, axis=1)[touching > 0].max() == pytest.approx(1)


def test_flows_stay_inside_of_what_is_bent():
    y, x = np.mgrid[:64, :64]
    ring = (np.hypot(y - 32, x - 32) > 14) & (np.hypot(y - 32, x - 32) < 24) & (y > 32)
    ends = np.stack(ends_of(flow_targets(ring[None].astype(np.int32))[0], ring))
    assert np.ptp(ends, axis=1).max() <= 4


def test_numbers_of_objects_make_no_difference(touching):
    large = np.where(touching > 0, touching.astype(np.int64) + 2**40, 0)
    np.testing.assert_array_equal(flow_targets(large), flow_targets(touching))


def test_the_loss_is_none_where_flows_are_right_and_grows_with_what_is_wrong(touching):
    labels, weight = torch.from_numpy(touching), torch.ones(touching.shape)
    right = flow_targets(touching)
    losses = [float(flow_loss(logits_of(share * right), labels, weight)) for share in (1, 0.5, 0, -1)]
    assert losses[0] == pytest.approx(0, abs=1e-3)
    assert losses == sorted(losses)
    assert losses[2] == pytest.approx(1, abs=0.05)
    nothing = torch.zeros(touching.shape)
    logits = logits_of(right).requires_grad_()
    flow_loss(logits, labels, nothing).backward()
    assert not logits.grad.any()


def test_objects_that_end_where_nothing_is_known_teach_no_flows(touching):
    known = np.ones(touching.shape, bool)
    known[0, :, 19:] = False  # a third of one square and nothing of another one is known
    assert whole_objects(touching, known)[touching == 3].all()
    assert (whole_objects(touching, known)[touching == 7] == known[touching == 7]).all()
    less = known.copy()
    less[0, :, 17:] = False
    assert not whole_objects(touching, less)[touching == 7].any()
    cut = np.where(known, touching, 0)
    counts = whole_objects(cut, known)
    assert counts[cut == 3].all()
    assert not counts[(cut == 7) | (cut == 2)].any()


def test_what_is_not_counted_makes_the_loss_smaller_and_the_edge_of_the_image_does_not(touching):
    labels, nothing = torch.from_numpy(touching), logits_of(0 * flow_targets(touching))
    weight = torch.ones(touching.shape)
    every = float(flow_loss(nothing, labels, weight))
    weight[0, :, 18:] = 0  # most of one square is left
    assert 0.9 * every < float(flow_loss(nothing, labels, weight)) <= every
    weight[0, :, 14:] = 0  # of that and of another one there is too little
    assert float(flow_loss(nothing, labels, weight)) < 0.8 * every
    beyond = labels.clone()
    beyond[0, :, 14:] = -1
    assert float(flow_loss(nothing, beyond, weight)) == pytest.approx(every, rel=0.05)


def test_objects_at_the_edge_of_the_image_end_there(crowd):
    """Patches repeat what is at the edge, which must not move the middle of an object."""
    sampler = PatchSampler(crowd[1], 64, 8, np.random.default_rng(0))
    batches = [sampler.batch(4) for _ in range(6)]
    beyond = torch.cat([batch.labels for batch in batches]) < 0
    assert beyond.any()
    assert not torch.cat([batch.weight for batch in batches])[beyond].any()


def test_flows_are_imitated_where_the_old_network_sees_objects(touching):
    right = flow_targets(touching)
    known = logits_of(right)
    known[:, 0] = torch.where(torch.from_numpy(touching) > 0, -20.0, 20.0)
    elsewhere = right + np.where(touching > 0, 0, 0.5)[:, None].astype(np.float32)
    assert float(flow_imitation_loss(logits_of(elsewhere), known)) < 1e-4
    assert float(flow_imitation_loss(logits_of(0 * right), known)) == pytest.approx((touching > 0).mean(), rel=0.05)


@pytest.fixture(scope="module")
def crowd():
    """Discs that touch: an image in which nothing is to be seen between two of them, and its fields."""
    rng = np.random.default_rng(0)
    labels = np.zeros((128, 256), np.uint32)
    for number, (y, x) in enumerate([(y, x) for y in range(16, 128, 22) for x in range(16, 256, 22)], start=1):
        inside = np.hypot(*np.ogrid[-y : 128 - y, -x : 256 - x]) <= 11
        labels[inside & (labels == 0)] = number
    image = ndi.gaussian_filter((labels > 0).astype(np.float32), 1) + rng.normal(0, 0.05, labels.shape)
    model = with_flows(nu.new_model("unet", width=8, depth=3))
    pair = as_pair((image.astype(np.float32), labels), None, "discs")
    return model, finish(load_fields([pair], model.spec, 16))


def test_a_network_learns_flows_from_corrections(crowd):
    model, fields = crowd
    trainer = Trainer(model, FineTuneConfig(seed=0), CPU)
    sampler = PatchSampler(fields, 64, 8, np.random.default_rng(0))

    def missed():
        maps = finish(predict_field(trainer.averaged_model(), fields[0].image, Footing(CPU), ""))
        wanted = flow_targets(fields[0].labels[None])[0]
        inside = fields[0].labels > 0
        return float((((2 * maps[3:] - 1 - wanted) ** 2).sum(axis=0))[inside].mean())

    before = missed()
    for number in range(250):
        trainer.step(sampler.batch(4), number / 250)
    assert before == pytest.approx(1, abs=0.05)
    assert missed() < 0.7


def test_new_classes_take_the_place_of_flows(crowd):
    changed = with_classes(crowd[0], ("background", "cell"))
    assert changed.spec.outputs == ("background", "cell")
    assert changed.spec.activation == "softmax"
    assert changed.network.out_channels == 2


def test_how_near_ends_must_be_is_fitted(crowd, monkeypatch):
    model, fields = crowd
    labels = fields[0].labels.astype(np.int64)
    flows = flow_targets(labels[None])[0]
    for box in ndi.find_objects(labels):
        middle = (box[0].start + box[0].stop) // 2
        rows = np.arange(box[0].start, box[0].stop)[:, None]
        inside = labels[box] > 0
        way = np.where(rows < middle, middle - 3 - rows, middle + 2 - rows)
        flows[0][box] = np.where(inside, np.clip(way, -1, 1), flows[0][box])
    maps = np.stack([labels == 0, labels > 0, 0 * labels, *(1 + flows) / 2]).astype(np.float32)

    def predict(*_):
        return maps
        yield

    monkeypatch.setattr("napari_unet.training.decoding.predict_field", predict)
    narrow = model.with_spec(objects=ObjectOptions(reach_px=1))
    found = finish(fit_objects_events(narrow, fields, Footing(CPU)))
    assert found.reach_px >= 3
    assert found.seed_threshold == narrow.spec.objects.seed_threshold
