"""Normalization from whole images."""

import numpy as np
import pytest

from napari_unet.errors import ChannelError
from napari_unet.events import Notice, finish
from napari_unet.imaging.config import Normalization
from napari_unet.imaging.image import open_image
from napari_unet.imaging.rescaling import Rescaled
from napari_unet.imaging.statistics import statistics_events


def normalized(array, axes, normalization=None, t=0):
    image = open_image(array, axes)
    statistics = finish(statistics_events(image, normalization or Normalization()))
    size = image.sizes
    block = image.read(t, *(slice(0, size[axis]) for axis in "ZYX"))
    return statistics.normalize(block, t), statistics


def test_percentiles_become_zero_and_one():
    image = np.random.default_rng(0).integers(100, 5000, (200, 300), dtype=np.uint16)
    values, _ = normalized(image, "YX")
    assert np.percentile(values, [1, 99.8]) == pytest.approx([0, 1], abs=1e-3)


def test_statistics_are_per_channel_and_time_but_over_the_stack():
    image = np.random.default_rng(0).uniform(size=(2, 4, 3, 50, 50))
    image[:, 2:] *= 10  # two bright slices
    image[1] *= 7  # a bright time point
    image[:, :, 1] *= 100  # a bright channel
    _, statistics = normalized(image, "TZCYX")
    assert [len(high) for high in statistics.high.values()] == [3, 3]
    assert statistics.high[1] == pytest.approx(7 * statistics.high[0], rel=0.05)
    assert statistics.high[0][1] == pytest.approx(100 * statistics.high[0][0], rel=0.05)
    assert statistics.high[0][0] == pytest.approx(9.9, abs=0.2)


def test_dark_objects_on_a_bright_background_are_inverted():
    image = np.full((100, 100), 200, np.uint8)
    image[40:60, 40:60] = 20
    image += np.random.default_rng(0).integers(0, 10, image.shape, dtype=np.uint8)
    policy = Normalization(channels="grey", polarity="bright-objects")
    values, statistics = normalized(image, "YX", policy)
    assert statistics.reduction == "inverted"
    assert values[0, 0, 50, 50] > 0.9
    again, statistics = normalized(255 - image, "YX", policy)
    assert statistics.reduction == "luminance"
    assert np.allclose(values, again, atol=0.02)


def stained_section():
    """White glass, pink tissue, brown stain and blue nuclei, as absorbed light."""
    stains = {"haematoxylin": (0.65, 0.70, 0.29), "eosin": (0.07, 0.99, 0.11), "dab": (0.27, 0.57, 0.78)}
    amounts = {name: np.zeros((90, 90)) for name in stains}
    amounts["eosin"][20:, :] = 0.3
    amounts["dab"][20:, 50:] = 1.2
    amounts["haematoxylin"][30:40, 10:20] = amounts["haematoxylin"][30:40, 60:70] = 0.8
    absorbed = sum(amount[..., None] * np.array(stains[name]) for name, amount in amounts.items())
    return (np.exp(-absorbed) * 255).astype(np.uint8), amounts["haematoxylin"] > 0


def test_nuclei_stand_out_of_a_stained_section_whatever_else_is_dark():
    image, nuclei = stained_section()
    policy = Normalization(channels="grey", polarity="bright-objects", stain="haematoxylin")
    values, statistics = normalized(image, "YXC", policy)
    assert statistics.reduction == "haematoxylin"
    assert values[0, 0][nuclei].min() > 0.8
    assert values[0, 0][~nuclei].max() < 0.3
    grey, _ = normalized(image, "YXC", policy.model_copy(update={"stain": "luminance"}))
    assert grey[0, 0][20:, 50:][~nuclei[20:, 50:]].mean() > 0.5  # the brown is as dark as a nucleus


def test_fluorescence_in_colour_is_not_taken_for_a_stained_section():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 20:40, 2] = 200  # blue on black
    image += np.random.default_rng(0).integers(0, 12, image.shape, dtype=np.uint8)
    policy = Normalization(channels="grey", polarity="bright-objects", stain="haematoxylin")
    values, statistics = normalized(image, "YXC", policy)
    assert statistics.reduction == "luminance"
    assert values[0, 0, 30, 30] > 0.6
    assert values[0, 0, 5, 5] < 0.3


def test_sparse_images_are_not_taken_for_constant():
    image = np.zeros((300, 300))
    image[5, 5:10] = 3
    values, _ = normalized(image, "YX")
    assert values.max() == 1


def test_constant_and_infinite_pixels_become_zero():
    values, _ = normalized(np.full((5, 5), 3.0), "YX")
    assert (values == 0).all()
    image = np.random.default_rng(0).uniform(size=(20, 20))
    image[0, 0], image[1, 1] = np.inf, np.nan
    values, _ = normalized(image, "YX")
    assert np.isfinite(values).all()


def test_large_images_are_sampled_close_to_the_truth():
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 100, (5000, 4000)).astype(np.float32)
    statistics = finish(statistics_events(open_image(image), Normalization()))
    assert statistics.low[0][0] == pytest.approx(np.percentile(image[::10, ::10], 1), rel=0.01)
    assert statistics.high[0][0] == pytest.approx(np.percentile(image[::10, ::10], 99.8), rel=0.01)


