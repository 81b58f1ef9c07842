"""Prediction: exact tiles on the user's grid, and honest refusals."""

import itertools

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

import napari_unet as nu
from napari_unet.errors import AxesError, Cancelled, ChannelError, DeviceError, ImageError, ModelError
from napari_unet.events import Notice, finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.inference.config import InferenceConfig
from napari_unet.inference.pipeline import Wish, predict_events


def lively(model):
    """Perturb normalization and biases, so that every tensor matters."""
    generator = torch.Generator().manual_seed(0)
    for module in model.network.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=generator))
    return model


@pytest.fixture(scope="module", params=["transpose", "linear", "nearest"])
def logits_model(request):
    """A model of full depth that gives logits."""
    return lively(nu.new_model("unet", width=4, depth=4, up=request.param)).with_spec(activation="none")


def whole_image_forward(model, image):
    """The reference, by torch alone."""
    low, high = np.percentile(image, [1, 99.8])
    x = torch.from_numpy(((image - low) / (high - low)).astype(np.float32))[None, None]
    with torch.inference_mode():
        return model.network.eval()(x)[0].numpy()


@pytest.mark.parametrize("tile", [128, 256, 512])
@pytest.mark.parametrize("shape", [(523, 397), (301, 650)])
def test_tiles_equal_the_whole_image_forward_pass(logits_model, tile, shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = whole_image_forward(logits_model, image)
    found = nu.predict(logits_model, image, tile=tile)
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() < 1e-4


def test_tiles_are_exact_in_volumes():
    model = lively(nu.new_model("unet-3d", width=4, depth=2)).with_spec(activation="none")
    image = np.random.default_rng(0).normal(size=(37, 51, 60)).astype(np.float32)
    expected = whole_image_forward(model, image)
    assert np.abs(nu.predict(model, image, tile=16) - expected).max() < 1e-4


def test_a_window_equals_the_same_part_of_the_whole(logits_model):
    image = open_image(np.random.default_rng(0).normal(size=(3, 301, 280)).astype(np.float32))
    whole = finish(predict_events(logits_model, image)).probabilities
    window = ((0, 1), (1, 3), (37, 180), (100, 280))
    part = finish(predict_events(logits_model, image, wish=Wish(window))).probabilities
    assert np.abs(part - whole[:, :, 1:3, 37:180, 100:280]).max() < 1e-4


@pytest.fixture(scope="module")
def small():
    return lively(nu.new_model("unet", width=4, depth=2))


def test_result_has_the_axes_of_the_image(small):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 2, 36, 3))
    found = nu.predict(small, image, axes="XTYZ")
    assert found.shape == (3, 40, 2, 36, 3)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    one = nu.predict(small, image.transpose(1, 3, 2, 0), axes="TZYX")
    assert np.allclose(found, one.transpose(0, 4, 1, 3, 2), atol=1e-5)


def test_lazy_arrays_give_the_same_as_numpy(small, tmp_path):
    image = np.random.default_rng(0).integers(0, 4000, (2, 50, 60), dtype=np.uint16)
    expected = nu.predict(small, image)
    stored = zarr.create_array(tmp_path / "image.zarr", shape=image.shape, chunks=(1, 32, 32), dtype=image.dtype)
    stored[:] = image
    assert np.array_equal(nu.predict(small, stored, axes="ZYX"), expected)
    assert np.array_equal(nu.predict(small, da.from_array(image, chunks=(1, 25, 30))), expected)


def test_the_result_can_be_written_to_zarr(small, tmp_path):
    image = np.random.default_rng(0).normal(size=(50, 2, 60))
    expected = nu.predict(small, image, axes="YTX", tile=16)
    out = zarr.create_array(tmp_path / "out.zarr", shape=expected.shape, chunks=(3, 20, 1, 20), dtype="float32")
    found = nu.predict(small, image, axes="YTX", tile=16, out=out)
    assert found is out
    assert np.allclose(out[:], expected, atol=1e-5)


