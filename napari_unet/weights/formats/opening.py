"""Opening a weights file of any format that is plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from napari_unet.errors import ModelError
from napari_unet.weights.formats.beside import read_beside
from napari_unet.weights.formats.checkpoint import Checkpoint
from napari_unet.weights.formats.identify import Kind, identify, locate

READERS = {
    Kind.OWN: "safetensor.read_safetensors",
    Kind.SAFETENSORS: "safetensor.read_safetensors",
    Kind.TORCH: "pickled.read_pickled",
    Kind.TORCH_LEGACY: "pickled.read_pickled",
    Kind.KERAS: "keras.read_keras",
    Kind.HDF5: "keras.read_keras",
    Kind.TENSORFLOW: "tensorflow.read_tensorflow",
    Kind.NPZ: "arrays.read_npz",
}
"""Module and function, in this package, that reads each kind; imported when it is needed."""


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weights file of any program, as data.

    Parameters
    ----------
    path : str or Path
        A file, a folder with one weights file, or the beginning of a TensorFlow checkpoint.

    Raises
    ------
    ModelError
        If it is missing, damaged, refused or no weights file; also for programs (ONNX, TorchScript) and for
        packages, which are more than weights.
    """
    place = locate(path)
    kind = identify(place)
    if kind not in READERS:
        raise ModelError(f'"{place.name}" is a {kind}, which is not a set of weights by names. Open it as a model.')
    checkpoint = _reader(READERS[kind])(place)
    extras, notes = read_beside(checkpoint.path)
    return replace(checkpoint, extras={**extras, **checkpoint.extras}, notes=(*checkpoint.notes, *notes))


def _reader(name: str) -> Callable[[Path], Checkpoint]:
    module, function = name.split(".")
    reader: Callable[[Path], Checkpoint] = getattr(import_module(f"napari_unet.weights.formats.{module}"), function)
    return reader
