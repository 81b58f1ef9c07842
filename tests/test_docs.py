"""What the README and the documentation show can be run, and the doctests hold."""

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import napari_unet
from napari_unet.networks.drawing import draw
from napari_unet.weights.bundled import bundled
from napari_unet.weights.recognition.origins import origins

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: .+ -->\n)?"
    r"(?P<indent> *)```(?P<language>\w+)[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page; one is skipped by a comment before it that says why."""
    return [
        re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match["language"] == language and not match["skip"]
    ]


def pages_with(language: str):
    pages = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", pages, ids=[str(p.relative_to(ROOT)) for p in pages])


@pytest.fixture
def a_folder_with_images(tmp_path, monkeypatch):
    """The files that the examples name, small."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :120]
    centres = [(24, 24), (24, 72), (60, 40), (72, 96)]
    labels = np.zeros((96, 120), np.uint16)
    for number, (cy, cx) in enumerate(centres, 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 100] = number
    image = (rng.normal(300, 20, labels.shape) + 900 * (labels > 0)).astype(np.uint16)
    for name in ("nuclei.tif", "a.tif", "b.tif"):
        tifffile.imwrite(name, image, imagej=True, metadata={"axes": "YX"})
    tifffile.imwrite("nuclei_corrected.tif", labels, imagej=True, metadata={"axes": "YX"})
    return tmp_path


@pages_with("python")
def test_python_examples_run(page, a_folder_with_images):
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


@pages_with("console")
def test_command_line_examples_run(page, a_folder_with_images):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            command = shlex.split(line.removeprefix("$ "), comments=True)
            if not line.startswith("$ napari-unet"):
                continue
            if command[1:2] == ["demo"]:  # opens a window; `make demo` runs it
                command = [*command[:2], "--help"]
            ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"


def test_commands_in_the_text_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?:`|^)(?:\$ )?make ([a-z-]+)(?=[ `\n])", text, flags=re.MULTILINE)
        assert set(named) <= targets, page
        extras = {e for group in re.findall(r"napari-unet\[([\w,]+)\]", text) for e in group.split(",")}
        assert extras <= set(project["optional-dependencies"]), page


def test_the_reference_shows_every_public_name():
    text = (ROOT / "docs" / "python-api.md").read_text()
    for name in set(napari_unet.__all__) - {"__version__", "NapariUnetError"}:
        assert re.search(rf"^::: napari_unet\.[\w.]+\.{name}$", text, flags=re.MULTILINE), name
    assert "::: napari_unet.errors" in text


def test_the_models_page_shows_every_bundled_model():
    text = (ROOT / "docs" / "models.md").read_text()
    for name in bundled():
        assert f"`{name}`" in text


@pytest.mark.parametrize("name", list(napari_unet.variants()))
def test_the_page_of_variants_is_true(name):
    """`make variants` writes it again."""
    text = (ROOT / "docs" / "variants.md").read_text()
    row = re.search(rf"^\| \[{re.escape(name)}\]\(#\S+\) \| ([\d,]+) \| (\d+) \|", text, flags=re.MULTILINE)
    with torch.device("meta"):
        network = napari_unet.build_network(name, in_channels=1, out_channels=2)
    assert int(row[1].replace(",", "")) == sum(parameter.numel() for parameter in network.parameters())
    assert int(row[2]) == network.stride
    picture = re.search(rf"^## {re.escape(name)} .*?\]\((\S+\.svg)\)", text, flags=re.MULTILINE | re.DOTALL)
    assert (ROOT / "docs" / picture[1]).read_text() == draw(network.geometry.outline(1, 2), 520)


def test_the_page_of_weights_names_every_family_and_format():
    text = (ROOT / "docs" / "weights.md").read_text()
    assert [origin.name for origin in origins() if origin.name not in text] == []
    assert all(f"`{suffix}`" in text for suffix in (".pt", ".ckpt", ".safetensors", ".keras", ".h5", ".npz", ".onnx"))


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert (
        f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
        or "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )


MODULES = [
    module.name
    for module in pkgutil.walk_packages(napari_unet.__path__, "napari_unet.")
    if not module.name.startswith("napari_unet.gui") and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_doctests_hold(name):
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    assert failed == 0
