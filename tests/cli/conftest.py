"""What the tests of the command line share."""

import sys

import numpy as np
import pytest
import tifffile

import napari_unet as nu
from napari_unet.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["napari-unet", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return exit_.value.code or 0, out, err

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A small model with random weights."""
    return nu.new_model("unet", width=8, depth=2).save(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def cells(tmp_path):
    """An ImageJ TIFF of 70 x 90 pixels of 0.5 µm."""
    values = np.random.default_rng(0).integers(0, 200, (70, 90), dtype="uint8")
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, values, imagej=True, resolution=(2, 2), metadata={"unit": "um", "axes": "YX"})
    return path


@pytest.fixture
def corrected(tmp_path):
    """Two images of bright squares, their labels, and a reviewed region of each."""
    files = {"image": [], "labels": [], "reviewed": []}
    for number in range(2):
        labels = np.zeros((64, 64), "uint16")
        for i in range(9):
            y, x = 4 + 20 * (i // 3), 4 + 20 * (i % 3)
            labels[y : y + 11, x : x + 11] = i + 1
        image = np.where(labels > 0, 170, 60) + np.random.default_rng(number).normal(0, 5, labels.shape)
        reviewed = np.zeros((64, 64), "uint8")
        reviewed[:, :40] = 1
        for kind, array in (("image", image.astype("uint8")), ("labels", labels), ("reviewed", reviewed)):
            files[kind].append(tmp_path / f"{kind}{number}.tif")
            tifffile.imwrite(files[kind][-1], array)
    return files
