"""Models as ONNX files, for programs that know nothing of PyTorch.

A file is only called exported after onnxruntime has computed with it, at sizes other than the one
that it was traced with, what the model computes.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from napari_unet.atomic import replace_file
from napari_unet.errors import ExportError
from napari_unet.networks.options.base import NetworkOptions
from napari_unet.networks.variants import FAMILIES, VARIANTS
from napari_unet.weights.model import Model

OPSET = 18
"""Newer ones are not read by the programs of bioimage.io (JDLL)."""

Output = Literal["logits", "probabilities"]

# A protocol buffer cannot be larger.
MOST_BYTES = 2**31 - 2**24
TOLERANCE = 1e-3


def save_onnx(model: Model, path: str | os.PathLike[str], output: Output = "logits") -> Path:
    """Write a model to one ``.onnx`` file, compute with it, compare, and only then put it in place.

    The file takes any number of images and any size that tiling would use: sides of
    ``fitting(smallest)`` plus multiples of the stride. Its metadata hold the description of the model,
    which says among others how images are normalized beforehand.

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
    _check_libraries()
    _check_network(model)
    answering = _Answering(model, output)
    program = _traced(answering, model, output)
    program.model.metadata_props["napari_unet"] = model.spec.model_dump_json()

    def write(file: Path) -> None:
        with _quiet():
            program.save(str(file), external_data=False)

    return replace_file(Path(path), write, lambda file: _compare(file, answering, model.network.geometry))


class _Answering(nn.Module):
    """A copy of the network on the processor, with the activation of the model if that is wanted."""

    def __init__(self, model: Model, output: Output) -> None:
        super().__init__()
        self.network = copy.deepcopy(model.network).cpu().float()
        self.activation = model.activation if output == "probabilities" else "none"
        self.in_channels = model.network.in_channels
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """From (N, C, *size) to (N, class, *size)."""
        answer: Tensor = self.network(image)
        if self.activation == "softmax":
            return answer.softmax(dim=1)
        return answer.sigmoid() if self.activation == "sigmoid" else answer

    def example(self, count: int, geometry: NetworkOptions, steps: tuple[int, ...]) -> Tensor:
        """Random images: `count` of them, so many strides larger than the smallest along each axis."""
        first = geometry.fitting(geometry.smallest)
        sides = [first + geometry.stride * step for step in steps[: geometry.dims]]
        return torch.randn((count, self.in_channels, *sides), generator=torch.Generator().manual_seed(count))


def _check_libraries() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"Exporting to ONNX needs {', '.join(missing)}. "
            'Install what is missing with: pip install "napari-unet[onnx]"'
        )


def _check_network(model: Model) -> None:
    variant = model.spec.network.variant
    if not FAMILIES[VARIANTS[variant].family].buildable:
        raise ExportError(f'A network of the variant "{variant}" cannot be exported: use the file that it came from.')
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.network.state_dict().values())
    if size > MOST_BYTES:
        raise ExportError(f"The weights take {size / 2**30:.1f} GiB, and one ONNX file holds 2 GiB at most.")


def _traced(answering: _Answering, model: Model, output: Output) -> Any:  # noqa: ANN401  # ONNXProgram
    """Express the network in ONNX for any number of images and any number of strides."""
    geometry = model.network.geometry
    # Sides that happen to be equal, or a single pixel at the bottom, would be taken for fixed.
    image = answering.example(2, geometry, (2, 3, 4))
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
    stride, rest = geometry.stride, geometry.fitting(geometry.smallest) % geometry.stride
    sides: dict[int, Any] = {}
    for axis, name in enumerate("zyx"[3 - geometry.dims :], start=2):
        strides = torch.export.Dim(name, min=1, max=2**16)
        side = stride * strides if stride > 1 else strides
        sides[axis] = side + rest if rest else side
    return sides


def _compare(file: Path, answering: _Answering, geometry: NetworkOptions) -> None:
    """Compute with the file what the network computes, at other sizes than the traced one.

    Raises
    ------
    ExportError
        If it computes something else, or nothing.
    """
    import onnxruntime  # type: ignore[import-untyped]

    for count, steps in ((1, (0, 0, 0)), (2, (1, 3, 5)), (3, (4, 1, 2))):
        image = answering.example(count, geometry, steps)
        with torch.no_grad():
            wanted = answering(image)
        try:
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            (found,) = session.run(None, {"image": image.numpy()})
        except Exception as error:  # onnxruntime has an error class for each of its states
            raise ExportError(f"The ONNX file was not kept: onnxruntime cannot compute with it: {error}") from error
        what = f"The ONNX file was not kept: for images of {tuple(image.shape[2:])} it"
        if found.shape != tuple(wanted.shape):
            raise ExportError(f"{what} gives the size {found.shape[2:]}, and the model {tuple(wanted.shape[2:])}.")
        far = float((torch.from_numpy(found) - wanted).abs().max())
        if not far <= TOLERANCE * float(wanted.std()) + 1e-6:
            raise ExportError(f"{what} differs from the model by {far:.2g}.")


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
