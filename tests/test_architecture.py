"""The conventions that a machine can check cheaply; who may import whom is `make floors`."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "napari_unet"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def functions() -> dict[str, int]:
    found = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines_of_code(node)
    return found


def test_no_function_is_longer_than_60_lines():
    assert not {name: lines for name, lines in functions().items() if lines > 60}


def test_nine_of_ten_functions_fit_25_lines():
    lengths = sorted(functions().values())
    assert lengths[int(0.9 * len(lengths))] <= 25


def test_no_file_is_longer_than_400_lines():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_the_package_is_light():
    heavy = {"torch", "napari", "qtpy", "PySide6", "PyQt6", "magicgui", "skimage", "zarr", "dask"}
    assert not loaded_by("import napari_unet") & heavy


@pytest.mark.parametrize("room", ["jobs.requests", "weights.spec", "networks.spec"])
def test_descriptions_do_not_load_torch(room):
    assert "torch" not in loaded_by(f"import napari_unet.{room}")


HEADLESS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"napari", "qtpy", "PySide6", "PyQt6", "magicgui", "superqt", "pyqtgraph"}:
            raise ImportError(name + " is not for the compute rooms")

sys.meta_path.insert(0, Blocked())

import numpy as np
import napari_unet as nu

y, x = np.mgrid[:96, :96]
labels = np.zeros((96, 96), np.uint16)
for number, (cy, cx) in enumerate([(20, 20), (20, 70), (50, 45), (75, 20), (75, 75)], 1):
    labels[(y - cy) ** 2 + (x - cx) ** 2 < 81] = number
image = (labels > 0) * 100.0 + np.random.default_rng(0).normal(0, 5, labels.shape)
model = nu.new_model("unet-small", width=4, depth=2)
assert nu.predict(model, image).shape == (3, 96, 96)
result = nu.finetune(model, [(image, labels)], seconds=2, device="cpu")
assert result.history
nu.save_masks(sys.argv[1], nu.segment(result.candidate, image))
"""


def test_predict_finetune_and_export_run_without_napari_and_qt(tmp_path):
    target = tmp_path / "masks.tif"
    ran = subprocess.run([sys.executable, "-c", HEADLESS, str(target)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert target.is_file()


def test_manifest_puts_items_only_into_menus_that_napari_shows():
    # napari drops other menu ids without a word.
    from napari._app_model.constants import MenuId
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    shown = {menu.value for menu in MenuId if menu.value.startswith(("napari/file/", "napari/layers/"))}
    for menu in manifest.contributions.menus or {}:
        assert not menu.startswith("napari/") or menu in shown, menu


def exists(dotted: str) -> bool:
    """Whether a dotted name leads to a module, or to something in one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def test_the_pipeline_page_names_functions_that_exist():
    text = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(napari_unet(?:\.\w+)+)`", text))
    assert len(names) >= 10
    assert not {name for name in names if not exists(name)}
