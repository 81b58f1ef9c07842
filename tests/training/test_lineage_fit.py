"""A fine-tuned model remembers what was held out from it, in its file too."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.events import HeldOut, finish
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import as_pair, finetune_events
from napari_unet.training.pairs import TrainingPair, load_fields
from napari_unet.training.splitting import hold_out
from napari_unet.weights.spec import ModelSpec


def cells(seed, shape=(112, 196)):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number, (y, x) in enumerate(np.ndindex(shape[0] // 14, shape[1] // 14), start=1):
        labels[14 * y + 2 : 14 * y + 12, 14 * x + 2 : 14 * x + 12] = number
    return ((labels > 0) * 100 + rng.normal(0, 9, shape)).astype(np.float32), labels


def fit(model, *pairs, **config):
    """Fine-tune for some steps; what was told, and the result."""
    named = [as_pair(pair, None, f"image {number}") for number, pair in enumerate(pairs, start=1)]
    settings = FineTuneConfig(seconds=0.2, clock="cpu", patch_px=32, batch=1, device="cpu", **config)
    told = []

    def listen():
        work = finetune_events(model, named, settings)
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                return end.value
            told.extend([event] * isinstance(event, HeldOut))
            yield event

    return told, finish(listen())


@pytest.fixture(scope="module")
def first():
    image, labels = cells(0)
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:, :140] = True
    return fit(nu.new_model("unet", width=4, depth=1), (image, labels, reviewed))


def test_it_is_told_at_once_and_in_the_result(first):
    (told,), result = first
    assert result.held_out == told
    assert told.sentence.startswith("Held out: the ")
    assert "quarter of what is reviewed in “image 1”" in told.sentence
    ((name, window),) = told.regions
    assert name == "image 1"
    assert result.new_score.objects > 8
    assert window[:2] == ((0, 1), (0, 1))


def test_a_saved_model_keeps_it_for_the_next_round(first, tmp_path):
    (told,), result = first
    model = nu.load_model(result.candidate.save(tmp_path / "first.safetensors"))
    assert model.spec.split == result.candidate.spec.split
    other, whole = cells(1), cells(0)
    (_, *_), second = fit(model, other, whole, seed=5)  # now it is image 2, and reviewed as a whole
    old = dict(told.regions)["image 1"]
    new = [window for name, window in second.held_out.regions if name == "image 2"]
    assert any(all(a <= c and d <= b for (c, d), (a, b) in zip(old, window, strict=True)) for window in new)
    assert len(second.candidate.spec.split) == 2


def test_a_new_head_remembers_what_the_encoder_has_seen(first):
    _, result = first
    image, labels = cells(0)
    _, second = fit(result.candidate, (image, (labels > 0).astype(int)), classes=("outside", "cells"), seed=5)
    old, new = (one.spec.split[0] for one in (result.candidate, second.candidate))
    assert old.axis == new.axis
    assert not any(a < d and c < b for a, b in new.held_spans for c, d in old.train_spans)


def test_a_file_without_it_is_read_as_before():
    described = nu.new_model("unet", width=4, depth=1).spec.model_dump(mode="json")
    del described["split"]
    assert ModelSpec.model_validate(described).split == ()


@pytest.mark.parametrize("diameter", [5.0, 20.0])
def test_the_cut_is_at_the_same_pixel_at_any_scale(diameter):
    spec = nu.new_model("unet", width=4, depth=1).spec.model_copy(update={"diameter_px": 10.0})
    pair = as_pair(cells(0, (140, 280)), None, "cells")

    def held(earlier, diameter_px):
        fields = finish(load_fields([pair], spec, 8, None, diameter_px))
        return hold_out(fields, np.random.default_rng(0), "instances", 8, earlier).lineage

    first = held((), 10.0)
    again = held(first, diameter)
    assert first[0].held_spans
    assert again[0].held_spans == first[0].held_spans


def test_the_channels_that_are_chosen_do_not_hide_the_image():
    image, labels = cells(0)
    coloured = np.stack([image, image[::-1]], axis=-1)
    pair = as_pair((coloured, labels), "YXC", "cells")
    (whole,) = finish(load_fields([pair], nu.new_model("unet", 2, width=4, depth=1).spec, 8))
    renamed = as_pair((coloured[..., 1:], labels), "YXC", "other")
    (part,) = finish(load_fields([renamed], nu.new_model("unet", width=4, depth=1).spec, 8))
    assert set(part.source.marks) <= set(whole.source.marks)
    assert len(part.source.marks) == 1


def test_the_same_pixels_under_two_names_are_one_image():
    image, labels = cells(0)
    pairs = [as_pair((image, labels), None, name) for name in ("one", "two")]
    other = as_pair(cells(1), None, "three")
    fields = finish(load_fields([*pairs, other], nu.new_model("unet", width=4, depth=1).spec, 8))
    assert [field.place[0] for field in fields] == [0, 0, 1]
    assert isinstance(other, TrainingPair)
