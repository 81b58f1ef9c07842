"""The recipe of the bundled models: classes first, then flows as well; it goes on where it was interrupted."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import napari_unet as nu

RECIPES = Path(__file__).parents[2] / "training_recipes"
if not RECIPES.is_dir():
    pytest.skip("the recipes are not installed with the package", allow_module_level=True)
sys.path.insert(0, str(RECIPES))
train = pytest.importorskip("train")
sys.path.remove(str(RECIPES))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight images of squares, and a recipe for a tiny network."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "train" / "fluo" / part).mkdir(parents=True)
    for number in range(8):
        labels = np.kron(rng.integers(0, 2, (8, 8)) * np.arange(1, 65).reshape(8, 8), np.ones((14, 14), int))
        pixels = (200 * (labels > 0) + rng.integers(0, 30, labels.shape)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "train" / "fluo" / "images" / f"{number}.tif", pixels)
        tifffile.imwrite(tmp_path / "train" / "fluo" / "labels" / f"{number}.tif", labels.astype(np.uint16))
    tiny = train.Recipe(steps=3, flow_steps=3, batch=2, shares={"fluo": 1.0}, options={"widths": (4, 4, 4, 4, 4)})
    monkeypatch.setitem(train.RECIPES, "nuclei", tiny)
    monkeypatch.setattr(train, "CHECKPOINT_STEPS", 1)
    return tmp_path


def run(folder, monkeypatch, work, *options):
    monkeypatch.setattr(
        sys, "argv", ["train.py", "nuclei", "--data", str(folder), "--work", str(folder / work), *options]
    )
    threads = torch.get_num_threads()
    try:
        train.main()
    finally:
        torch.set_num_threads(threads)
    return nu.load_model(folder / work / "nuclei.safetensors")


def test_classes_are_learnt_first_and_then_flows_as_well(folder, monkeypatch, capsys):
    made = run(folder, monkeypatch, "work")
    assert made.spec.activation == "flows"
    assert made.trained
    classes = nu.load_model(folder / "work" / "nuclei-classes.safetensors")
    assert (classes.spec.activation, classes.network.out_channels) == ("softmax", 3)
    assert capsys.readouterr().out.count('"step": 3') == 2
    head = made.network.state_dict()["head.weight"]
    assert head[3:].any()


def test_an_interrupted_training_goes_on_and_ends_with_the_same_weights(folder, monkeypatch):
    whole = run(folder, monkeypatch, "whole")
    keep, kept = train.Run.keep, []

    def interrupted(self):
        keep(self)
        kept.append(self.step)
        if len(kept) == 4:  # after one step with flows
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Run, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, monkeypatch, "parts")
    monkeypatch.setattr(train.Run, "keep", keep)
    assert kept == [1, 2, 3, 1]
    assert run(folder, monkeypatch, "parts").sha256 == whole.sha256


def test_flows_can_be_learnt_from_weights_that_are_there(folder, monkeypatch):
    start = nu.new_model("unet-small", widths=(4, 4, 4, 4, 4)).with_spec(trained=True)
    path = start.save(folder / "start.safetensors")
    made = run(folder, monkeypatch, "work", "--start", str(path), "--steps", "0")
    assert made.spec.activation == "flows"
    assert not (folder / "work" / "nuclei-classes.safetensors").exists()
