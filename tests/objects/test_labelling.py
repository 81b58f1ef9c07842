"""Objects from probabilities that are known exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.events import Progress, finish
from napari_unet.objects.config import ObjectOptions
from napari_unet.objects.labelling import decode, fill_holes, label_events
from napari_unet.training.targets import class_targets

INSTANCES_2D = SimpleNamespace(meaning="instances", activation="softmax", dims=2)
RAW = SimpleNamespace(meaning="semantic", activation="none", dims=2)
INSTANCES_3D = SimpleNamespace(meaning="instances", activation="softmax", dims=3)


def discs(shape=(120, 160), radius=7, step=14):
    """Touching discs with ids."""
    labels = np.zeros(shape, np.uint32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = [
        (cy, cx)
        for cy in range(radius + 1, shape[0] - radius, step)
        for cx in range(radius + 1, shape[1] - radius, step)
    ]
    for number, (cy, cx) in enumerate(centres, start=1):
        labels[((y - cy) ** 2 + (x - cx) ** 2 <= radius**2) & (labels == 0)] = number
    return labels


def perfect(labels, sure=0.9):
    """Probabilities (3, ...) of a network that knows the truth."""
    rest = (1 - sure) / 2
    return np.where(np.arange(3).reshape(3, *(1,) * labels.ndim) == class_targets(labels), sure, rest).astype(
        np.float32
    )


def same_objects(a, b):
    """Whether two label images have the same objects under whatever ids."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(a)) == len(np.unique(b))


def label(probabilities, spec, options):
    return finish(label_events(probabilities, spec, options))


def test_touching_objects_are_told_apart_and_whole():
    truth = discs()
    labels, count = label(perfect(truth)[:, None, None], INSTANCES_2D, ObjectOptions())
    assert count == truth.max() == labels.max()
    assert np.array_equal(labels[0, 0] > 0, truth > 0)
    wrong = sum(len(np.unique(truth[labels[0, 0] == i])) > 1 for i in range(1, count + 1))
    assert (
        wrong == 0 or (np.abs(np.bincount(labels.ravel())[1:].astype(int) - np.bincount(truth.ravel())[1:]) <= 6).all()
    )


def test_the_threshold_decides_about_foreground():
    truth = discs()
    probabilities = perfect(truth, sure=0.6)[:, None, None]
    assert label(probabilities, INSTANCES_2D, ObjectOptions(threshold=0.5))[1] == truth.max()
    assert label(probabilities, INSTANCES_2D, ObjectOptions(threshold=0.9))[1] == 0


def test_small_objects_are_dropped():
    truth = np.zeros((40, 60), np.uint32)
    truth[5:10, 5:10] = 1  # 25 pixels
    truth[20:30, 20:30] = 2  # 100
    for smallest, expected in ((0, 2), (25, 2), (26, 1), (101, 0)):
        _, count = label(perfect(truth)[:, None, None], INSTANCES_2D, ObjectOptions(min_size_px=smallest))
        assert count == expected


def test_foreground_without_interior_is_still_an_object():
    truth = np.zeros((30, 30), np.uint32)
    truth[5:7, 5:25] = 1  # two pixels thin: all border
    assert label(perfect(truth)[:, None, None], INSTANCES_2D, ObjectOptions())[1] == 1


def test_holes_are_filled_only_if_one_object_encloses_them():
    labels = np.zeros((9, 20), np.uint32)
    labels[1:8, 1:8] = 3
    labels[3:6, 3:6] = 0  # a hole of 3
    labels[1:8, 10:14], labels[1:8, 14:18] = 4, 5
    labels[3:6, 13:15] = 0  # between 4 and 5
    labels[0:3, 0] = 3  # encloses nothing: at the edge
    filled = fill_holes(labels)
    assert (filled[3:6, 3:6] == 3).all()
    assert (filled[3:6, 13:15] == 0).all()
    assert filled[8, 19] == 0
    options = ObjectOptions(fill_holes=False, min_size_px=0)
    hollow = np.where(labels == 3, 1, 0).astype(np.uint32)
    found, _ = label(perfect(hollow)[:, None, None], INSTANCES_2D, options)
    assert found[0, 0, 4, 4] == 0
    found, _ = label(perfect(hollow)[:, None, None], INSTANCES_2D, ObjectOptions(min_size_px=0))
    assert found[0, 0, 4, 4] > 0


