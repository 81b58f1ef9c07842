"""Thresholds that suit a new model are found on what it was trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.objects.config import ObjectOptions
from napari_unet.training import decoding
from napari_unet.training.decoding import fit_objects_events
from napari_unet.training.evaluation import Footing
from napari_unet.training.pairs import Field, Source

CPU = torch.device("cpu")
LABELS = np.zeros((96, 192), np.uint32)
for number, (row, column) in enumerate(((y, x) for y in range(6, 84, 18) for x in range(6, 180, 18)), start=1):
    LABELS[row : row + 12, column : column + 12] = number


def field(train=None):
    everywhere = np.ones(LABELS.shape, bool)
    train = everywhere if train is None else train
    return Field(np.zeros((1, *LABELS.shape), np.float32), LABELS, train, ~train)


def shown(monkeypatch, interior):
    """Let every network give these probabilities of interior, and no border."""
    maps = np.stack([1 - interior, interior, np.zeros_like(interior)]).astype(np.float32)

    def predicted(model, image, footing, stage):
        return maps
        yield

    monkeypatch.setattr(decoding, "predict_field", predicted)
    monkeypatch.setattr(decoding, "crop_field", lambda field, where, most: field)


def fitted(fields, **objects):
    model = nu.new_model("unet", width=4, depth=1).with_spec(objects=ObjectOptions(**objects))
    return finish(fit_objects_events(model, fields, Footing(CPU)))


def test_an_unsure_model_gets_a_lower_threshold(monkeypatch):
    shown(monkeypatch, np.where(LABELS > 0, 0.55, 0.1))
    found = fitted([field()], threshold=0.7, seed_threshold=0.7)
    assert found.threshold <= 0.5


def test_debris_is_dropped_by_a_larger_smallest_size(monkeypatch):
    debris = np.zeros(LABELS.shape, bool)
    debris[1:5, 2::18][:, :] = True
    debris[:, 3::18][1:5] = True
    shown(monkeypatch, np.where((LABELS > 0) | debris, 0.95, 0.05))
    assert fitted([field()], min_size_px=2).min_size_px > 8


def test_what_is_held_out_is_not_looked_at(monkeypatch):
    # On the right half other thresholds would be better.
    left = np.zeros(LABELS.shape, bool)
    left[:, :96] = True
    interior = np.where(LABELS > 0, np.where(left, 0.95, 0.45), 0.05)
    shown(monkeypatch, interior)
    kept = fitted([field(left)], threshold=0.6, seed_threshold=0.6, min_size_px=1)
    assert kept.threshold == 0.6


@pytest.mark.parametrize("objects", [0, 7])
def test_with_few_objects_the_settings_stay(monkeypatch, objects):
    shown(monkeypatch, np.where(LABELS > 0, 0.55, 0.1))
    few = (LABELS > 0) & np.isin(LABELS, range(objects + 1))
    assert fitted([field(few)], threshold=0.7) == ObjectOptions(threshold=0.7)


def test_classes_get_a_threshold_too(monkeypatch):
    shown(monkeypatch, np.where(LABELS > 0, 0.45, 0.1))
    model = nu.new_model("unet", width=4, depth=1, classes=("nothing", "cell"))
    assert not model.spec.objects.fill_holes  # membranes enclose cells
    classes = Field(np.zeros((1, *LABELS.shape), np.float32), (LABELS > 0).astype(np.uint32), LABELS >= 0, LABELS < 0)
    maps = np.stack([np.where(LABELS > 0, 0.55, 0.9), np.where(LABELS > 0, 0.45, 0.1)]).astype(np.float32)

    def predicted(model, image, footing, stage):
        return maps
        yield

    monkeypatch.setattr(decoding, "predict_field", predicted)
    assert finish(fit_objects_events(model, [classes], Footing(CPU))).threshold < 0.45


def test_gaps_are_closed_of_classes_that_are_membranes(monkeypatch):
    at = np.indices((120, 120))
    membranes = ((at % 30 < 3) & (at >= 30)).any(axis=0).astype(np.uint32)
    nuclei = ((((at % 30) - 15) ** 2).sum(axis=0) < 64).astype(np.uint32)
    model = nu.new_model("unet", width=4, depth=1, classes=("cell", "membrane"))

    def closed(labels):
        def predicted(model, image, footing, stage):
            return np.stack([1 - labels, labels]).astype(np.float32)
            yield

        monkeypatch.setattr(decoding, "predict_field", predicted)
        field = Field(np.zeros((1, *labels.shape), np.float32), labels, labels >= 0, labels < 0)
        return finish(fit_objects_events(model, [field], Footing(CPU))).close_gaps

    assert closed(membranes)
    assert not closed(nuclei)


def test_no_more_settings_are_tried_when_the_time_is_up(monkeypatch):
    shown(monkeypatch, np.where(LABELS > 0, 0.95, 0.65))
    model = nu.new_model("unet", width=4, depth=1)
    left = iter([True, True])
    tried = []
    decoded = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *args: tried.append(args[2]) or decoded(*args))
    finish(fit_objects_events(model, [field()], Footing(CPU), in_time=lambda: next(left, False)))
    assert len(tried) == 3  # the model's own, and two others


def test_a_size_in_pixels_of_the_network_is_not_taken_for_one_of_the_image(monkeypatch):
    debris = np.zeros(LABELS.shape, bool)
    debris[1:5, 2::18] = debris[1:5, 3::18] = True
    shown(monkeypatch, np.where((LABELS > 0) | debris, 0.95, 0.05))
    model = nu.new_model("unet", width=4, depth=1).with_spec(objects=ObjectOptions(min_size_px=2), pixel_size_um=0.5)
    enlarged = replace(field(), source=Source(scale=(0.25, 0.25)))
    assert finish(fit_objects_events(model, [field()], Footing(CPU))).min_size_px > 8
    assert finish(fit_objects_events(model, [enlarged], Footing(CPU))).min_size_px == 2