def test_a_diameter_rescales_the_image_and_the_result_comes_back(small):
    """The nuclei model finds nuclei three times as large when it is told so, and not otherwise."""
    model = nu.load_model("nuclei")
    y, x = np.mgrid[:360, :360]
    image = np.zeros((360, 360))
    for centre in np.random.default_rng(0).uniform(40, 320, (12, 2)):
        image += np.exp(-(((y - centre[0]) / 30) ** 4) - ((x - centre[1]) / 30) ** 4)
    image = image[::1] + np.random.default_rng(1).normal(0, 0.05, image.shape)
    told = nu.predict(model, image, diameter=3 * model.spec.diameter_px)
    assert told.shape == (3, 360, 360)
    truth = image > 0.5
    dice = 2 * (truth & (told[0] < 0.5)).sum() / (truth.sum() + (told[0] < 0.5).sum())
    assert dice > 0.85
    assert np.abs(told - nu.predict(model, image)).max() > 0.5


def test_a_window_of_a_rescaled_image_fits_the_whole(small):
    model = small.with_spec(diameter_px=10.0)
    image = open_image(np.random.default_rng(0).normal(size=(90, 80)))
    config = InferenceConfig(diameter_px=14)
    whole = finish(predict_events(model, image, config)).probabilities
    part = finish(predict_events(model, image, config, wish=Wish(((0, 1), (0, 1), (20, 61), (33, 80))))).probabilities
    assert np.allclose(part, whole[..., 20:61, 33:80], atol=1e-5)


def test_pixel_size_rescales_where_both_know_theirs(small):
    model = small.with_spec(pixel_size_um=0.5)
    image = np.random.default_rng(0).normal(size=(64, 64))
    same = nu.predict(model, image, pixel_size=0.5)
    assert np.array_equal(same, nu.predict(model, image))
    assert not np.allclose(same, nu.predict(model, image, pixel_size=1.0), atol=1e-3)


def test_one_event_a_tile_and_cancel_between_them(small):
    image = open_image(np.random.default_rng(0).normal(size=(2, 64, 64)))
    work = predict_events(small, image, InferenceConfig(tile=32))
    events = [event for _, event in zip(range(4), work, strict=False)]  # the image, and three tiles
    with pytest.raises(Cancelled):
        work.throw(Cancelled())
    last = events[-1]
    assert (last.done, last.total) == (3, 8)
    assert last.written == (((0, 1), (0, 1), (0, 32), (32, 64)),)


def test_instance_norm_is_never_called_exact():
    model = nu.new_model("unet", width=4, depth=1, norm="instance")
    found = finish(predict_events(model, open_image(np.random.default_rng(0).normal(size=(40, 40)))))
    assert not found.exact


# ---- bad input


def test_wrong_axes(small):
    with pytest.raises(AxesError, match="4 dimensions"):
        nu.predict(small, np.zeros((2, 3, 8, 8)))
    with pytest.raises(AxesError, match="image has 2"):
        nu.predict(small, np.zeros((8, 8)), axes="ZYX")


def test_channels_that_do_not_fit_are_refused_until_chosen(small):
    image = np.random.default_rng(0).normal(size=(3, 32, 32))
    with pytest.raises(ChannelError, match=r"takes 1 channel, and 3"):
        nu.predict(small, image, axes="CYX")
    with pytest.raises(ChannelError, match="numbered from 0 to 2"):
        nu.predict(small, image, axes="CYX", channels=[3])
    chosen = nu.predict(small, image, axes="CYX", channels=[2])
    assert np.allclose(chosen, nu.predict(small, image[2]), atol=1e-6)


def test_grey_models_take_one_channel_or_rgb():
    model = lively(nu.new_model("unet", width=4, depth=1)).with_spec(normalization=Normalization(channels="grey"))
    rgb = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    grey = rgb @ np.array([0.2125, 0.7154, 0.0721])
    assert np.allclose(nu.predict(model, rgb, axes="YXC"), nu.predict(model, grey), atol=1e-4)
    with pytest.raises(ChannelError, match="red, green and blue"):
        nu.predict(model, rgb[..., :2], axes="YXC")


def test_nan_is_reported_and_spoils_nothing_else(small):
    image = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    image[0, 0] = np.nan
    events = list(predict_events(small, open_image(image)))
    assert any(isinstance(event, Notice) and "1 pixels" in event.text for event in events)
    with pytest.warns(UserWarning, match="no finite number"):
        assert np.isfinite(nu.predict(small, image)).all()


@pytest.mark.filterwarnings("ignore:.*no finite number")
def test_only_nan_is_refused(small):
    with pytest.raises(ImageError, match="not a single finite"):
        nu.predict(small, np.full((16, 16), np.nan))


def test_constant_images_are_reported(small):
    events = list(predict_events(small, open_image(np.full((20, 20), 7))))
    assert any(isinstance(event, Notice) and "constant" in event.text for event in events)


