"""The command line: segment, finetune, export, models and demo."""

from napari_unet.cli.app import main

__all__ = ["main"]
