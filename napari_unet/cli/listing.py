"""``napari-unet models``: what is here and what can be trained, which needs no torch; and what a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from napari_unet.errors import ModelError
from napari_unet.networks.registry import variants
from napari_unet.weights.bundled import bundled, own
from napari_unet.weights.file import read_spec
from napari_unet.weights.spec import ModelSpec


def list_models() -> None:
    """Print the models that come with the package, the user's own, and the variants."""
    _section("Models", {name: _describe(path) for name, path in bundled().items()})
    _section("Your models", {name: _describe(path) for name, path in own().items()})
    _section("Variants, to be trained with napari-unet finetune", variants())


def inspect_weights(source: str, answers: Mapping[str, Any]) -> None:
    """Open a weights file and print what was recognised in it.

    Raises
    ------
    ModelError
        If it cannot be opened.
    """
    from napari_unet.weights.loading import load_model

    model = load_model(source, **answers)
    typer.echo(str(model.report) if model.report is not None else _in_words(model.spec))


def _section(title: str, lines: dict[str, str]) -> None:
    if lines:
        width = max(map(len, lines))
        typer.echo(f"{title}:")
        for name, line in lines.items():
            typer.echo(f"  {name:{width}}  {line}")


def _describe(path: Path) -> str:
    try:
        spec = read_spec(path)
    except ModelError as error:
        return str(error)
    return _in_words(spec)


def _in_words(spec: ModelSpec) -> str:
    kind = "planes" if spec.dims == 2 else "volumes"
    gives = "objects" if spec.meaning == "instances" else ", ".join(spec.foreground_classes)
    trained = f"; trained on {spec.provenance.trained_on}" if spec.provenance.trained_on else ""
    return f"{spec.name}: {gives} in {kind}, {spec.network.variant}{trained}"
