"""The annotator's membranes, seen with the sections beside them."""

import numpy as np
import pytest
import tifffile

import napari_unet as nu

pytest.importorskip("sklearn")
annotator = pytest.importorskip("benchmarks.annotation.annotator")
cells = pytest.importorskip("benchmarks.annotation.cells")
images = pytest.importorskip("benchmarks.annotation.images")
measuring = pytest.importorskip("benchmarks.annotation.measuring")
networks = pytest.importorskip("benchmarks.annotation.networks")


@pytest.fixture
def folder(tmp_path):
    """Eighteen sections, dark where there is membrane; the last two are for reporting."""
    membrane = np.zeros((18, 64, 64), np.uint8)
    membrane[:, ::16], membrane[:, :, ::16] = 1, 1
    noise = np.random.default_rng(0).integers(0, 30, membrane.shape)
    (tmp_path / "em_membrane").mkdir()
    tifffile.imwrite(tmp_path / "em_membrane" / "volume.tif", (200 - 150 * membrane + noise).astype(np.uint8))
    tifffile.imwrite(tmp_path / "em_membrane" / "membrane_labels.tif", membrane)
    return tmp_path


def test_sections_know_the_stack_of_their_split(folder):
    volume = tifffile.imread(folder / "em_membrane" / "volume.tif")
    for split, expected in (("train", volume[:16]), ("test", volume[16:])):
        for sample in images.read_samples(folder, "membrane", split):
            assert np.array_equal(sample.stack, expected)
            assert np.array_equal(sample.stack[sample.z], sample.pixels)


def test_only_corrected_sections_are_vouched_for(folder):
    corrected = annotator.correct(images.read_samples(folder, "membrane", "train"), 3, "whole", seed=0)
    (pair,) = networks.stacked(corrected)
    assert pair.reviewed.any(axis=(0, 2, 3)).sum() == 3
    for one in corrected:
        assert np.array_equal(pair.labels[0, one.sample.z], one.sample.labels)


def test_sections_beside_are_an_arm_of_membranes_only(folder):
    axes = {"seeds": [0], "kinds": ["colour", "membrane"], "ks": [1], "amounts": ["whole"], "seconds": [1.0]}
    found = cells.all_cells("test", {**axes, "arms": ["ours", "ours-2.5d"]})
    assert [cell.kind for cell in found if cell.arm == "ours-2.5d"] == ["membrane"]
    base = nu.new_model("unet", width=4, depth=2)
    measured = measuring.Bench(folder, base).measure(found[-1])
    assert found[-1].arm == "ours-2.5d"
    assert measured["scores"].keys() == {"dice", "rand_error"}
    assert measured["facts"]["steps"] > 0


def test_a_section_is_segmented_within_its_stack(folder):
    model = nu.new_model("unet", classes=networks.MEMBRANES, slices=3, width=4, depth=2).with_spec(trained=True)
    samples = images.read_samples(folder, "membrane", "test")
    whole = nu.segment(model, samples[0].stack)
    segment = networks.segmenter(model)
    assert all(np.array_equal(segment(sample), whole[sample.z]) for sample in samples)
