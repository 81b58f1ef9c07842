"""How much of what was learnt goes into the new model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.objects.config import ObjectOptions
from napari_unet.training import settling
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.evaluation import Footing
from napari_unet.training.gate import SURE, Replay, score
from napari_unet.training.metrics import Tally
from napari_unet.training.optimization import Trainer
from napari_unet.training.settling import Recall, mixed, settle_events

CPU = torch.device("cpu")
MODEL = nu.new_model("unet", width=4, depth=1).with_spec(trained=True)
OLD = MODEL.network.state_dict()
NEW = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in OLD.items()}


def share_of(model):
    """Share of the new weights in a model."""
    name = next(iter(OLD))
    return round(float((model.network.state_dict()[name] - OLD[name]).mean()), 3)


def found(rate, objects=200):
    """A score with so many of the objects found."""
    hit = np.random.default_rng(0).permutation(objects) < rate * objects
    units = np.stack([hit, np.ones(objects), np.ones(objects)], axis=1)[:, None].astype(float)
    return score(Tally(units, np.array([[1, 1, 1]]), np.array([hit.sum(), objects, objects]), 100), "instances")


FITTED = ObjectOptions(threshold=0.4)


def settled(monkeypatch, rates, checked=True, classes=None, forget=False, fitted=None, start=MODEL):
    """Settle weights when a mixture with so much of the new finds so many of the objects; `fitted` with settings."""
    asked = []

    def scored(model, fields, footing, stage):
        asked.append((share_of(model), bool(fields[0].validation.any())))
        return found(rates[share_of(model)])
        yield

    def evaluated(model, split, footing):
        return found(fitted if model.spec.objects == FITTED else rates[share_of(model)])
        yield

    def fit(model, fields, footing, rehearsed, in_time, sure):
        asked.append(("fit", sure))
        return model.spec.objects if fitted is None else FITTED
        yield

    monkeypatch.setattr(settling, "score_events", scored)
    monkeypatch.setattr(settling, "evaluate_events", evaluated)
    monkeypatch.setattr(settling, "fit_objects_events", fit)
    everywhere = np.ones((4, 4), bool)
    field = settling.Field(np.zeros((1, 4, 4), np.float32), np.zeros((4, 4), np.uint32), everywhere, ~everywhere)
    course = SimpleNamespace(
        weights=NEW,
        best_score=found(rates[1.0]) if checked else None,
        split=SimpleNamespace(fields=(field,)),
        in_time=lambda: True,
    )
    trainer = Trainer(start, FineTuneConfig(classes=classes), CPU)
    old = found(rates.get(0.0, 0.5)) if checked else None
    return finish(settle_events(trainer, course, Recall(None, forget), old)), asked


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({0.0: 0.8, 0.25: 0.8, 0.5: 0.8, 0.75: 0.8, 1.0: 0.8}, 0.25),  # all alike: it changes as little as may be
        ({0.0: 0.79, 0.25: 0.5, 0.5: 0.8, 0.75: 0.8, 1.0: 0.6}, 0.5),  # hardly better than the old one
    ],
)
def test_where_the_old_model_is_good_little_of_the_new_is_taken(monkeypatch, rates, expected):
    result, _ = settled(monkeypatch, rates)
    assert share_of(result.model) == expected
    assert result.score.value == pytest.approx(found(rates[expected]).value)


@pytest.mark.parametrize(
    "rates",
    [
        {0.0: 0.2, 0.25: 0.2, 0.5: 0.3, 0.75: 0.5, 1.0: 0.9},
        {0.0: 0.2, 0.25: 0.2, 0.5: 0.3, 0.75: 0.9, 1.0: 0.9},
        {0.0: 0.2, 0.25: 0.5, 0.5: 0.9, 0.75: 0.8, 1.0: 0.7},  # a mixture may look good here, and be useless elsewhere
    ],
)
def test_where_the_old_model_is_surely_worse_the_new_weights_are_taken_as_they_are(monkeypatch, rates):
    result, _ = settled(monkeypatch, rates)
    assert share_of(result.model) == 1.0


def test_where_nothing_is_held_out_what_was_trained_on_decides(monkeypatch):
    result, asked = settled(monkeypatch, {0.0: 0.8, 0.25: 0.2, 0.5: 0.8, 0.75: 0.8, 1.0: 0.8}, checked=False)
    assert share_of(result.model) == 0.5
    assert result.score is None
    assert all(looked for what, looked in asked if what != "fit")


def test_a_new_head_is_not_mixed_with_anything(monkeypatch):
    result, asked = settled(monkeypatch, {1.0: 0.5}, classes=("cell", "membrane"))
    assert share_of(result.model) == 1.0
    assert [what for what, _ in asked] == ["fit"]


ALIKE = {0.0: 0.8, 0.25: 0.8, 0.5: 0.8, 0.75: 0.8, 1.0: 0.8}


@pytest.mark.parametrize(("fitted", "kept"), [(0.7, False), (0.8, True), (0.9, True)])
def test_fitted_settings_are_kept_unless_they_are_worse_on_what_is_held_out(monkeypatch, fitted, kept):
    result, _ = settled(monkeypatch, ALIKE, fitted=fitted)
    assert (result.model.spec.objects == FITTED) == kept
    assert result.score.value == pytest.approx(found(max(0.8, fitted)).value)  # of the model that is returned


def test_settings_for_classes_are_kept_in_any_case(monkeypatch):
    semantic = MODEL.with_spec(meaning="semantic", classes=("ground", "cell", "wall"))
    result, _ = settled(monkeypatch, ALIKE, fitted=0.7, start=semantic)
    assert result.model.spec.objects == FITTED
    assert result.score.value == pytest.approx(found(0.7).value)


def test_where_nothing_is_held_out_other_settings_have_to_be_surely_better(monkeypatch):
    judged, unjudged = (dict(settled(monkeypatch, ALIKE, checked=checked)[1])["fit"] for checked in (True, False))
    assert judged < unjudged == SURE


def test_halves_of_weights_make_a_mixture_and_counters_stay():
    half = mixed(OLD, NEW, 0.5)
    assert all(torch.allclose(half[n], (OLD[n] + NEW[n]) / 2) for n in OLD if OLD[n].is_floating_point())
    assert all(torch.equal(half[n], NEW[n]) for n in OLD if not OLD[n].is_floating_point())


def test_nothing_is_recalled_of_a_model_that_came_without_images():
    recall = Recall(None, forgetting=False)
    finish(recall.look_events(MODEL, Footing(CPU)))
    assert finish(recall.compare_events(MODEL, Footing(CPU))) is None
    assert recall.rehearsed == ()


def test_what_is_recalled_is_scored_for_both_models(monkeypatch):
    def scored(model, fields, footing, stage):
        return found(0.8 if share_of(model) == 0 else 0.6)
        yield

    monkeypatch.setattr(settling, "score_events", scored)
    known = SimpleNamespace(train=("a",), telling=("b",))
    recall = Recall(known, forgetting=True)
    finish(recall.look_events(MODEL, Footing(CPU)))
    new = Trainer(MODEL, FineTuneConfig(), CPU).model_with(NEW)
    assert finish(recall.compare_events(new, Footing(CPU))) == Replay(0.8, 0.6, forgetting=True)
    assert recall.rehearsed == ()  # who is to forget does not rehearse
    assert Recall(known, forgetting=False).rehearsed == ("a",)