@pytest.mark.filterwarnings("ignore:.*is constant")
def test_one_pixel(small):
    assert nu.predict(small, np.ones((1, 1))).shape == (3, 1, 1)
    assert nu.segment(small, np.ones((1, 1))).shape == (1, 1)


def test_no_pixels_and_no_numbers(small):
    with pytest.raises(ImageError, match="no pixels"):
        nu.predict(small, np.zeros((0, 5)))
    with pytest.raises(ImageError, match="complex"):
        nu.predict(small, np.zeros((5, 5), complex))


def test_a_device_that_is_not_there(small):
    with pytest.raises(DeviceError, match="no device"):
        nu.predict(small, np.eye(8), device="cuda:7")


def test_images_are_checked_however_they_come(small):
    image = open_image(np.eye(16))
    with pytest.raises(AxesError, match="image has 2"):
        nu.predict(small, image, axes="ZYX")
    assert nu.predict(small, image, axes="xy").shape == (3, 16, 16)
    assert nu.predict(small, image, pixel_size=np.float32(0.5)).shape == (3, 16, 16)


def test_an_output_that_does_not_fit_is_refused_before_the_work(small):
    for out in (np.zeros((3, 8, 9), np.float32), np.zeros((3, 8, 8), np.uint16)):
        with pytest.raises(ImageError, match="array that fits"):
            nu.predict(small, np.eye(8), out=out)
    with pytest.raises(ImageError, match="array that fits"):
        nu.segment(small, np.eye(8), out=np.zeros((9, 9), np.uint32))


def test_raw_values_are_not_taken_for_probabilities(small):
    with pytest.raises(ModelError, match="no probabilities"):
        nu.segment(small.with_spec(activation="none"), np.eye(16))


def test_an_absurd_diameter_is_refused(small):
    with pytest.raises(ImageError, match="rescaled by"):
        nu.predict(small.with_spec(diameter_px=20.0), np.eye(16), diameter=1)


@pytest.mark.parametrize(
    ("variant", "options", "exact"),
    [
        ("unet++", {"width": 4, "depth": 3}, True),
        ("unet-bilinear", {"width": 4, "depth": 3}, True),
        ("unet-valid", {"width": 4, "depth": 2}, True),
        ("attention-unet", {"width": 4, "depth": 2}, True),
        ("unet", {"width": 4, "depth": 2, "norm": "instance"}, False),
    ],
)
def test_whole_images_are_exact_for_every_local_network(variant, options, exact):
    """Also with aligned corners, whose sampling depends on the size of the whole image."""
    model = lively(nu.new_model(variant, **options)).with_spec(activation="none")
    image = np.random.default_rng(0).normal(size=(301, 270)).astype(np.float32)
    low, high = np.percentile(image, [1, 99.8])
    x = torch.from_numpy(((image - low) / (high - low)).astype(np.float32))[None, None]
    with torch.inference_mode():
        expected = model.network.eval().on_grid(x)[0].numpy()
    found = finish(predict_events(model, open_image(image)))
    assert found.exact == exact
    if exact:
        assert np.abs(found.probabilities[:, 0, 0] - expected).max() < 1e-4 * expected.std()


def test_nothing_is_read_twice_of_a_whole_image(small):
    read = []

    class Counting(np.ndarray):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    image = np.random.default_rng(0).normal(size=(700, 64)).view(Counting)
    finish(predict_events(small, open_image(image)))
    rows = [key[-2] for key in read if isinstance(key, tuple)]
    strips = [row for row in rows if row != slice(0, 700)]  # statistics read the whole image
    assert len(strips) > 3
    starts = sorted((part.start, part.stop) for part in strips)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(starts))


def test_changed_weights_change_the_prediction():
    """The graph that is kept of a network must not outlive its weights."""
    model = lively(nu.new_model("unet", width=4, depth=2))
    image = np.random.default_rng(0).normal(size=(64, 64))
    first = nu.predict(model, image)
    assert np.array_equal(nu.predict(model, image), first)
    with torch.no_grad():
        next(model.network.parameters()).mul_(-2)
    assert np.abs(nu.predict(model, image) - first).max() > 1e-3
    other = lively(nu.new_model("unet", width=4, depth=2))
    model.network.load_state_dict(other.network.state_dict())
    assert np.allclose(nu.predict(model, image), nu.predict(other, image), atol=1e-6)
