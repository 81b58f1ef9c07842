"""The models that come with the package: small, described, and good for what they say."""

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.imaging.samples import open_sample
from napari_unet.imaging.synthetic import nuclei_stack
from napari_unet.objects.linking import find_overlaps
from napari_unet.weights.bundled import bundled, own, own_folder
from napari_unet.weights.file import read_spec

MEGABYTES = {"nuclei": 10, "nuclei-3d": 3, "nuclei-fluorescence": 10, "nuclei-small": 1}
# Far below what they reach on these three images, and far above what anything broken would.
LEAST = {"fluorescence": 0.6, "tissue": 0.3, "brightfield": 0.3}
# What each is for; the one for volumes has a test of its own.
SAMPLES = {"nuclei-3d": [], "nuclei-fluorescence": ["fluorescence"], "nuclei-small": ["fluorescence", "tissue"]}


@pytest.fixture(params=bundled())
def name(request):
    return request.param


def test_each_is_small_enough_for_a_package(name):
    assert bundled()[name].stat().st_size <= MEGABYTES[name] * 1e6


def test_each_says_what_it_was_trained_on_and_may_be_used_for(name):
    spec = read_spec(bundled()[name])
    assert spec.trained
    assert spec.provenance.license == "CC0-1.0"
    assert "images of nuclei" in spec.provenance.trained_on
    assert spec.provenance.source
    assert spec.diameter_px > 10


def test_each_gives_three_maps_that_are_probabilities(name):
    maps = nu.predict(nu.load_model(name), open_sample("fluorescence").image[:64, :80])
    assert maps.shape == (3, 64, 80)
    assert np.allclose(maps.sum(axis=0), 1, atol=1e-4)
    assert nu.load_model(name).spec.classes == ("background", "interior", "border")


def test_each_finds_the_nuclei_of_the_samples(name):
    model = nu.load_model(name)
    for sample_name in SAMPLES.get(name, LEAST):
        sample = open_sample(sample_name)
        labels = nu.segment(model, sample.image, axes=sample.axes)
        assert precision(labels, sample.truth) >= LEAST[sample_name], sample_name


def test_the_model_for_volumes_finds_nuclei_in_a_stack_that_another_program_made():
    made = nuclei_stack((16, 80, 80), 10, seed=0)
    labels = nu.segment(nu.load_model("nuclei-3d"), made.image)
    assert precision(labels, made.truth) >= 0.6


def precision(labels, truth):
    """AP = TP / (TP + FP + FN) at IoU 0.5."""
    hits = int((find_overlaps(labels, truth).iou > 0.5).sum())
    return hits / (int(labels.max()) + int(truth.max()) - hits)


def test_the_general_model_is_listed_first():
    assert next(iter(bundled())) == "nuclei"


def test_a_folder_that_is_not_there_holds_no_models(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "nowhere"))
    assert not own_folder().exists()
    assert own() == {}