@pytest.mark.parametrize("shape", [(70, 1024, 1024), (20, 1400, 1400), (5000, 5000)])
@pytest.mark.parametrize("corner", [0.1, 0.5, 0.8])
def test_an_object_anywhere_in_a_large_image_is_seen(shape, corner):
    image = np.full(shape, 5, np.uint8)
    y, x = (int(corner * size) for size in shape[-2:])
    image[..., y : y + 250, x : x + 250] = 200
    statistics = finish(statistics_events(open_image(image), Normalization(high_percentile=99.8)))
    assert (statistics.low[0], statistics.high[0]) == (5, 200)


def test_only_the_time_points_that_are_needed_are_read():
    image = np.ones((5, 20, 20))
    image[3] = np.nan  # a lost frame spoils nothing else
    image[1, :10] = 7
    statistics = finish(statistics_events(open_image(image, "TYX"), Normalization(), times=[1, 2]))
    assert set(statistics.low) == {1, 2}


def test_large_images_are_not_read_whole():
    class Counting:
        shape, dtype = (40, 2000, 2000), np.dtype(np.uint16)
        largest = 0

        def __getitem__(self, key):
            part = np.broadcast_to(np.arange(2000, dtype=np.uint16), self.shape)[key]
            self.largest = max(self.largest, part.size)
            return part

    array = Counting()
    finish(statistics_events(open_image(array), Normalization()))
    assert array.largest <= 512 * 512


def camera_image(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(20, 180, shape).astype(dtype)


def test_minimum_and_maximum_are_percentiles_0_and_100():
    values, _ = normalized(camera_image(50, 60), "YX", Normalization(low_percentile=0, high_percentile=100))
    assert (values.min(), values.max()) == (0, 1)


def test_z_score_gives_mean_zero_and_deviation_one_per_channel():
    image = camera_image(3, 50, 60).astype(np.float32)
    image[1] *= 40
    values, _ = normalized(image, "CYX", Normalization(method="z-score"))
    assert values.mean(axis=(1, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-4)
    assert values.std(axis=(1, 2, 3)) == pytest.approx([1, 1, 1], abs=1e-4)
    damped, _ = normalized(image[0], "YX", Normalization(method="z-score", eps=float(image[0].std())))
    assert damped.std() == pytest.approx(0.5, abs=1e-4)
    constant, _ = normalized(np.full((5, 5), 3.3), "YX", Normalization(method="z-score", eps=1e-6))
    assert (constant == 0).all()


def test_channels_may_share_their_statistics():
    image = camera_image(2, 50, 60).astype(np.float32)
    image[1] += 1000
    values, _ = normalized(image, "CYX", Normalization(method="z-score", per_channel=False))
    assert np.allclose(values[:, 0], (image - image.mean()) / image.std(), atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 32767), (np.float32, 1), (bool, 1)]
)
def test_the_type_of_the_image_says_what_becomes_one(dtype, largest):
    image = camera_image(20, 30, dtype=dtype)
    values, _ = normalized(image, "YX", Normalization(method="dtype"))
    assert np.allclose(values[0, 0], image.astype(np.float64) / largest, rtol=1e-6)


def test_the_type_counts_also_when_the_image_is_rescaled():
    image = Rescaled(open_image(camera_image(40, 40)), 0.5)
    assert finish(statistics_events(image, Normalization(method="dtype"))).high[0] == 255


def test_fixed_values_normalize_whatever_the_image():
    image = camera_image(2, 20, 30)
    values, _ = normalized(image, "CYX", Normalization(method="fixed", low=(100,), high=(120,)))
    assert np.allclose(values[:, 0], (image - 100.0) / 20)
    values, _ = normalized(image, "CYX", Normalization(method="fixed", low=(0, 255), high=(255, 0)))
    assert np.allclose(values[0, 0], image[0] / 255)
    assert np.allclose(values[1, 0], 1 - image[1] / 255, atol=1e-6)


def test_fixed_values_for_another_number_of_channels_are_refused():
    with pytest.raises(ChannelError, match="normalize 2 channels, and 3 were given"):
        normalized(camera_image(3, 20, 30), "CYX", Normalization(method="fixed", low=(0, 1), high=(1, 2)))


def test_results_are_clipped_where_the_model_says_so():
    image = camera_image(2, 20, 30)
    bounds = Normalization(method="fixed", low=(100,), high=(120,), clip_low=(-1, 0), clip_high=(2,))
    values, _ = normalized(image, "CYX", bounds)
    assert [(v.min(), v.max()) for v in values] == [(-1, 2), (0, 2)]


def test_unknown_pixels_are_what_becomes_zero():
    image = camera_image(20, 30, dtype=np.float32)
    image[3, 4] = np.nan
    policy = Normalization(method="z-score")
    events = list(statistics_events(open_image(image), policy))
    assert any("treated as average" in event.text for event in events if isinstance(event, Notice))
    values, _ = normalized(image, "YX", policy)
    assert values[0, 0, 3, 4] == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "fixed"}, "as many of each"),
        ({"low": (0,), "high": (1,)}, "to no other"),
        ({"method": "fixed", "low": (0, 1), "high": (1,)}, "as many of each"),
        ({"method": "fixed", "low": (1,), "high": (1,)}, "must differ"),
        ({"method": "fixed", "low": (0, 1), "high": (1, 2), "clip_low": (0, 1, 2)}, "one value for all"),
        ({"clip_low": (0,), "clip_high": (1, 0)}, "clip_low must be below"),
        ({"method": "fixed", "low": (0,), "high": (float("inf"),)}, "finite"),
        ({"method": "dtype", "stain": "haematoxylin"}, "absorbance"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Normalization(**settings)
