"""Synthetic volumes: objects as a labelled stack has them, and an image as a microscope and a camera give it."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi

RECIPES = Path(__file__).parents[2] / "training_recipes"
if not RECIPES.is_dir():
    pytest.skip("the recipes are not installed with the package", allow_module_level=True)
sys.path.insert(0, str(RECIPES))
volumes = pytest.importorskip("volumes")
train_3d = pytest.importorskip("train_3d")
sys.path.remove(str(RECIPES))

SHAPE = (16, 48, 48)
TISSUE = volumes.Tissue(shape=SHAPE, voxel=(1.0, 0.5), diameter=6.0, fill=0.3, dents=0.05)


def light_of(point_at, tissue=TISSUE, **optics):
    """What a microscope makes of single points."""
    light = np.zeros(tissue.shape, np.float32)
    for place in point_at:
        light[place] = 1000
    return volumes.see(light, tissue, volumes.Optics(haze=0, **optics))


def width(profile):
    """Standard deviation of a profile, in pixels."""
    places = np.arange(len(profile))
    middle = np.average(places, weights=profile)
    return math.sqrt(np.average((places - middle) ** 2, weights=profile))


@pytest.mark.parametrize("number", range(4))
def test_nuclei_are_whole_numbered_without_gaps_and_not_tiny(number):
    image, labels = train_3d.synthesize(5, number)
    assert image.dtype == np.uint16
    assert image.shape == labels.shape
    count = labels.max()
    assert count >= 3
    assert np.array_equal(np.unique(labels), np.arange(count + 1))
    assert np.bincount(labels.ravel())[1:].min() >= volumes.SMALLEST_PX
    assert all(ndi.label(labels[box] == i)[1] == 1 for i, box in enumerate(ndi.find_objects(labels), start=1))


def test_the_same_seed_makes_the_same_volume_and_another_a_different_one():
    one, again, other = (train_3d.synthesize(seed, 0) for seed in (1, 1, 2))
    assert np.array_equal(one[0], again[0])
    assert np.array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])


def test_a_nucleus_has_the_size_that_was_asked_for_in_pixels_of_each_axis():
    tissue = volumes.Tissue(SHAPE, (1.0, 0.5), diameter=6.0, spread=0.0, tilt=0.0, fill=0.1, distance=1.2, dents=0.0)
    sizes = []
    for seed in range(6):
        labels, _ = volumes.place_nuclei(tissue, np.random.default_rng(seed))
        for box in ndi.find_objects(labels):
            # Those at the edge are cut.
            if all(span.start > 0 and span.stop < n for span, n in zip(box, SHAPE, strict=True)):
                sizes += [[span.stop - span.start for span in box]]
    assert len(sizes) >= 5
    assert np.median(sizes, axis=0) == pytest.approx([6, 12, 12], rel=0.2)


@pytest.mark.parametrize(("distance", "touches"), [(0.7, True), (1.6, False)])
def test_nuclei_touch_where_they_may_come_near_to_each_other(distance, touches):
    tissue = volumes.Tissue(SHAPE, (0.5, 0.5), diameter=5.0, spread=0.0, fill=0.6, distance=distance, dents=0.0)
    labels, _ = volumes.place_nuclei(tissue, np.random.default_rng(0))
    nothing = np.iinfo(labels.dtype).max
    lowest = ndi.minimum_filter(np.where(labels == 0, nothing, labels), 3)
    meeting = ((ndi.maximum_filter(labels, 3) != lowest) & (labels > 0)).sum() / (labels > 0).sum()
    assert (meeting > 0.05) == touches


def test_a_point_is_as_wide_as_theory_says_and_longer_along_z():
    optics = {"aperture": 0.8, "index": 1.33, "wavelength": 0.52, "confocal": False, "scattering": 0.0}
    fine = volumes.Tissue(shape=(61, 41, 41), voxel=(0.2, 0.1), diameter=20.0)
    seen = light_of([(30, 20, 20)], fine, **optics, attenuation=math.inf)
    lateral, axial = 0.225 * 0.52 / 0.8, 0.78 * 1.33 * 0.52 / 0.8**2
    assert width(seen.sum((1, 2))) * 0.2 == pytest.approx(axial, rel=0.05)
    assert width(seen.sum((0, 1))) * 0.1 == pytest.approx(lateral, rel=0.05)
    assert axial > 2 * lateral


def test_a_pinhole_sharpens_and_aberration_blurs():
    wide, confocal = (volumes.Optics(confocal=confocal) for confocal in (False, True))
    assert wide.spread[0] / confocal.spread[0] == pytest.approx(math.sqrt(2))
    assert volumes.Optics(aberration=2).spread[1] == pytest.approx(2 * confocal.spread[1])


def test_deeper_is_dimmer_and_more_blurred():
    seen = light_of([(3, 24, 24), (12, 24, 24)], attenuation=10.0, scattering=1.0)
    near, far = seen[:8], seen[8:]
    assert near.sum() / far.sum() == pytest.approx(math.exp(9 / 10), rel=0.05)
    assert width(far.sum((0, 1))) > 1.2 * width(near.sum((0, 1)))


def test_haze_lights_up_what_is_dark():
    light = np.zeros(SHAPE, np.float32)
    light[8, 24, 24] = 1000
    clear, hazy = (volumes.see(light, TISSUE, volumes.Optics(haze=haze)) for haze in (0.0, 0.4))
    assert hazy[8, 24, 34] > clear[8, 24, 34] + 0.01
    assert hazy[8, 24, 24] < clear[8, 24, 24]


def test_a_camera_has_an_offset_photon_noise_and_read_noise():
    rng = np.random.default_rng(0)
    camera = volumes.Camera(photons=50, background=0.1, read_noise=3.0, gain=2.0, offset=100)
    dark, bright = (volumes.count(np.full((20, 40, 40), light, np.float32), camera, rng) for light in (0.0, 1.0))
    assert dark.dtype == np.uint16
    assert dark.mean() == pytest.approx(100 + 2 * 5, rel=0.02)
    assert bright.mean() == pytest.approx(100 + 2 * 55, rel=0.02)
    assert dark.var() == pytest.approx(4 * (5 + 9), rel=0.1)
    assert bright.var() == pytest.approx(4 * (55 + 9), rel=0.1)


def test_counts_stay_within_what_a_camera_can_count():
    camera = volumes.Camera(photons=1e5, gain=10, offset=0)
    light = np.linspace(0, 2, 1000, dtype=np.float32).reshape(10, 10, 10)
    assert volumes.count(light, camera, np.random.default_rng(0)).max() == 65535


def test_nuclei_are_never_drawn_too_flat_or_too_blurred_to_be_told_apart():
    for seed in range(200):
        tissue, optics, _ = volumes.draw_settings(np.random.default_rng(seed), (20, 30), 64)
        height_px, width_px = tissue.diameter * tissue.flatness / tissue.voxel[0], tissue.diameter / tissue.voxel[1]
        assert height_px >= min(volumes.LEAST_SLICES, tissue.flatness * width_px) - 1e-6
        axial, lateral, _ = volumes.spread_px(tissue, optics)
        assert axial <= volumes.MOST_BLUR * height_px + 1e-6
        assert lateral <= volumes.MOST_BLUR * width_px
        assert tissue.voxel[0] >= tissue.voxel[1]


def test_a_step_has_the_same_patches_whenever_it_is_drawn(monkeypatch):
    monkeypatch.setattr(train_3d, "POOL", 2)
    monkeypatch.setattr(train_3d, "SIDE_PX", 64)
    first, later = train_3d.VolumeSampler(2, seed=3)[7], train_3d.VolumeSampler(2, seed=3)[7]
    assert all(bool((a == b).all()) for a, b in zip(first[:4], later[:4], strict=True))
    assert first.labels is None  # flows are for planes
    assert first.image.shape == (2, 1, *train_3d.PATCH_PX)
    assert first.target.unique().tolist() == [0, 1, 2]
    assert float(first.distance[first.target != 1].max()) == 0
    other = train_3d.VolumeSampler(2, seed=3)[8]
    assert not bool((first.image == other.image).all())
