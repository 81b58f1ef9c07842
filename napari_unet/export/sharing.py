"""A model as a file for somebody else, in whichever of the formats suits them. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

from napari_unet.errors import ExportError
from napari_unet.events import Event, Progress
from napari_unet.export.package.card import PackageCard
from napari_unet.networks.spec import Config

if TYPE_CHECKING:
    from napari_unet.export.package.writing import Shown
    from napari_unet.weights.model import Model

Format = Literal["model", "package", "torchscript", "onnx"]
SUFFIXES: dict[Format, str] = {"model": ".safetensors", "package": ".zip", "torchscript": ".pt", "onnx": ".onnx"}
FORMATS: dict[Format, str] = {
    "model": "A model file of napari-unet: to be used and fine-tuned further, here or on another computer.",
    "package": "A bioimage.io package: for ilastik, deepImageJ, QuPath, the model zoo, and napari-unet.",
    "torchscript": "A TorchScript program: for programs that know PyTorch.",
    "onnx": "An ONNX network: for programs that know nothing of PyTorch.",
}


class ShareOptions(Config):
    """How a model is shared.

    Attributes
    ----------
    format : "model" | "package" | "torchscript" | "onnx"
    output : "probabilities" | "logits"
        What the network gives; a model file holds both.
    card : PackageCard, optional
        Needed by "package" alone.
    """

    format: Format = "model"
    output: Literal["probabilities", "logits"] = "probabilities"
    card: PackageCard | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """A file that has been written, and in sentences what its user has to mind."""

    path: Path
    notes: tuple[str, ...] = ()


def format_of(path: Path) -> Format:
    """Tell the format from the suffix of a file.

    >>> format_of(Path("nuclei.onnx"))
    'onnx'

    Raises
    ------
    ExportError
        If there is none of that suffix.
    """
    for name, suffix in SUFFIXES.items():
        if path.suffix.lower() == suffix:
            return name
    known = ", ".join(f"{suffix} ({FORMATS[name].partition(':')[0]})" for name, suffix in SUFFIXES.items())
    raise ExportError(f'What "{path.name}" shall be cannot be told from its name. Choose one that ends in {known}.')


def share_events(
    path: Path, model: Model, options: ShareOptions, shown: Shown | None = None
) -> Generator[Event, None, Shared]:
    """Write a model, and say how far it is.

    Parameters
    ----------
    path : Path
    model : Model
        Is not changed.
    options : ShareOptions
    shown : Shown, optional
        Where a package takes its test image from; by default from an image that comes with this program.

    Raises
    ------
    ExportError
        If it cannot be written in this format; what stood there is unchanged.
    """
    if options.format == "package":
        return (yield from _package_events(path, model, options, shown))
    yield Progress("Writing the model", 0, 1)
    match options.format:
        case "model":
            return Shared(model.save(path))
        case "torchscript":
            from napari_unet.export.torchscript import save_torchscript

            return Shared(save_torchscript(model, path, options.output), (_to_scale(model, options),))
        case "onnx":
            from napari_unet.export.onnx import save_onnx

            return Shared(save_onnx(model, path, options.output), (_to_scale(model, options),))
        case _:
            assert_never(options.format)


def _package_events(
    path: Path, model: Model, options: ShareOptions, shown: Shown | None
) -> Generator[Event, None, Shared]:
    from napari_unet.export.package.writing import package_events

    if options.card is None:
        raise ExportError("A package says who made the model. Give the name of at least one author.")
    written = yield from package_events(path, model, options.card, shown=shown, output=options.output)
    return Shared(written.path, written.notes)


def _to_scale(model: Model, options: ShareOptions) -> str:
    slices = model.spec.slices
    shown = f", {slices} slices in a row as the channels of the middle one" if slices > 1 else ""
    return (
        f"It takes images that are normalized already{shown}, gives {options.output}, and describes the model inside."
    )
