"""Smart fill: the object at a click, as the network sees it."""

import numpy as np
import pytest

from napari_unet.errors import LabelsError
from napari_unet.objects.editing.proposing import propose


def blobs(*centres, radius=12.0, shape=(100, 140)):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.max([1 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius)) for cy, cx in centres], axis=0)


FREE = np.ones((100, 140), bool)


def test_the_whole_object_is_proposed_and_nothing_else():
    found = propose(blobs((50, 40), (50, 100)), FREE, (55, 44))
    y, x = np.ogrid[:100, :140]
    assert np.mean(found != (np.hypot(y - 50, x - 40) <= 12)) < 0.002


def test_a_lower_threshold_gives_more():
    sizes = [propose(blobs((50, 40)), FREE, (50, 40), threshold).sum() for threshold in (0.9, 0.5, 0.1)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_touching_objects_are_told_apart_by_their_interiors():
    foreground = blobs((50, 50), (50, 72))
    interior = blobs((50, 50), (50, 72), radius=8)
    left = propose(foreground, FREE, (48, 46), interior=interior)
    assert left[50, 40]
    assert not left[50, 70]
    assert left[50, 58]


def test_other_objects_are_left_alone():
    free = FREE.copy()
    free[:, 44:] = False
    found = propose(blobs((50, 40)), free, (50, 36))
    assert not (found & ~free).any()
    with pytest.raises(LabelsError, match="Another object"):
        propose(blobs((50, 40)), free, (50, 46))


def test_a_faint_object_is_proposed_too_and_nothing_is_refused():
    faint = 0.3 * blobs((50, 40))
    found = propose(faint, FREE, (50, 40))
    assert 200 < found.sum() < 800
    with pytest.raises(LabelsError, match="sees no object"):
        propose(faint, FREE, (90, 130))


def test_holes_are_filled_and_volumes_work():
    volume = np.stack([blobs((50, 40), radius=radius) for radius in (1, 8, 12, 8, 1)])
    volume[2, 50, 40] = 0.1
    found = propose(volume, np.ones(volume.shape, bool), (2, 50, 44))
    assert found[2, 50, 40]
    assert found[1, 50, 40]
