"""Scores on held-out corrections, however they lie."""

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.events import Notice, finish
from napari_unet.training import evaluation
from napari_unet.training.evaluation import MAX_VALIDATION_PX, Footing, crop_field, evaluate_events
from napari_unet.training.pairs import Field
from napari_unet.training.splitting import Split

CPU = torch.device("cpu")


def held_out(shape, validation):
    labels = np.zeros(shape, np.uint32)
    for number, x in enumerate(range(4, shape[-1] - 12, 24), start=1):
        labels[..., 4:12, x : x + 8] = number
        labels[..., -12:-4, x : x + 8] = number + 10_000
    image = (labels > 0).astype(np.float32)[None]
    field = Field(image, labels, np.zeros(shape, bool), validation)
    return Split((field,), int(validation.sum()), 10)


@pytest.fixture(scope="module")
def model():
    return nu.new_model("unet", width=4, depth=1)


def evaluate(model, split):
    return finish(evaluate_events(model, split, Footing(CPU)))


def test_two_far_corners_are_never_scored_on_nothing(model):
    validation = np.zeros((1600, 2000), bool)
    validation[:50, :50] = validation[-50:, -50:] = True
    scored = evaluate(model, held_out(validation.shape, validation))
    assert 0 < scored.pixels <= validation.sum()


def test_the_score_says_how_much_it_is_based_on(model):
    validation = np.ones((1500, 2000), bool)
    scored = evaluate(model, held_out(validation.shape, validation))
    assert 0.2 * MAX_VALIDATION_PX < scored.pixels <= MAX_VALIDATION_PX


def test_small_regions_are_scored_whole(model):
    validation = np.zeros((200, 300), bool)
    validation[20:90, 30:200] = True
    assert evaluate(model, held_out(validation.shape, validation)).pixels == validation.sum()


def test_volumes_are_scored_tile_by_tile():
    validation = np.ones((10, 150, 160), bool)
    work = evaluate_events(
        nu.new_model("unet-3d", width=2, depth=1), held_out(validation.shape, validation), Footing(CPU)
    )
    assert len(list(work)) > 4


def test_a_gpu_that_is_too_small_leaves_it_to_the_cpu_once_and_for_all(model, monkeypatch):
    split = held_out((60, 90), np.ones((60, 90), bool))
    expected = evaluate(model, split).value
    real = evaluation.choose_engine

    def choose(model, size, means):
        if means.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(model, size, means)

    monkeypatch.setattr(evaluation, "choose_engine", choose)
    footing, told, scores = Footing(torch.device("cuda")), [], []

    def work():
        scores.append((yield from evaluate_events(model, split, footing)))

    for _ in range(2):
        told += [event.text for event in work() if isinstance(event, Notice)]
    assert told == ["The memory of cuda is too small for this network: the CPU goes on."]
    assert [score.value for score in scores] == [expected] * 2


def test_nothing_held_out_gives_no_score(model):
    split = held_out((50, 50), np.zeros((50, 50), bool))
    assert evaluate(model, Split(split.fields, 0, 0)) is None


@pytest.mark.parametrize(
    ("shape", "place", "most_px"),
    [((256, 256, 256), (128, 159, 200), 300_000), ((300, 700), (290, 699), 70_000), ((1000, 1000), (159, 96), 5_000)],
)
def test_a_part_of_a_large_field_shows_the_pixel_that_it_was_cut_around(shape, place, most_px):
    where = np.zeros(shape, bool)
    where[place] = True
    wide = where.copy()
    wide[tuple(0 for _ in shape)] = wide[tuple(-1 for _ in shape)] = True  # the pixel is the middle one of three
    field = Field(np.zeros((1, *shape), np.float32), np.zeros(shape, np.uint32), where, ~where)
    part = crop_field(field, wide, most_px)
    assert part.train.size <= most_px
    assert part.train.any()
