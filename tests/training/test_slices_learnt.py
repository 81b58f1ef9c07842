"""Fine-tuning with neighbouring slices: what is shown, what is learnt from, and what only a neighbour tells."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import ModelError
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.training.config import FineTuneConfig
from napari_unet.training.fit import as_pair, finetune_events
from napari_unet.training.pairs import TrainingPair, load_fields
from napari_unet.training.replay import load_replay
from napari_unet.training.splitting import hold_out
from napari_unet.weights.slices import with_slices


def squares(seed, depth=9, side=96):
    """Bright squares at other places in each slice, with their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((depth, side, side), np.uint32)
    for z in range(depth):
        for number in range(1, 14):
            y, x = rng.integers(2, side - 14, 2)
            if not labels[z, y - 2 : y + 14, x - 2 : x + 14].any():
                labels[z, y : y + 12, x : x + 12] = number
    return (labels > 0) * 100.0 + rng.normal(0, 10, labels.shape), labels


def told_by_the_slice_before(seed):
    """A stack whose labels are the squares of the slice before; those of the first slice nobody can know."""
    image, labels = squares(seed)
    known = np.zeros(image[1:].shape, bool)
    known[1:] = True
    return image[1:], labels[:-1], known


def fit(model, pairs, **config):
    named = [as_pair(pair, None, f"image {number}") for number, pair in enumerate(pairs, start=1)]
    settings = FineTuneConfig(**{"seconds": 6, "clock": "cpu", "patch_px": 64, "learning_rate": 1e-2, **config})
    return finish(finetune_events(model, named, settings))


def dice(model):
    image, truth, _ = told_by_the_slice_before(99)
    found, truth = nu.segment(model, image)[1:] > 0, truth[1:] > 0
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def new(**options):
    return nu.new_model("unet", width=4, depth=2, **options)


@pytest.fixture(scope="module")
def learnt():
    """Of what the slice before shows, by a model that knew squares in single slices."""
    known = fit(new(), [squares(3)]).candidate
    return known, fit(known, [told_by_the_slice_before(0)], slices=3).candidate


def test_it_learns_what_only_a_neighbour_tells(learnt):
    assert learnt[1].spec.slices == 3
    assert dice(learnt[0]) < 0.4
    assert dice(learnt[1]) > 0.8


def test_it_says_which_model_it_began_with(learnt):
    assert learnt[1].spec.provenance.parent_sha256 == learnt[0].sha256


def test_without_neighbours_that_cannot_be_learnt():
    assert dice(fit(new(), [told_by_the_slice_before(0)], seconds=3).candidate) < 0.4


def test_a_model_of_slices_goes_on_as_it_is(learnt, tmp_path):
    opened = nu.load_model(learnt[1].save(tmp_path / "slices.safetensors"))
    again = fit(opened, [told_by_the_slice_before(1)], seconds=1)
    assert again.candidate.spec.slices == 3
    assert again.candidate.spec.network.in_channels == 3


def test_fewer_slices_are_refused(learnt):
    with pytest.raises(ModelError, match="learnt from 3 slices at once"):
        fit(learnt[1], [squares(0)], slices=1)


@pytest.mark.parametrize("slices", [2, 11])
def test_an_impossible_number_is_refused_in_one_sentence(slices):
    with pytest.raises(ModelError, match="Choose an odd number"):
        nu.finetune(new(), [squares(0)], slices=slices)


def test_networks_for_volumes_are_refused():
    with pytest.raises(ModelError, match="for volumes sees all slices"):
        nu.finetune(nu.new_model("unet-3d", width=4, depth=1), [squares(0)], slices=3)


def test_a_reviewed_slice_is_shown_with_neighbours_that_nobody_reviewed():
    image, labels = squares(0)
    reviewed = np.zeros(labels.shape, bool)
    reviewed[4] = True
    spec = with_slices(new(), 5).spec
    (field,) = finish(load_fields([TrainingPair(open_image(image), labels[None], reviewed[None])], spec, 8))
    whole = finish(load_fields([TrainingPair(open_image(image), labels[None], np.ones_like(reviewed[None]))], spec, 8))
    assert field.image.shape == (5, 96, 96)
    assert field.train.all()
    assert np.array_equal(field.image, np.stack([one.image[2] for one in whole[2:7]]))
    assert np.array_equal(field.labels, labels[4])
    assert np.array_equal(whole[0].image[:3], np.stack([whole[0].image[2]] * 3))


def test_pixels_that_are_no_number_in_a_neighbour_are_still_learnt_from():
    image, labels = squares(0)
    image[3, 10:20] = np.nan
    spec = with_slices(new(), 3).spec
    fields = finish(
        load_fields([TrainingPair(open_image(image), labels[None], np.ones(labels[None].shape, bool))], spec, 8)
    )
    assert fields[2].train.all()
    assert fields[4].train.all()
    assert not fields[3].train[10:20].any()
    assert all(np.isfinite(field.image).all() for field in fields)


def test_single_slices_are_loaded_as_before():
    image, labels = squares(0)
    pair = TrainingPair(open_image(image), labels[None], np.ones(labels[None].shape, bool))
    alone = finish(load_fields([pair], new().spec, 8))
    together = finish(load_fields([pair], with_slices(new(), 3).spec, 8))
    assert all(np.array_equal(one.image[0], three.image[1]) for one, three in zip(alone, together, strict=True))


@pytest.mark.parametrize("slices", [1, 3, 5, 9])
def test_no_slice_that_is_trained_on_is_shown_to_one_that_is_held_out(slices):
    image, labels = squares(0, depth=30, side=64)
    pair = TrainingPair(open_image(image), labels[None], np.ones(labels[None].shape, bool))
    fields = finish(load_fields([pair], with_slices(new(), slices).spec, 8))
    split = hold_out(fields, np.random.default_rng(0), "semantic", 8, slices=slices)
    trained, held = (
        {field.place[2] for field in split.fields if getattr(field, name).any()} for name in ("train", "validation")
    )
    assert held
    assert min(abs(a - b) for a in trained for b in held) == max(1, slices // 2) + 1


def test_what_a_model_knew_is_shown_again_with_itself_beside_it():
    model = nu.load_model("nuclei-small")
    (alone, shown) = (load_replay(one.spec) for one in (model, with_slices(model, 3)))
    for one, three in zip(alone.train + alone.telling, shown.train + shown.telling, strict=True):
        assert np.array_equal(three.image, np.concatenate([one.image] * 3))


def test_a_training_of_single_slices_is_known_by_its_old_description():
    assert "slices" not in FineTuneConfig().model_dump_json()
    assert FineTuneConfig.model_validate_json(FineTuneConfig(slices=3).model_dump_json()).slices == 3


def test_new_classes_and_slices_at_once():
    image, labels = squares(0, depth=4, side=64)
    found = fit(new(), [(image, labels > 0)], slices=3, classes=("background", "square"), seconds=1).candidate
    assert (found.spec.slices, found.spec.classes) == (3, ("background", "square"))
