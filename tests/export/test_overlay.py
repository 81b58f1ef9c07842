"""Pictures of images with the outlines of their objects."""

import imagecodecs
import numpy as np
import pytest

from napari_unet.axes import PixelSize
from napari_unet.errors import LabelsError
from napari_unet.export.overlay import OUTLINE, overlay, save_overlay
from napari_unet.export.scale_bar import draw_scale_bar, round_length

LABELS = np.zeros((20, 30), int)
LABELS[5:15, 5:15] = 1
LABELS[5:15, 15:25] = 2


@pytest.mark.parametrize(
    "image",
    [
        np.arange(600, dtype=np.uint16).reshape(20, 30),
        np.full((20, 30), 7.0),
        np.full((20, 30, 3), 9, np.uint8),
        np.full((20, 30, 4), 9, np.uint8),
        np.where(np.arange(600).reshape(20, 30) == 3, np.nan, 1.0),
    ],
    ids=["uint16", "constant", "rgb", "rgba", "nan"],
)
def test_outlines_separate_objects(tmp_path, image):
    picture = imagecodecs.png_decode(save_overlay(tmp_path / "o.png", image, LABELS, colours="one").read_bytes())
    assert picture.shape == (20, 30, 3)
    outlined = (picture == OUTLINE).all(-1)
    assert outlined[5, 5:25].all()
    assert outlined[10, 14:16].all()
    assert not outlined[10, 8:12].any()
    assert not outlined[:4].any()


def test_image_is_not_painted_on():
    image = np.full((20, 30, 3), 9, np.uint8)
    overlay(image, LABELS)
    assert (image == 9).all()


def test_labels_of_another_size_are_refused():
    with pytest.raises(LabelsError, match="Choose the labels"):
        overlay(np.zeros((4, 4)), LABELS)


def test_neighbours_have_different_colours():
    picture = overlay(np.zeros((20, 30)), LABELS)
    colours = {tuple(picture[10, x]) for x in (5, 14, 15, 24)}
    assert len(colours) == 2
    assert (picture[10, 14] != picture[10, 15]).any()
    assert all(max(colour) == 255 for colour in colours)


def test_ids_of_64_bits_have_colours():
    assert overlay(np.zeros((20, 30)), np.where(LABELS > 0, 2**64 - 1, 0).astype(np.uint64)).any()


def test_contrast_of_the_viewer():
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    nothing = np.zeros((20, 30), int)
    picture = overlay(image, nothing, contrast=(100, 200))
    assert (picture[image <= 100] == 0).all()
    assert (picture[image >= 200] == 255).all()
    assert picture[image == 150].tolist() == [[128, 128, 128]]


def test_values_that_are_no_numbers_are_drawn():
    image = np.full((20, 30), np.nan)
    assert overlay(image, LABELS).shape == (20, 30, 3)
    image[0, 0], image[1, 1] = np.inf, 7
    assert overlay(image, LABELS).shape == (20, 30, 3)


# --- scale bar ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1.0, (1, "1 µm")),
        (9.99, (5, "5 µm")),
        (10.0, (10, "10 µm")),
        (0.1, (0.1, "100 nm")),
        (0.0004, (0.0002, "0.2 nm")),
        (999.0, (500, "500 µm")),
        (1000.0, (1000, "1 mm")),
    ],
)
def test_lengths_are_round(longest, expected):
    length, name = round_length(longest)
    assert (pytest.approx(length), name) == expected


@pytest.mark.parametrize("pixel_um", [0.05, 0.325, 1.3, 40.0])
@pytest.mark.parametrize("shape", [(256, 256), (300, 1200), (2048, 700)])
def test_the_bar_is_as_long_as_it_says(pixel_um, shape):
    picture = np.full((*shape, 3), 90, np.uint8)
    assert draw_scale_bar(picture, pixel_um)
    white = (picture == 255).all(-1)
    bar = np.flatnonzero(white[np.flatnonzero(white.any(axis=1))[-1]])
    assert bar[-1] - bar[0] + 1 == len(bar) == round(round_length(shape[1] * pixel_um / 4)[0] / pixel_um)
    assert not (picture[: shape[0] // 2] != 90).any()


def test_a_scale_bar_where_the_pixel_size_is_known_and_there_is_room(tmp_path):
    image, labels = np.zeros((200, 300), np.uint8), np.zeros((200, 300), int)
    size = PixelSize(y_um=0.5, x_um=0.5)
    with_bar = imagecodecs.png_decode(save_overlay(tmp_path / "a.png", image, labels, size).read_bytes())
    without = imagecodecs.png_decode(save_overlay(tmp_path / "a.png", image, labels, PixelSize()).read_bytes())
    assert with_bar.any()
    assert not without.any()
    small = save_overlay(tmp_path / "a.png", image[:20, :30], labels[:20, :30], size).read_bytes()
    assert not imagecodecs.png_decode(small).any()
