"""Models as ONNX files, for programs that know nothing of PyTorch.

A file is only called exported after onnxruntime has computed with it, at sizes other than the one
that it was traced with, what the model computes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError
from napari_unet.export.answering import Answering, Output, compare, smallest_sides
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.weights.model import Model

OPSET = 18
"""Newer ones are not read by the programs of bioimage.io (JDLL)."""

LIBRARIES = ("onnx", "onnxruntime", "onnxscript")

# A protocol buffer cannot be larger.
MOST_BYTES = 2**31 - 2**24


def save_onnx(model: Model, path: str | os.PathLike[str], output: Output = "logits") -> Path:
    """Write a model to one ``.onnx`` file, compute with it, compare, and only then put it in place.

    The file takes any number of images of a smallest size plus any multiples of the stride
    (`napari_unet.export.answering.smallest_sides`), and its output has the size of the image. Its metadata
    hold the description of the model, which says among others how images are normalized beforehand.

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
        Of the file: "image" (N, C, [Z,] Y, X) float32 to `output` (N, class, [Z,] Y, X) float32.

    Raises
    ------
    ExportError
        If a library is missing, the network cannot be expressed in ONNX, the file cannot be written
        or computes something else; what stood there is unchanged.
    """
    check_libraries()
    answering = Answering(model, output)
    _check_size(model)
    program = _traced(answering, model, output)
    program.model.metadata_props["napari_unet"] = model.spec.model_dump_json()

    def write(file: Path) -> None:
        with _quiet():
            program.save(str(file), external_data=False)

    return replace_file(Path(path), write, lambda file: _compare(file, answering))


def check_libraries() -> None:
    """Check that what exporting needs is installed.

    Raises
    ------
    ExportError
        If something is missing.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"Exporting to ONNX needs {', '.join(missing)}. "
            'Install what is missing with: pip install "napari-unet[onnx]"'
        )


def _check_size(model: Model) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.network.state_dict().values())
    if size > MOST_BYTES:
        raise ExportError(f"The weights take {size / 2**30:.1f} GiB, and one ONNX file holds 2 GiB at most.")


def _traced(answering: Answering, model: Model, output: Output) -> Any:  # noqa: ANN401  # ONNXProgram
    """Express the network in ONNX for any number of images and any number of strides."""
    geometry = model.network.geometry
    # Sides that happen to be equal, or a single pixel at the bottom, would be taken for fixed.
    image = answering.example(2, (2, 3, 4))
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                answering,
                (image,),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1), **_sides(geometry)},),
                verbose=False,
            )
    except Exception as error:  # the exporter lets through whatever its passes raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f'The variant "{model.spec.network.variant}" could not be put into ONNX: {reason}') from error


def _sides(geometry: NetworkOptions) -> dict[int, Any]:
    """Return the sides of an image by its axis, as so many strides and what is left over."""
    names = "zyx"[3 - geometry.dims :]
    sides: dict[int, Any] = {}
    for axis, (name, stride, least) in enumerate(zip(names, geometry.strides, smallest_sides(geometry), strict=True)):
        strides = torch.export.Dim(name, min=1, max=2**16)
        side = stride * strides if stride > 1 else strides
        sides[axis + 2] = side + least % stride if least % stride else side
    return sides


def _compare(file: Path, answering: Answering) -> None:
    """Compute with the file what the network computes, at other sizes than the traced one."""
    import onnxruntime  # type: ignore[import-untyped]

    def run(image: Tensor) -> Tensor:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"image": image.numpy()})
        return torch.from_numpy(found)

    compare("ONNX", run, answering)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to its developers from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
