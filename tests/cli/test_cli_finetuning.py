"""What ``napari-unet finetune`` takes for labels."""

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.cli.finetuning import PairFiles, read_pairs


def outlined(path, labels, axes=None):
    """Save labels as outlines, as Fiji or QuPath would."""
    return nu.save_rois(path, labels, axes) if path.suffix == ".zip" else nu.save_geojson(path, labels, axes)


@pytest.mark.parametrize("name", ["traced.zip", "traced.geojson"])
def test_outlines_of_other_programs_are_learnt_from(run, tiny, corrected, tmp_path, name):
    labels = outlined(tmp_path / name, tifffile.imread(corrected["labels"][0]))
    out = tmp_path / "new.safetensors"
    words = ["--image", corrected["image"][0], "--labels", labels, "--seconds", 1, "--device", "cpu"]
    code, said, err = run("finetune", "-m", tiny, *words, "--out", out)
    assert code == 0, err
    assert str(out) in said
    assert out.exists()


@pytest.mark.parametrize("name", ["traced.zip", "traced.geojson"])
def test_outlines_lie_where_they_were_drawn_also_in_colour_images_and_stacks(tmp_path, name):
    labels = np.zeros((2, 20, 30), "uint16")
    labels[0, 2:9, 3:12], labels[1, 11:18, 15:28] = 1, 2
    np.save(tmp_path / "stack.npy", np.zeros((2, 20, 30, 3), "uint8"))
    reviewed = outlined(tmp_path / f"reviewed-{name}", (labels > 1).astype("uint8"), "TYX")
    files = PairFiles([tmp_path / "stack.npy"], [outlined(tmp_path / name, labels, "TYX")], [reviewed], "TYXC")
    (pair,) = read_pairs(files)
    assert np.array_equal(pair.labels[:, 0], labels)
    assert np.array_equal(pair.reviewed[:, 0], labels > 1)


def test_outlines_that_are_left_out_are_told(corrected, tmp_path, capsys):
    labels = np.zeros((80, 80), "uint8")
    labels[2:9, 2:9], labels[70:78, 70:78] = 1, 2  # the image ends at 64
    nu.save_rois(tmp_path / "larger.zip", labels)
    (pair,) = read_pairs(PairFiles(corrected["image"][:1], [tmp_path / "larger.zip"], []))
    assert pair.labels.max() == 1
    assert "larger.zip: " in capsys.readouterr().err


def test_labels_of_another_image_are_a_sentence(run, tiny, corrected, tmp_path):
    tifffile.imwrite(tmp_path / "other.tif", np.ones((32, 48), "uint8"))
    words = [
        "--image",
        corrected["image"][0],
        "--labels",
        tmp_path / "other.tif",
        "--out",
        tmp_path / "new.safetensors",
    ]
    code, _, err = run("finetune", "-m", tiny, *words)
    assert code == 1
    assert '"other.tif" holds labels of the shape 32 × 48, and the image has 64 × 64' in err


@pytest.fixture
def stack(corrected, tmp_path):
    """Five slices of squares, with labels of all of them."""
    words = []
    for kind in ("image", "labels"):
        plane = tifffile.imread(corrected[kind][0])
        path = tmp_path / f"{kind}-stack.tif"
        tifffile.imwrite(path, np.stack([plane] * 5), imagej=True, metadata={"axes": "ZYX"})
        words += [f"--{kind}", path]
    return [*words, "--seconds", 1, "--device", "cpu"]


def test_neighbouring_slices_are_shown_if_asked_for(run, tiny, stack, tmp_path):
    out = tmp_path / "slices.safetensors"
    code, said, err = run("finetune", "-m", tiny, *stack, "--slices", 3, "--out", out)
    assert code == 0, err
    assert str(out) in said
    model = nu.load_model(out)
    assert (model.spec.slices, model.spec.network.in_channels) == (3, 3)
    code, _, err = run("finetune", "-m", out, *stack, "--slices", 1, "--out", tmp_path / "again.safetensors")
    assert code == 1
    assert "learnt from 3 slices at once" in err
    code, _, err = run("segment", stack[1], "-m", out, "--out", tmp_path / "found", "--device", "cpu")
    assert code == 0, err


@pytest.mark.parametrize("slices", [0, 2, 11])
def test_an_impossible_number_of_slices_is_a_sentence(run, tiny, stack, tmp_path, slices):
    code, _, err = run("finetune", "-m", tiny, *stack, "--slices", slices, "--out", tmp_path / "new.safetensors")
    assert code == 1
    assert f"{slices} is not allowed for slices" in err
    assert "Value error" not in err


def test_a_variant_is_trained_on_slices_from_the_beginning(run, stack, tmp_path):
    out = tmp_path / "new.safetensors"
    code, _, err = run("finetune", "-m", "unet-small", *stack, "--slices", 3, "--out", out)
    assert code == 0, err
    assert nu.load_model(out).spec.slices == 3
