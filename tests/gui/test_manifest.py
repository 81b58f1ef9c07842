"""What napari is told about the plugin."""

import importlib
from pathlib import Path

from npe2 import PluginManifest

import napari_unet

FOLDER = Path(napari_unet.__file__).parent


def test_every_command_exists():
    manifest = PluginManifest.from_file(FOLDER / "napari.yaml")
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_step_and_the_workbench_are_in_the_menu():
    manifest = PluginManifest.from_file(FOLDER / "napari.yaml")
    names = [widget.display_name for widget in manifest.contributions.widgets]
    steps = ["1 Model", "2 Segment", "3 Correct", "4 Fine-tune", "5 Export"]
    assert names == ["U-Net workbench", *steps, "Objects", "Many images"]


def test_the_copy_at_the_top_is_the_same_file():
    top = FOLDER.parent / "napari.yaml"
    if top.exists():
        assert top.read_text() == (FOLDER / "napari.yaml").read_text() or top.read_text() == "napari_unet/napari.yaml"
