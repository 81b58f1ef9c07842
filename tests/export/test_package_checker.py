"""The model zoo's own checker and library, in an environment of its own, accept and run the packages that we write.

`bioimageio.core` wants other versions of what we use, so it is not among our dependencies. An environment that is
there already can be named by ``NAPARI_UNET_CHECKER``, the path of its Python.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_unet as nu
from napari_unet.imaging.samples import open_sample
from napari_unet.imaging.synthetic import nuclei_stack

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("bioimageio_checker.py")
CHECKER = ("bioimageio.core==0.11.0", "pydantic<2.14")
# What both environments run, in the same versions.
SHARED = ("torch", "onnx", "onnxruntime", "numpy")
CARD = nu.PackageCard(authors=("Ada Author",), cite=("10.1038/s41592-019-0612-7",))


@pytest.fixture(scope="module")
def checker(tmp_path_factory):
    """Python of an environment with the checker."""
    ready = os.environ.get("NAPARI_UNET_CHECKER")
    if ready:
        return ready
    folder = tmp_path_factory.mktemp("checker")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    wanted = [*CHECKER, *(f"{name}=={version(name)}" for name in SHARED)]
    made = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"the checker cannot be installed: {made.stderr.strip().splitlines()[-1]}")
    return python


def check(checker, package, images):
    """Check a package, and run it on images (1, C, [Z,] Y, X)."""
    given, results = package.with_name("images.npz"), package.with_name("results.npz")
    np.savez(given, **images)
    environment = {**os.environ, "BIOIMAGEIO_CACHE_PATH": str(package.parent / "cache")}
    ran = subprocess.run(
        [checker, SCRIPT, package, given, results], capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1]), dict(np.load(results))


def lively(model, seed=0):
    """Give a random model weights that matter, as a fine-tuned one has."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.with_spec(trained=True, name=f"{model.spec.name}, fine-tuned")


def planes():
    image = open_sample("fluorescence").image
    return nu.load_model("nuclei-small"), {"a": image[:240, 100:420], "b": image[:320, :432].astype(np.uint16) * 7}


def fine_tuned():
    model = nu.new_model("unet", 1, ("background", "cell body", "nucleus"), width=4, depth=2)
    image = open_sample("fluorescence").image
    return lively(model).with_spec(pixel_size_um=0.5, normalization={"method": "z-score"}), {"a": image[:200, :304]}


def colour():
    model = nu.new_model("unet-batchnorm-crop", 3, ("background", "cell"), width=4, depth=2)
    image = np.moveaxis(open_sample("tissue").image, -1, 0)
    fixed = {"method": "fixed", "low": (0.0,), "high": (255.0,)}
    return lively(model).with_spec(normalization=fixed, activation="sigmoid"), {"a": image[:, :232, :260]}


def volumes():
    return nu.load_model("nuclei-3d"), {"a": nuclei_stack((52, 64, 60)).image}


@pytest.mark.parametrize("kind", [planes, fine_tuned, colour, volumes])
def test_the_checker_passes_and_its_library_gives_our_results(tmp_path, checker, kind):
    model, images = kind()
    output = "logits" if kind is fine_tuned else "probabilities"
    package = nu.save_package(tmp_path / "package.zip", model, CARD, output=output)
    batches = {name: image.reshape(1, model.spec.network.in_channels, *image.shape[-model.spec.dims :])
               for name, image in images.items()}  # fmt: skip
    report, results = check(checker, package, batches)
    assert report["status"] == "passed", report
    assert not report["faults"]
    assert report["warned"] == [
        "inputs.0.sample_tensor",
        "outputs.0.sample_tensor",
        "weights.onnx",
        "weights.torchscript",
    ]
    assert {name.partition("/")[0] for name in results} == {"torchscript", "onnx"}
    for name, found in results.items():
        image = images[name.split("/")[1]]
        shown = model.with_spec(activation="none") if output == "logits" else model
        axes = "C" * (image.ndim > model.spec.dims) + "ZYX"[3 - model.spec.dims :]
        expected = nu.predict(shown, image, axes=axes)
        # in tiles, the library mirrors the image at its border, and we do not
        inside = slice(96, -96)
        kept = (..., *(inside,) * model.spec.dims) if name.endswith("tiles") else ...
        np.testing.assert_allclose(found[0][kept], expected[kept], atol=1e-4, err_msg=name)