@pytest.fixture
def ball_stack():
    """Two balls over each other in Z, apart, and a cylinder through all slices; time runs twice."""
    z, y, x = np.mgrid[:20, :40, :60]
    truth = np.zeros((20, 40, 60), np.uint32)
    truth[(z - 4) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 <= 16] = 1
    truth[(z - 14) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 <= 16] = 2
    truth[(y - 20) ** 2 + (x - 45) ** 2 <= 49] = 3
    return truth


def test_slices_are_joined_across_z_but_not_across_time(ball_stack):
    planes = np.stack([perfect(plane) for plane in ball_stack], axis=1)  # (3, Z, Y, X)
    probabilities = np.stack([planes, planes], axis=1)
    options = ObjectOptions(min_size_px=0)
    labels, count = label(probabilities, INSTANCES_2D, options)
    assert count == 6
    assert same_objects(labels[0], ball_stack)
    assert not set(np.unique(labels[0])[1:]) & set(np.unique(labels[1])[1:])
    _, apart = label(probabilities, INSTANCES_2D, ObjectOptions(min_size_px=0, join_z=False))
    assert apart == 2 * sum(len(np.unique(plane)) - 1 for plane in ball_stack)


def test_a_3d_model_finds_objects_in_the_volume(ball_stack):
    truth = ndi.zoom(ball_stack, (2, 1, 1), order=0)
    labels, count = label(perfect(truth)[:, None], INSTANCES_3D, ObjectOptions(min_size_px=0))
    assert count == 3
    assert same_objects(labels[0], truth)


def test_semantic_classes_by_argmax_and_threshold():
    spec = SimpleNamespace(meaning="semantic", activation="softmax", dims=2)
    truth = np.zeros((30, 40), np.uint32)
    truth[2:12, 2:12], truth[15:25, 20:35] = 1, 2
    probabilities = np.where(np.arange(3)[:, None, None] == truth, 0.6, 0.2).astype(np.float32)
    labels, count = label(probabilities[:, None, None], spec, ObjectOptions())
    assert np.array_equal(labels[0, 0], truth)
    assert count == 2
    assert label(probabilities[:, None, None], spec, ObjectOptions(threshold=0.85))[0].max() == 0


def test_a_class_inside_another_is_no_hole():
    spec = SimpleNamespace(meaning="semantic", activation="softmax", dims=2)
    y, x = np.mgrid[:60, :60]
    radius = np.hypot(y - 30, x - 30)
    truth = np.where(radius < 10, 2, np.where(radius < 25, 1, 0))
    truth[20:22, 20:22] = 0  # a true hole, in the outer class
    probabilities = (np.arange(3)[:, None, None] == truth).astype(np.float32)
    labels, _ = label(probabilities[:, None, None], spec, ObjectOptions())
    expected = truth.copy()
    expected[20:22, 20:22] = labels[0, 0, 20:22, 20:22]
    assert np.array_equal(labels[0, 0], expected)
    assert (labels[0, 0] == 2).sum() == (truth == 2).sum()


def test_sigmoid_outputs_have_no_background_channel():
    spec = SimpleNamespace(meaning="semantic", activation="sigmoid", dims=2)
    truth = np.zeros((20, 20), np.uint32)
    truth[3:12, 3:12] = 1
    probabilities = np.where(truth == 1, 0.8, 0.1).astype(np.float32)[None]
    labels, _ = label(probabilities[:, None, None], spec, ObjectOptions())
    assert np.array_equal(labels[0, 0], truth)


def test_events_count_the_slices(ball_stack):
    planes = np.stack([perfect(plane) for plane in ball_stack], axis=1)[:, None]
    events = list(label_events(planes, INSTANCES_2D, ObjectOptions()))
    assert events[-1] == Progress("Finding objects", 20, 20)


def test_labels_are_written_where_asked(ball_stack):
    planes = np.stack([perfect(plane) for plane in ball_stack], axis=1)[:, None]
    out = np.full((1, 20, 40, 60), 99, np.uint32)
    labels, _ = finish(label_events(planes, INSTANCES_2D, ObjectOptions(min_size_px=0), out))
    assert labels is out
    assert same_objects(out[0], ball_stack)


def test_of_raw_outputs_the_largest_wins_and_a_single_one_is_thresholded():
    options = ObjectOptions(min_size_px=0, fill_holes=False)
    raw = np.zeros((3, 4, 6), np.float32)
    raw[0] = 5
    raw[1, :, 2:4] = 40
    raw[2, :, 4:] = 300
    assert decode(raw, RAW, options)[0][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert decode(raw[1:2], RAW, options)[0][0].tolist() == [0, 0, 1, 1, 0, 0]
