"""From layers to images and back."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_unet.errors import AxesError
from napari_unet.gui import layers


@pytest.mark.parametrize(
    ("shape", "options", "axes"),
    [
        ((20, 30), {}, "YX"),
        ((20, 30, 3), {"rgb": True}, "YXC"),
        ((4, 20, 30, 3), {"rgb": True}, "ZYXC"),
        ((5, 20, 30), {}, "ZYX"),
        ((3, 20, 30), {}, "CYX"),
        ((2, 5, 20, 30), {}, "TZYX"),
        ((2, 3, 5, 20, 30), {}, "TCZYX"),
        ((5, 20, 30), {"axis_labels": ("t", "y", "x")}, "TYX"),
        ((5, 2, 20, 30), {"axis_labels": ("Z", "channel", "y", "x")}, "ZCYX"),
        ((5, 20, 30), {"axis_labels": ("depth", "rows", "columns")}, "ZYX"),
    ],
)
def test_axes_are_guessed(shape, options, axes):
    assert layers.guess_axes(Image(np.zeros(shape, np.uint8), **options)) == axes


def test_pixel_size_comes_in_micrometres_from_any_unit_of_length():
    layer = Image(np.zeros((4, 5, 6)), scale=(2, 500, 0.25), units=("um", "nm", "um"))
    size = layers.pixel_size_of(layer, "ZYX")
    assert (size.z_um, size.y_um, size.x_um) == pytest.approx((2, 0.5, 0.25))


def test_pixels_are_no_length():
    layer = Image(np.zeros((5, 6)), scale=(2, 2))
    assert not layers.pixel_size_of(layer, "YX").known


@pytest.mark.parametrize(
    ("shape", "axes", "label_axes", "label_shape"),
    [
        ((5, 6), "YX", "YX", (5, 6)),
        ((3, 5, 6), "CYX", "YX", (5, 6)),
        ((4, 3, 5, 6), "ZCYX", "ZCYX", (4, 1, 5, 6)),
        ((6, 5, 4), "XYZ", "XYZ", (6, 5, 4)),
    ],
)
def test_labels_have_the_axes_of_the_image_without_channels(shape, axes, label_axes, label_shape):
    frame = layers.frame_of(Image(np.zeros(shape)), axes)
    assert (frame.axes, frame.shape) == (label_axes, label_shape)
    canonical = frame.to_tzyx(np.arange(np.prod(label_shape)).reshape(label_shape))
    assert np.array_equal(frame.from_tzyx(canonical).ravel(), np.arange(np.prod(label_shape)))


def test_labels_are_seen_at_every_channel():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 3, 5, 6)), channel_axis=None, scale=(2, 1, 0.5, 0.5))
    frame = layers.frame_of(image, "ZCYX")
    labels = viewer.add_labels(np.ones(frame.shape, np.uint32), **layers.tagged("prediction", image, frame))
    for channel in range(3):
        viewer.dims.set_current_step(1, channel)
        assert labels.get_value(image.data_to_world((2, channel, 3, 3)), world=True) == 1


def test_colour_images_must_end_with_their_colours():
    with pytest.raises(AxesError, match="C last"):
        layers.image_of(Image(np.zeros((5, 6, 3), np.uint8), rgb=True), "ZYX")


@pytest.mark.parametrize("rotate", [0, 30])
def test_a_window_of_a_frame_sits_where_it_was_cut(rotate):
    rng = np.random.default_rng(0)
    image = Image(np.zeros((40, 50)), scale=(0.5, 2), translate=(7, -3), rotate=rotate)
    frame = layers.shifted(layers.frame_of(image, "YX"), ((10, 20), (30, 45)))
    window = Labels(np.zeros(frame.shape, np.uint32), **layers.tagged("preview", image, frame))
    for point in rng.uniform(0, 10, (5, 2)):
        assert np.allclose(window.data_to_world(point), image.data_to_world(point + np.array((10, 30))))


def test_rgb_frame_ignores_the_colours():
    frame = layers.frame_of(Image(np.zeros((5, 6, 3), np.uint8), rgb=True, scale=(2, 3)), "YXC")
    assert frame.shape == (5, 6)
    assert tuple(frame.placement["scale"]) == (2, 3)


def test_multiscale_is_read_at_full_resolution():
    layer = Image([np.zeros((64, 64)), np.zeros((32, 32))], multiscale=True)
    assert layers.image_of(layer, "YX").array.shape == (64, 64)
