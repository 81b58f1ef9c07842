"""Weights files of Keras 2 and 3, read with h5py as data: Keras is not needed, and nothing in them is run."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ModelError
from napari_unet.weights.formats.arrays import to_tensor
from napari_unet.weights.formats.checkpoint import Checkpoint, State
from napari_unet.weights.formats.hdf5 import MAX_TOTAL_BYTES, Hdf5, open_hdf5
from napari_unet.weights.formats.keras_graph import Graph, parse_graph
from napari_unet.weights.formats.keras_variables import legacy_variables, numbered_variables, unlisted_layers
from napari_unet.weights.formats.limits import open_zip, read_member, shorten

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"


def read_keras(path: Path) -> Checkpoint:
    """Read weights that Keras 2 or 3 saved: ``.h5``, ``.hdf5``, ``.weights.h5`` or ``.keras``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Checkpoint
        Tensors are named "<layer>/<variable>", such as "conv2d_1/kernel"; kernels stay as Keras has them:
        (kh, kw, in, out), and (kh, kw, out, in) for transposed convolutions. ``extras["keras"]`` holds "version"
        (2 or 3), "graph" (layers with "name", "class_name", "config", "inbound" and "calls", or None), "outputs"
        and "order" (names of the layers with weights, in the best known order).

    Raises
    ------
    ModelError
        If it is damaged, refused or no weights file of Keras.
    """
    path = Path(path)
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    with open_hdf5(path) as hdf5:
        return _read_hdf5(hdf5)


def _read_archive(path: Path) -> Checkpoint:
    with open_zip(path) as archive:
        names = set(archive.namelist())
        if CONFIG not in names or WEIGHTS not in names:
            raise ModelError(
                f'"{path.name}" is no model of Keras: expected "{CONFIG}" and "{WEIGHTS}" in it. Save it from Keras '
                "with model.save(), in the format .keras."
            )
        description = _decode(path, read_member(archive, CONFIG))
        version = _metadata_version(path, read_member(archive, METADATA)) if METADATA in names else 3
        graph = parse_graph(path, description)
        content = read_member(archive, WEIGHTS, MAX_TOTAL_BYTES)
    with open_hdf5(path, content) as hdf5:
        return _numbered_checkpoint(hdf5, graph, version, "Keras model (.keras)")


def _decode(path: Path, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f'"{path.name}" is damaged: its description is no text. Copy it again.') from error


def _metadata_version(path: Path, text: bytes) -> int:
    try:
        version = str(json.loads(_decode(path, text)).get("keras_version", "3"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f'"{path.name}" is damaged: its "{METADATA}" is not what Keras writes.') from error
    return 2 if version.startswith("2.") else 3


def _read_hdf5(hdf5: Hdf5) -> Checkpoint:
    root = hdf5.file
    weights = hdf5.group(root, "model_weights") or root
    description = hdf5.text(root, "model_config")
    graph = parse_graph(hdf5.path, description) if description else None
    layer_names = hdf5.names(weights, "layer_names") or unlisted_layers(hdf5, weights)
    if layer_names is None:
        return _numbered_checkpoint(hdf5, graph, 3, "Keras weights (.weights.h5)")
    version = _legacy_version(hdf5)
    found, notes = legacy_variables(hdf5, weights, layer_names, graph)
    kind = f"Keras {version} model (HDF5)" if description else f"Keras {version} weights (HDF5)"
    if hdf5.group(root, "optimizer_weights") is not None:
        notes.append("The state of the optimizer was left out.")
    return _checkpoint(hdf5.path, kind, found, graph, version, notes)


def _legacy_version(hdf5: Hdf5) -> int:
    weights = hdf5.group(hdf5.file, "model_weights") or hdf5.file
    written = hdf5.text(weights, "keras_version") or hdf5.text(hdf5.file, "keras_version") or "2"
    if written.startswith(("0.", "1.")):
        raise ModelError(
            f'"{hdf5.path.name}" was written by Keras {shorten(written, 12)}, and files of Keras 2 and 3 are read. '
            "Open and save it once with Keras 2."
        )
    return 3 if written.startswith("3") else 2


def _numbered_checkpoint(hdf5: Hdf5, graph: Graph | None, version: int, kind: str) -> Checkpoint:
    datasets = hdf5.datasets(hdf5.file)
    if not any("vars" in name.replace("\\", "/").split("/") for name, _ in datasets):
        raise ModelError(
            f'"{hdf5.path.name}" is an HDF5 file, but no weights file of Keras: expected layers with variables in it. '
            "Choose a file that model.save() or model.save_weights() of Keras wrote."
        )
    found, notes, known = numbered_variables(hdf5, datasets, graph)
    return _checkpoint(hdf5.path, kind, found, graph if known else None, version, notes)


def _checkpoint(
    path: Path, kind: str, found: dict[str, Any], graph: Graph | None, version: int, notes: list[str]
) -> Checkpoint:
    tensors: dict[str, Tensor] = {name: to_tensor(path, name, array) for name, array in found.items()}
    if not tensors:
        raise ModelError(f'"{path.name}" holds no weights: expected the layers of a network. Save the model again.')
    order = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in tensors))
    if graph is not None:
        stored = set(order)
        named = [layer.name for layer in graph.layers if layer.name in stored]
        order = named + [name for name in order if name not in set(named)]
    description = {
        "version": version,
        "graph": graph.plain() if graph else None,
        "outputs": graph.outputs if graph else [],
        "order": order,
    }
    return Checkpoint(path, kind, (State("", tensors),), {"keras": description}, tuple(notes))
