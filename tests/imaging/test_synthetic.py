"""Made images: the same from the same seed, with the truth where the light is."""

import numpy as np
import pytest
from scipy import ndimage

from napari_unet.imaging.synthetic import membrane_cells, nuclei_stack


@pytest.fixture(scope="module")
def nuclei():
    return nuclei_stack()


@pytest.fixture(scope="module")
def cells():
    return membrane_cells()


@pytest.mark.parametrize(("make", "shape"), [(nuclei_stack, (8, 60, 70)), (membrane_cells, (90, 130))])
def test_seed_decides_everything(make, shape):
    one, same, other = make(shape, 12, seed=3), make(shape, 12, seed=3), make(shape, 12, seed=4)
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.truth, same.truth)
    assert (one.truth != other.truth).any()
    assert one.image.shape == one.truth.shape == shape


@pytest.mark.parametrize("name", ["nuclei", "cells"])
def test_labels_are_numbered_without_gaps_and_in_one_piece(name, request):
    truth = request.getfixturevalue(name).truth
    assert truth.dtype == np.uint16
    numbers = np.unique(truth)
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    everywhere = np.ones((3,) * truth.ndim)
    for number, box in enumerate(ndimage.find_objects(truth), start=1):
        assert ndimage.label(truth[box] == number, everywhere)[1] == 1


@pytest.mark.parametrize("name", ["nuclei", "cells"])
def test_looks_like_a_camera_image(name, request):
    image = request.getfixturevalue(name).image
    assert image.dtype == np.uint16
    assert image.max() < 65535
    assert 80 < image.min() < 110  # the camera's offset, and noise about it
    assert np.unique(image).size > 300


def test_nuclei_are_bright_and_voxels_anisotropic(nuclei):
    assert nuclei.truth.max() == 40
    assert nuclei.pixel_size.along("ZYX") == (1.0, 0.25, 0.25)
    inside, outside = nuclei.image[nuclei.truth > 0], nuclei.image[nuclei.truth == 0]
    assert np.median(inside) > 2 * np.median(outside)
    depth_um, height_um, width_um = (
        np.mean([(box[i].stop - box[i].start) * size for box in ndimage.find_objects(nuclei.truth)])
        for i, size in enumerate((1.0, 0.25, 0.25))
    )
    assert 0.6 < depth_um / np.sqrt(height_um * width_um) < 1.4  # roundish in µm, not in voxels


def test_fewer_nuclei_where_there_is_no_room():
    assert 1 <= nuclei_stack((6, 40, 40), 50).truth.max() < 50


def test_membranes_are_bright_interiors_dark_and_gaps_darker(cells):
    truth = cells.truth
    assert 150 < truth.max() < 240
    assert 0.6 < (truth > 0).mean() < 0.95
    ids = truth.astype(int)
    edges = ndimage.grey_dilation(ids, 3) != ndimage.grey_erosion(ids, 3)
    between_cells = edges & (ndimage.grey_erosion(ids, 5) > 0)
    interior = (truth > 0) & ~ndimage.binary_dilation(edges, iterations=6)
    gap = ndimage.binary_erosion(truth == 0, iterations=8)
    between, inside, outside = (np.median(cells.image[where]) - 100 for where in (between_cells, interior, gap))
    assert between > 2.5 * inside
    assert inside > 2 * outside


def test_both_halves_hold_enough_cells_to_learn_from_and_to_judge(cells):
    half = cells.truth.shape[1] // 2
    assert len(np.unique(cells.truth[:, :half])) > 50
    assert len(np.unique(cells.truth[:, half:])) > 50
