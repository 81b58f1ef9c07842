"""Models as TorchScript files, for programs that know PyTorch and nothing of this package.

A file is only called exported after it has computed, read back and at sizes other than the one that
it was traced with, what the model computes.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError
from napari_unet.export.answering import Answering, Output, compare
from napari_unet.weights.model import Model

DESCRIPTION = "napari_unet.json"
"""Name of the description of the model inside of the file."""


def save_torchscript(model: Model, path: str | os.PathLike[str], output: Output = "logits") -> Path:
    """Write a model to one TorchScript file, compute with it, compare, and only then put it in place.

    The file takes any number of images of a smallest size plus any multiples of the stride
    (`napari_unet.export.answering.smallest_sides`), and its output has the size of the image. It also holds
    the description of the model, which says among others how images are normalized beforehand.

    Parameters
    ----------
    model : Model
        Is not changed.
    path : str or path-like
    output : "logits" | "probabilities"
        What the file gives.

    Returns
    -------
    Path
        Of the file: from (N, C, [Z,] Y, X) float32 to (N, class, [Z,] Y, X) float32.

    Raises
    ------
    ExportError
        If the network cannot be traced, or the file cannot be written or computes something else; what
        stood there is unchanged.
    """
    answering = Answering(model, output)
    program = _traced(answering, model)
    description = {DESCRIPTION: model.spec.model_dump_json()}

    def write(file: Path) -> None:
        with _quiet():
            torch.jit.save(program, str(file), _extra_files=description)

    return replace_file(Path(path), write, lambda file: _compare(file, answering))


def _traced(answering: Answering, model: Model) -> Any:  # noqa: ANN401  # torch.jit.ScriptModule has no types
    """Follow the network through one image of unequal sides."""
    try:
        with _quiet(), torch.no_grad():
            trace: Any = torch.jit.trace  # it has no types
            return trace(answering, answering.example(2, (2, 3, 4)), check_trace=False)
    except Exception as error:  # whatever its layers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f'The variant "{model.spec.network.variant}" could not be put into TorchScript: {reason}'
        ) from error


def _compare(file: Path, answering: Answering) -> None:
    """Compute with the file what the network computes, at other sizes than the traced one."""
    with _quiet():
        program = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(image: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = program(image)
        return found

    compare("TorchScript", run, answering)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what tracing says to developers: that it sees one size only, and is out of fashion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
