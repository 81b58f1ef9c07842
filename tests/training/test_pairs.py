"""What is read of images and corrections: what is reviewed, what is not, and what is neither."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.events import finish
from napari_unet.imaging.image import open_image
from napari_unet.training.pairs import TrainingPair, load_fields
from napari_unet.training.splitting import hold_out
from napari_unet.weights.divisions import Division

PLANES, VOLUMES = nu.new_model("unet", width=4, depth=1).spec, nu.new_model("unet-3d", width=4, depth=1).spec
CLASSES = PLANES.model_copy(update={"meaning": "semantic", "classes": ("ground", "cell", "wall")})
MARGIN_PX = 16


def image(shape=(96, 120)):
    return np.random.default_rng(0).random(shape).astype(np.float32)


def pair(pixels, *windows, name="cells"):
    """An image of which windows are reviewed, with small squares in all of it."""
    labels = np.zeros((1, *(1,) * (3 - pixels.ndim), *pixels.shape), np.uint32)
    for number, (y, x) in enumerate(np.ndindex(pixels.shape[-2] // 12, pixels.shape[-1] // 12), start=1):
        labels[..., 12 * y + 2 : 12 * y + 10, 12 * x + 2 : 12 * x + 10] = number
    reviewed = np.zeros(labels.shape, bool)
    for window in windows:
        reviewed[(..., *window)] = True
    return TrainingPair(open_image(pixels, name=name), labels, reviewed)


def load(*pairs, spec=PLANES):
    return finish(load_fields(pairs, spec, MARGIN_PX))


@pytest.mark.parametrize(
    ("spec", "shape"), [(PLANES, (96, 120)), (CLASSES, (96, 120)), (VOLUMES, (6, 96, 120)), (PLANES, (6, 96, 120))]
)
def test_what_lies_around_a_window_is_unreviewed(spec, shape):
    fields = load(pair(image(shape), np.s_[30:70, 40:90]), spec=spec)
    assert len(fields) == (6 if len(shape) == 3 and spec.dims == 2 else 1)
    for field in fields:
        assert np.array_equal(field.unreviewed, ~field.train)
        assert field.unreviewed[..., :MARGIN_PX, :].all()
        assert field.unreviewed[..., :, -MARGIN_PX:].all()


def test_where_all_is_reviewed_nothing_is_unreviewed():
    (field,) = load(pair(image(), np.s_[:, :]))
    assert field.train.all()
    assert field.unreviewed is None


def test_pixels_that_are_no_numbers_are_neither():
    pixels = image()
    pixels[28:35, 40:60] = np.nan
    (field,) = load(pair(pixels, np.s_[30:70, 40:90]))
    neither = ~field.train & ~field.unreviewed
    y, x = np.nonzero(neither)
    assert neither.sum() == 7 * 20
    assert (y.min() + field.origin[0], x.min() + field.origin[1]) == (28, 40)


def test_what_another_layer_of_the_image_calls_reviewed_is_not_unreviewed():
    pixels = image()
    windows = [np.s_[20:60, 20:50], np.s_[30:80, 44:90], np.s_[88:96, 110:120]]
    fields = load(*(pair(pixels, window) for window in windows))
    everywhere = np.zeros((3, *pixels.shape), bool)
    for seen, field in zip(everywhere, fields, strict=True):
        height, width = field.train.shape
        seen[field.origin[0] :, field.origin[1] :][:height, :width] = field.unreviewed
    for window in windows:
        assert not everywhere[(slice(None), *window)].any()
    assert everywhere[0, 10:20, 20:50].all()
    assert everywhere[0, 35:60, 50:66].sum() == 0  # where the second begins
    (alone,) = load(pair(pixels, windows[0]))
    assert alone.unreviewed.sum() > fields[0].unreviewed.sum()


def test_layers_of_different_images_do_not_meddle():
    pairs = [pair(image() + n, np.s_[30:70, 40:90], name=f"image {n}") for n in range(2)]
    for field in load(*pairs):
        assert np.array_equal(field.unreviewed, ~field.train)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_unreviewed_is_learnt_from_within_or_near_a_strip(seed):
    (field,) = load(pair(image((96, 200)), np.s_[30:80, 30:170]))
    (after,) = hold_out([field], np.random.default_rng(seed), gap_px=16).fields
    held = np.nonzero(after.validation.any(axis=0))[0]
    assert len(held)
    assert field.unreviewed[:, held].any()
    assert not after.unreviewed[:, held.min() - 8 : held.max() + 9].any()
    assert after.unreviewed.any()


def test_a_strip_that_was_held_out_before_is_not_learnt_from_though_nothing_of_it_is_reviewed():
    (field,) = load(pair(image(), np.s_[30:80, 30:100]))
    before = Division(
        name=field.name,
        sizes=field.source.sizes,
        marks=field.source.marks,
        axis="X",
        train_spans=((40, 100),),
        held_spans=((0, 22),),
    )
    (after,) = hold_out([field], np.random.default_rng(0), earlier=[before]).fields
    strip = np.s_[:, : 22 - field.origin[1]]
    assert field.unreviewed[strip].any()
    assert not after.unreviewed[strip].any()
    assert after.train.any()
