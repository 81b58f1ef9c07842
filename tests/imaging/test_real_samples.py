"""The real samples, and the promise that the bundled model makes about them."""

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

import napari_unet as nu
from napari_unet.imaging.samples import open_sample
from napari_unet.objects.linking import find_overlaps

NAMES = ("fluorescence", "tissue", "brightfield")


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_their_truth(name):
    sample = open_sample(name)
    assert sample.image.shape[:2] == sample.truth.shape
    assert len(sample.axes) == sample.image.ndim
    assert sample.truth.max() > 40


def average_precision(labels, truth):
    """TP / (TP + FP + FN) at an intersection over union of 0.5."""
    hits = int((find_overlaps(labels, truth).iou > 0.5).sum())
    found, true = (int((np.unique(x) > 0).sum()) for x in (labels, truth))
    return hits / (found + true - hits)


def otsu_watershed(image):
    """Segment as people do without a network."""
    grey = image @ [0.2125, 0.7154, 0.0721] if image.ndim == 3 else image.astype(float)
    if np.median(grey) > (grey.min() + grey.max()) / 2:
        grey = -grey
    grey = ndi.gaussian_filter(grey, 1)
    mask = ndi.binary_fill_holes(grey > threshold_otsu(grey))
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
    seeds = np.zeros(mask.shape, int)
    peaks = peak_local_max(distance, min_distance=7, labels=ndi.label(mask)[0], exclude_border=False)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundled_model_beats_otsu_and_watershed(name):
    sample = open_sample(name)
    ours = average_precision(nu.segment(nu.load_model("nuclei"), sample.image, axes=sample.axes), sample.truth)
    theirs = average_precision(otsu_watershed(sample.image), sample.truth)
    assert ours > theirs
